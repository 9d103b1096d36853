"""OME-Zarr: valid by an independent validator, every pixel as it was made, in a folder or in a bucket."""

from __future__ import annotations

import resource
from dataclasses import asdict

import fsspec
import numpy as np
import pytest
import yaozarrs
import zarr
from described import DESCRIPTION

from parfocal.errors import FileError, SettingsError
from parfocal.slide.export import export
from parfocal.slide.formats.description import pseudonym
from parfocal.slide.formats.ome_zarr import ome_zarr_aside
from parfocal.slide.pyramid import Pyramid, level_shapes
from parfocal.slide.reader import Slide

SHAPE = (2216, 3112)
SHAPES = level_shapes(SHAPE)


def picture():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    return np.stack([127 + 80 * np.sin(x / 40), 127 + 80 * np.cos(y / 55), 60 + x / 40], axis=-1).astype(np.uint8)


IMAGE = picture()


def source(x, y, width, height):
    return None if (x, y) == (1024, 1024) else IMAGE[y : y + height, x : x + width]


def write(target, spool, source=source, quality=85):
    with Pyramid(SHAPES, spool, quality) as pyramid, ome_zarr_aside(target, pyramid, DESCRIPTION) as consumer:
        pyramid.build(source, consumer=consumer)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zarr")
    write(folder / "my slide 🔬.zarr", folder)
    assert [entry.name for entry in folder.iterdir()] == ["my slide 🔬.zarr"]
    return folder / "my slide 🔬.zarr"


@pytest.fixture(scope="module")
def bucket():
    """URL of an empty bucket in an S3 server of this process, and what fsspec has to know to reach it."""
    server_of = pytest.importorskip("moto.server").ThreadedMotoServer
    pytest.importorskip("s3fs")
    server = server_of(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    settings = {"key": "k", "secret": "s", "endpoint_url": f"http://{host}:{port}"}
    before = fsspec.config.conf.get("s3")
    fsspec.config.conf["s3"] = settings
    fsspec.filesystem("s3").mkdir("slides")
    yield "s3://slides"
    server.stop()
    if before is None:
        del fsspec.config.conf["s3"]
    else:
        fsspec.config.conf["s3"] = before


def check_levels(group):
    whole = IMAGE.copy().astype(float)
    whole[1024:2048, 1024:2048] = 255
    for level, (height, width) in enumerate(SHAPES):
        if level:
            whole = whole.reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
        array = group[str(level)]
        assert array.shape == (3, height, width)
        assert np.abs(array[:].transpose(1, 2, 0) - whole).max() <= (1.5 if level else 0)  # lossless, then rounded


def test_an_independent_validator_accepts_it(path):
    yaozarrs.validate_zarr_store(path)


def test_zarr_reads_every_pixel_of_every_level(path):
    group = zarr.open_group(path, mode="r")
    check_levels(group)
    assert group["0"].chunks == (3, 256, 256)
    assert group["0"].shards == (3, 2048, 2048)
    assert group["3"].shards == (3, 512, 512)
    assert "zstd" in repr(group["0"].compressors).lower()


def test_the_metadata_say_how_large_a_pixel_is_and_where(path):
    ome = zarr.open_group(path, mode="r").attrs["ome"]
    (multiscale,) = ome["multiscales"]
    assert ome["version"] == "0.5"
    assert [(axis["name"], axis.get("unit")) for axis in multiscale["axes"]] == [
        ("c", None),
        ("y", "micrometer"),
        ("x", "micrometer"),
    ]
    scale, translation = multiscale["datasets"][2]["coordinateTransformations"]
    assert scale["scale"] == pytest.approx([1, 1.38, 1.38])
    assert translation["translation"] == pytest.approx([0, 0.5175, 0.5175])  # the middle of 4 px, less that of one
    assert [channel["color"] for channel in ome["omero"]["channels"]] == ["FF0000", "00FF00", "0000FF"]


def test_the_quality_of_each_field_lies_in_the_attributes(path):
    group = zarr.open_group(path, mode="r")
    told = group.attrs["parfocal"]
    assert (told["name"], told["fields"], told["fields_empty"]) == (DESCRIPTION.name, 2, 1)
    columns = group["quality"].attrs["columns"]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert rows == [asdict(field) for field in DESCRIPTION.fields]


def test_a_full_disk_leaves_the_earlier_image_and_no_rubbish(tmp_path):
    write(tmp_path / "a.zarr", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, limits[1]))  # the spool takes less, a shard takes more
    try:
        with pytest.raises(FileError, match=r"a\.zarr: cannot write: File too large"):
            write(tmp_path / "a.zarr", tmp_path, lambda x, y, width, height: noise[:height, :width], quality=10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_bucket_takes_it_as_well(bucket, tmp_path):
    url = f"{bucket}/deep/my slide 🔬.zarr"
    write(url, tmp_path)
    group = zarr.open_group(url, mode="r")
    check_levels(group)
    files = fsspec.filesystem("s3")
    assert all(".part" not in name for name in files.find("slides"))
    with Slide.open(url) as slide:
        assert np.array_equal(slide.read_region((300, 200), 0, (64, 32)), IMAGE[200:232, 300:364])
    before = sorted(files.find("slides"))
    write(url, tmp_path)  # what is there is replaced
    assert sorted(files.find("slides")) == before


def test_an_error_on_the_way_leaves_what_the_bucket_held(bucket, tmp_path):
    files = fsspec.filesystem("s3")
    with files.open("slides/earlier.zarr/zarr.json", "wb") as file:
        file.write(b"{}")

    def torn(x, y, width, height):
        if y:
            raise FileError("f00007.jpg: cannot read")
        return IMAGE[y : y + height, x : x + width]

    with pytest.raises(FileError, match="f00007"):
        write(f"{bucket}/earlier.zarr", tmp_path, torn)
    assert files.find("slides/earlier.zarr") == ["slides/earlier.zarr/zarr.json"]
    assert not files.exists("slides/earlier.zarr.part")


def test_a_bucket_that_is_not_there_is_a_file_error(bucket, tmp_path):
    with pytest.raises(FileError, match=r"s3://nobody-has-this/a\.zarr: cannot write"):
        write("s3://nobody-has-this/a.zarr", tmp_path)
    with pytest.raises(FileError, match=r"s3://nobody-has-this/a\.zarr: not an OME-Zarr image"):
        Slide.open("s3://nobody-has-this/a.zarr")


@pytest.mark.slow
def test_a_scan_is_exported_to_a_bucket_and_nothing_lies_here(bucket, synthetic_scan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = synthetic_scan(2, 2, seed=31).folder
    result = export(folder.path, f"{bucket}/exports", ["ome-zarr"])
    url = result.destinations.as_text()["ome-zarr"]
    assert url == f"{bucket}/exports/{pseudonym(folder)}.zarr"
    group = zarr.open_group(url, mode="r")
    assert group["0"].shape[1:] == result.shapes[0]
    assert group.attrs["parfocal"]["fields"] == 4
    assert not list(tmp_path.iterdir())


def test_a_bucket_that_cannot_be_written_is_told_before_anything_else(bucket, synthetic_scan):
    folder, steps = synthetic_scan(2, 2, seed=31).folder, []
    with pytest.raises(FileError, match=r"s3://nobody-has-this/a\.zarr: cannot write"):
        export(folder.path, "s3://nobody-has-this/a.zarr", ["ome-zarr"], progress=lambda *step: steps.append(step))
    assert not steps


def test_a_url_of_no_known_kind_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="gopher"):
        write("gopher://x/a.zarr", tmp_path)
