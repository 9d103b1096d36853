"""A scan in every format: from one pass, all of one size, together or not at all."""

from __future__ import annotations

import json
import resource
import shutil
from xml.etree import ElementTree

import cv2
import numpy as np
import openslide
import pydicom
import pytest
import tifffile
import zarr

from parfocal.cli import exporting
from parfocal.errors import FileError, SettingsError
from parfocal.slide.export import export
from parfocal.slide.formats.description import pseudonym
from parfocal.slide.formats.destinations import FORMATS, destinations, file_name
from parfocal.slide.pyramid import JPEG_QUALITY
from parfocal.slide.quality.files import read_csv, read_parquet
from sealing import resealed


@pytest.fixture(scope="module")
def scan(synthetic_scan):
    return synthetic_scan(3, 3, seed=11)


@pytest.fixture(scope="module")
def result(scan, tmp_path_factory):
    return export(scan.folder.path, tmp_path_factory.mktemp("out") / "new" / "exports", FORMATS)


def test_every_format_is_there_under_the_slides_pseudonym(scan, result):
    name = pseudonym(scan.folder)
    assert {path.name for path in result.destinations.folder.iterdir()} == {
        f"{name}.ome.tif",
        f"{name}.tif",
        "dicom",
        f"{name}.zarr",
        f"{name}.dzi",
        f"{name}_files",
        f"{name}.quality.csv",
        f"{name}.quality.parquet",
    }
    assert set(result.destinations.paths) == set(FORMATS)


def test_all_have_the_same_size_and_pixels(result):
    paths, (height, width) = result.destinations.paths, result.shapes[0]
    with tifffile.TiffFile(paths["ome-tiff"]) as tiff:
        shown = {"ome-tiff": tiff.series[0].levels[0].asarray()}
    for kind, path in (("tiff", paths["tiff"]), ("dicom", next(paths["dicom"].glob("*.dcm")))):
        with openslide.OpenSlide(path) as slide:
            shown[kind] = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    size = ElementTree.parse(paths["dzi"]).getroot()[0]
    assert (int(size.get("Height")), int(size.get("Width"))) == (height, width)
    raw = zarr.open_group(paths["ome-zarr"], mode="r")["0"][:].transpose(1, 2, 0).astype(int)
    for pixels in shown.values():
        assert pixels.shape == raw.shape == (height, width, 3)
        assert np.abs(pixels - raw).mean() < 4  # JPEG of noisy frames
        assert np.abs(pixels.astype(int) - shown["ome-tiff"]).max() <= 3  # the same tiles, by two decoders


def first_tile(page):
    page.parent.filehandle.seek(page.dataoffsets[0])
    return page.parent.filehandle.read(page.databytecounts[0])


def test_the_tiles_of_the_four_jpeg_formats_are_the_same_bytes(scan, result):
    name, paths = pseudonym(scan.folder), result.destinations.paths
    with tifffile.TiffFile(paths["tiff"]) as flat, tifffile.TiffFile(paths["ome-tiff"]) as ome:
        pages = [flat.pages[0], ome.pages[0]]
        first = [first_tile(page) for page in pages]
    assert first[0] == first[1]
    largest = max(int(path.name) for path in (paths["dzi"].parent / f"{name}_files").iterdir() if path.is_dir())
    assert (paths["dzi"].parent / f"{name}_files" / str(largest) / "0_0.jpg").read_bytes() == first[0]
    dataset = next(d for d in map(pydicom.dcmread, paths["dicom"].glob("*.dcm")) if d.ImageType[0] == "ORIGINAL")
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=int(dataset.NumberOfFrames)))
    assert frame.rstrip(b"\0") == first[0]


def test_the_quality_table_lies_beside_the_pixels(result, scan):
    parquet, text = result.destinations.tables
    rows = read_parquet(parquet)
    assert rows == read_csv(text) == result.description.fields
    assert [row.field for row in rows] == [record.index for record in scan.folder.records]


