"""The flat TIFF: OpenSlide finds every level, the size of a pixel and the colour profile."""

from __future__ import annotations

import datetime
import json
import resource
from dataclasses import replace

import numpy as np
import openslide
import pytest
import tifffile
from described import DESCRIPTION, SRGB

from parfocal.errors import FileError
from parfocal.slide.formats.tiff import write_tiff
from parfocal.slide.pyramid import Pyramid, level_shapes

SHAPE = (1100, 1500)


def picture():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    return np.stack([60 + x / 10, 60 + y / 10, 127 + 60 * np.sin(x / 30)], axis=-1).astype(np.uint8)


IMAGE = picture()


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    with Pyramid(level_shapes(SHAPE), tmp_path_factory.mktemp("spool")) as built:
        built.build(lambda x, y, width, height: IMAGE[y : y + height, x : x + width])
        yield built


@pytest.fixture(scope="module")
def slide_path(pyramid, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiff") / "slide.tif"
    write_tiff(path, pyramid, DESCRIPTION)
    return path


def test_openslide_finds_all_levels_and_the_size_of_a_pixel(slide_path):
    with openslide.OpenSlide(slide_path) as slide:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert slide.level_dimensions == ((1500, 1100), (750, 550), (375, 275))
        assert slide.level_downsamples == (1.0, 2.0, 4.0)
        for axis in "xy":
            assert float(slide.properties[f"openslide.mpp-{axis}"]) == pytest.approx(0.345, rel=1e-5)


def test_openslide_shows_the_picture_at_every_level(slide_path):
    with openslide.OpenSlide(slide_path) as slide:
        for level, (width, height) in enumerate(slide.level_dimensions):
            shown = np.asarray(slide.read_region((0, 0), level, (width, height)))
            step = 1 << level
            means = IMAGE.reshape(height, step, width, step, 3).mean(axis=(1, 3))
            assert np.abs(shown[..., :3] - means).mean() < 1.5
            assert (shown[..., 3] == 255).all()


def test_the_colour_profile_is_the_slides(slide_path):
    with openslide.OpenSlide(slide_path) as slide:
        assert slide.color_profile is not None
        assert slide.color_profile.tobytes() == SRGB


def test_a_slide_without_a_profile_has_none(pyramid, tmp_path):
    write_tiff(tmp_path / "slide.tif", pyramid, replace(DESCRIPTION, icc_profile=b"", scanned_at=None, fields=()))
    with openslide.OpenSlide(tmp_path / "slide.tif") as slide:
        assert slide.color_profile is None
    with tifffile.TiffFile(tmp_path / "slide.tif") as tiff:
        assert "DateTime" not in tiff.pages[0].tags
        assert "fields" not in json.loads(tiff.pages[0].description)


def test_every_level_is_a_page_of_its_own(slide_path):
    with tifffile.TiffFile(slide_path) as tiff:
        assert tiff.is_bigtiff
        assert not tiff.is_ome
        assert [page.shape for page in tiff.pages] == [(1100, 1500, 3), (550, 750, 3), (275, 375, 3)]
        assert [page.is_reduced for page in tiff.pages] == [False, True, True]
        assert all(page.tags["InterColorProfile"].value == SRGB for page in tiff.pages)


def test_the_image_description_sums_the_slide_up(slide_path):
    with tifffile.TiffFile(slide_path) as tiff:
        told = json.loads(tiff.pages[0].description)
        assert tiff.pages[0].datetime == datetime.datetime(2026, 3, 4, 5, 6, 7)
    assert told["name"] == DESCRIPTION.name
    assert (told["magnification"], told["na"], told["jpeg_quality"]) == (20, 0.75, 85)
    assert (told["serial_number"], told["scanned_at"]) == ("SN-7", "2026-03-04T05:06:07+00:00")
    assert (told["fields"], told["fields_empty"], told["fields_focused"]) == (2, 1, 1)
    assert (told["islands"], told["seam_residual_max_um"]) == (1, 0.1725)


def test_a_full_disk_leaves_the_earlier_slide_and_no_rubbish(pyramid, tmp_path):
    path = tmp_path / "slide.tif"
    path.write_bytes(b"earlier")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(FileError, match=r"slide\.tif: cannot write: File too large"):
            write_tiff(path, pyramid, DESCRIPTION)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == ["slide.tif"]
    assert path.read_bytes() == b"earlier"
