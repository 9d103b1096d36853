"""A scan in every format: from one pass, all of one size, together or not at all."""

from __future__ import annotations

import resource

import numpy as np
import openslide
import pytest
import tifffile

from parfocal.errors import FileError, SettingsError
from parfocal.slide.description import pseudonym
from parfocal.slide.export import FORMATS, destinations, export, file_name


@pytest.fixture(scope="module")
def scan(synthetic_scan):
    return synthetic_scan(3, 3, seed=11)


@pytest.fixture(scope="module")
def result(scan, tmp_path_factory):
    return export(scan.folder.path, tmp_path_factory.mktemp("out") / "new" / "exports", FORMATS)


def test_every_format_is_there_under_the_slides_pseudonym(scan, result):
    folder, name = result.paths["tiff"].parent, pseudonym(scan.folder)
    assert {path.name for path in folder.iterdir()} == {f"{name}.ome.tif", f"{name}.tif"}


def test_all_have_the_same_size_and_pixels(result):
    with openslide.OpenSlide(result.paths["tiff"]) as slide, tifffile.TiffFile(result.paths["ome-tiff"]) as tiff:
        assert slide.dimensions == result.shapes[0][::-1]
        level = tiff.series[0].levels[0].asarray()
        assert level.shape[:2] == result.shapes[0]
        shown = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    assert np.abs(shown.astype(int) - level).max() <= 3  # the same tiles, by two decoders


def test_an_earlier_export_is_replaced_only_if_that_is_allowed(scan, tmp_path):
    path = tmp_path / "slide.tif"
    export(scan.folder.path, path, ["tiff"])
    before = path.read_bytes()
    with pytest.raises(FileError, match=r"slide\.tif: is there already"):
        export(scan.folder.path, path, ["tiff"], quality=50)
    assert path.read_bytes() == before
    export(scan.folder.path, path, ["tiff"], quality=50, overwrite=True)
    assert path.stat().st_size < len(before)


def test_a_full_disk_leaves_what_was_there_and_nothing_else(scan, tmp_path):
    earlier = tmp_path / f"{pseudonym(scan.folder)}.tif"
    earlier.write_bytes(b"earlier")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(FileError, match="File too large"):
            export(scan.folder.path, tmp_path, FORMATS, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [earlier]
    assert earlier.read_bytes() == b"earlier"


def test_no_format_is_refused(scan, tmp_path):
    with pytest.raises(SettingsError, match="no format"):
        export(scan.folder.path, tmp_path, [])


def test_a_file_takes_its_name_from_out_where_it_fits_the_format(tmp_path):
    assert destinations(tmp_path / "a.tif", ["tiff"], "name") == {"tiff": tmp_path / "a.tif"}
    assert destinations(tmp_path / "a.ome.tif", ["ome-tiff"], "name") == {"ome-tiff": tmp_path / "a.ome.tif"}
    assert destinations(tmp_path / "a", ["tiff"], "name") == {"tiff": tmp_path / "a" / "name.tif"}
    both = {"ome-tiff": tmp_path / "a.tif" / "name.ome.tif", "tiff": tmp_path / "a.tif" / "name.tif"}
    assert destinations(tmp_path / "a.tif", ["ome-tiff", "tiff"], "name") == both


@pytest.mark.parametrize(
    ("name", "file"),
    [("smear 7 🔬", "smear 7 🔬"), ("image:/tmp/a.png", "image-tmp-a.png"), ("..", "slide"), ("a\nb", "a-b")],
)
def test_a_name_becomes_one_that_every_file_system_takes(name, file):
    assert file_name(name) == file