def test_an_earlier_export_is_replaced_only_if_that_is_allowed(scan, tmp_path):
    path = tmp_path / "slide.tif"
    export(scan.folder.path, path, ["tiff"])
    before = path.read_bytes()
    with pytest.raises(FileError, match=r"slide\.tif: is there already"):
        export(scan.folder.path, path, ["tiff"], quality=50)
    assert path.read_bytes() == before
    export(scan.folder.path, path, ["tiff"], quality=50, overwrite=True)
    assert path.stat().st_size < len(before)


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("limit", [60_000, 400_000, 700_000])  # in the spool, in a TIFF, in a shard
def test_a_full_disk_leaves_what_was_there_and_nothing_else(scan, tmp_path, limit):
    export(scan.folder.path, tmp_path, FORMATS, quality=40)
    before = everything(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(FileError, match="cannot write: File too large") as failure:
            export(scan.folder.path, tmp_path, FORMATS, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert everything(tmp_path) == before
    assert str(tmp_path) in str(failure.value)
    assert ".part" not in str(failure.value)


def test_a_full_disk_leaves_no_new_folder(scan, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(FileError, match="cannot write: File too large"):
            export(scan.folder.path, tmp_path / "new" / "folder", FORMATS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", ["mosaic", "writing"])
def test_an_interrupted_export_leaves_nothing(scan, tmp_path, stage):
    def interrupt(what, done, total):
        if what == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(scan.folder.path, tmp_path / "exports", FORMATS, progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_a_scan_in_a_read_only_archive_is_exported_and_left_as_it_is(scan, tmp_path, monkeypatch):
    archive = tmp_path / "archive"
    shutil.copytree(scan.folder.path, archive)
    for made in ("registration.json", "light.json"):
        (archive / made).unlink(missing_ok=True)
    held = sorted(archive.rglob("*"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    export(archive, tmp_path / "out", ("tiff",))
    assert sorted(archive.rglob("*")) == held


def test_exporting_again_replaces_all_of_it(scan, tmp_path):
    export(scan.folder.path, tmp_path, FORMATS, quality=40)
    names = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    before, name = everything(tmp_path), pseudonym(scan.folder)
    export(scan.folder.path, tmp_path, FORMATS, overwrite=True)
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} == names
    assert (tmp_path / f"{name}.tif").read_bytes() != before[tmp_path / f"{name}.tif"]


@pytest.mark.parametrize("folder", ["dicom", "NAME.zarr", "NAME_files/0"])
def test_a_folder_that_holds_anything_else_is_never_replaced(scan, tmp_path, folder):
    name = folder.replace("NAME", pseudonym(scan.folder)) + "/thesis.txt"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(FileError, match=name.split("/")[0]):
            export(scan.folder.path, tmp_path, FORMATS, overwrite=overwrite)
    assert everything(tmp_path) == {tmp_path / name: b"precious"}


def test_a_folder_that_cannot_be_written_is_named_before_any_work(scan, tmp_path):
    (tmp_path / "file").write_text("")
    steps = []
    with pytest.raises(FileError, match="file/exports: cannot write"):
        export(scan.folder.path, tmp_path / "file" / "exports", FORMATS, progress=lambda *step: steps.append(step))
    assert not steps


@pytest.fixture
def damaged(scan, tmp_path):
    """A copy of the scan that may be changed, and what an export of it says; nothing may be left of the export."""
    folder = tmp_path / "scan"
    shutil.copytree(scan.folder.path, folder)

    def refused():
        with pytest.raises(FileError) as failure:
            export(folder, tmp_path / "exports", FORMATS)
        assert not (tmp_path / "exports").exists()
        return str(failure.value)

    return folder, refused


def test_a_missing_frame_is_named(damaged):
    folder, refused = damaged
    (folder / "frames" / "f00004.jpg").unlink()
    assert "f00004.jpg: cannot read: No such file" in refused()


def test_a_frame_that_is_cut_short_is_named(damaged):
    folder, refused = damaged
    path = folder / "frames" / "f00006.jpg"
    path.write_bytes(path.read_bytes()[:5000])
    assert "f00006.jpg: the frame is cut short, after 5000 bytes" in refused()
    path.write_bytes(b"")
    assert "f00006.jpg: the frame is cut short, after 0 bytes" in refused()


def test_a_frame_that_is_no_image_inside_is_named(damaged):
    folder, refused = damaged
    path = folder / "frames" / "f00006.jpg"
    path.write_bytes(b"nothing" + path.read_bytes()[-2:])
    assert "f00006.jpg" in refused()


def lines_of(folder):
    return (folder / "fields.jsonl").read_text().splitlines(keepends=True)


def test_two_scans_in_one_folder_are_told_apart(damaged, synthetic_scan):
    folder, refused = damaged
    other = synthetic_scan(2, 2, seed=12).folder.path
    own, foreign = lines_of(folder), lines_of(other)
    (folder / "fields.jsonl").write_text("".join(own[:2] + foreign[2:3] + own[2:]))
    assert "line 4: attempt 1 of field 2 occurs twice" in refused()  # neither scan has an id
    moved = [line.replace('"index": 1', '"index": 20').replace('"row": 0', '"row": 7') for line in foreign]
    moved = [resealed(line) for line in moved]
    (folder / "fields.jsonl").write_text("".join(own + moved[1:2]))
    assert "field 20 lies in row 7, column 1, outside the 3 × 3 fields of scan.json" in refused()
    (folder / "fields.jsonl").write_text("".join([*own[:-1], resealed(own[-1].replace("f00008", "f00007"))]))
    assert "f00007.jpg: is the frame of both field 7 and field 8" in refused()


def test_a_line_of_another_scan_is_known_by_its_id(damaged):
    folder, refused = damaged
    own = [resealed(line.replace('"scan_id": ""', '"scan_id": "aaaa"')) for line in lines_of(folder)]
    header = (folder / "scan.json").read_text()
    (folder / "scan.json").write_text(header.replace('"scan_id": ""', '"scan_id": "aaaa"'))
    (folder / "fields.jsonl").write_text("".join([*own[:5], resealed(own[5].replace("aaaa", "bbbb")), *own[6:]]))
    assert "fields.jsonl, line 6: field 5 belongs to another scan (bbbb) than scan.json (aaaa)" in refused()
    (folder / "scan.json").write_text(header.replace('"scan_id": ""', '"scan_id": "cccc"'))
    (folder / "fields.jsonl").write_text("".join(own))
    assert "line 1: field 0 belongs to another scan (aaaa) than scan.json (cccc)" in refused()


def test_a_frame_of_another_shape_is_named(damaged):
    folder, refused = damaged
    path = folder / "frames" / "f00003.jpg"
    cv2.imwrite(str(path), cv2.imread(str(path))[:100])
    assert "f00003.jpg: frame is (100, 320) px, the scan's are (256, 320) px" in refused()


def test_names_with_spaces_and_an_emoji_are_kept(scan, tmp_path):
    folder = tmp_path / "my scan 🔬"
    shutil.copytree(scan.folder.path, folder)
    result = export(folder, tmp_path / "all of it 🧫", FORMATS)
    assert result.destinations.folder.name == "all of it 🧫"
    with openslide.OpenSlide(result.destinations.paths["tiff"]) as slide:
        assert slide.dimensions == result.shapes[0][::-1]
    single = export(folder, tmp_path / "smear 7 🔬.ome.tif", ["ome-tiff"])
    assert single.destinations.paths["ome-tiff"].name == "smear 7 🔬.ome.tif"
    assert (tmp_path / "smear 7 🔬.quality.csv").is_file()


def test_a_slide_has_its_id_only_if_that_is_asked_for_and_no_time_or_number_if_it_is_deidentified(scan, tmp_path):
    folder = tmp_path / "scan"
    shutil.copytree(scan.folder.path, folder)
    header = json.loads((folder / "scan.json").read_text())
    header |= {"slide_id": "S-12", "serial_number": "SN-7", "started_at": "2026-03-04T05:06:07+00:00"}
    (folder / "scan.json").write_text(json.dumps(header))

    def texts(name, **wanted):
        result = export(folder, tmp_path / name, FORMATS, **wanted)
        files = [path for path in result.destinations.folder.rglob("*") if path.is_file()]
        return result, b"".join([str(path).encode() + path.read_bytes() for path in files])

    plain, text = texts("plain")
    assert not plain.stripped
    assert b"S-12" not in text
    assert b"SN-7" in text
    assert b"2026-03-04" in text
    named, text = texts("named", identified=True)
    assert named.destinations.paths["tiff"].name == "S-12.tif"
    bare, text = texts("bare", deidentify=True)
    assert set(bare.stripped) >= {"time of the scan", "serial number of the instrument"}
    assert not any(secret in text for secret in (b"S-12", b"SN-7", b"2026-03-04", b"20260304", b"2026:03:04"))
    with pytest.raises(SettingsError, match="either named by its id, or de-identified"):
        export(folder, tmp_path / "both", FORMATS, identified=True, deidentify=True)


def test_the_command_offers_what_can_be_written_at_the_quality_that_is_used():
    assert exporting.FORMATS == FORMATS
    assert exporting.JPEG_QUALITY == JPEG_QUALITY


def test_no_format_is_refused(scan, tmp_path):
    with pytest.raises(SettingsError, match="no format"):
        export(scan.folder.path, tmp_path, [])


def test_only_ome_zarr_goes_to_a_url(scan):
    with pytest.raises(SettingsError, match="only ome-zarr is written to a URL"):
        export(scan.folder.path, "s3://bucket/a.tif", ["tiff"])


def test_a_file_takes_its_name_from_out_where_it_fits_the_format(tmp_path):
    def place(name, *formats):
        return destinations(tmp_path / name, formats, "name")

    for name, kind, path in (
        ("a.tif", "tiff", "a.tif"),
        ("a.ome.tif", "ome-tiff", "a.ome.tif"),
        ("a", "tiff", "a/name.tif"),
        ("a", "dicom", "a"),
        ("a.zarr", "ome-zarr", "a.zarr"),
        ("a", "ome-zarr", "a/name.zarr"),
        ("a.dzi", "dzi", "a.dzi"),
    ):
        assert place(name, kind).paths == {kind: tmp_path / path}
        assert place(name, kind).stem == ("a" if kind == "dicom" or path == name else "name")
    assert place("a.tif", "ome-tiff", "dicom").paths == {
        "ome-tiff": tmp_path / "a.tif" / "name.ome.tif",
        "dicom": tmp_path / "a.tif" / "dicom",
    }
    assert destinations("s3://bucket/a.zarr", ["ome-zarr"], "name").url == "s3://bucket/a.zarr"
    assert destinations("s3://bucket/folder/", ["ome-zarr"], "name").url == "s3://bucket/folder/name.zarr"


@pytest.mark.parametrize(
    ("name", "file"),
    [("smear 7 🔬", "smear 7 🔬"), ("image:/tmp/a.png", "image-tmp-a.png"), ("..", "slide"), ("a\nb", "a-b")],
)
def test_a_name_becomes_one_that_every_file_system_takes(name, file):
    assert file_name(name) == file
