"""Slides in OpenSlide's vocabulary, whoever wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.errors import FileError, SettingsError
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.ome_tiff import write_ome_tiff
from parfocal.slide.overview import overview, write_overview
from parfocal.slide.pyramid import Pyramid, level_shapes
from parfocal.slide.reader import Slide

SHAPE = (1100, 1500)
REAL = Path(__file__).parents[3] / "shared/data/textures/cmu_small_region.svs"


@pytest.fixture(scope="module")
def picture():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    return np.stack([60 + x / 10, 60 + y / 10, 127 + 60 * np.sin(x / 30)], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory, picture):
    path = tmp_path_factory.mktemp("reader") / "slide.ome.tif"
    padded = np.pad(picture, ((0, 512), (0, 512), (0, 0)), constant_values=255)
    with Pyramid(level_shapes(SHAPE), path.parent) as pyramid:
        pyramid.build(lambda x, y, width, height: padded[y : y + height, x : x + width])
        write_ome_tiff(path, pyramid, SlideDescription("s", "i", 0.345, 20, 0.75, 1.0, "Parfocal"))
    return path


@pytest.fixture
def slide(slide_path):
    with Slide.open(slide_path) as opened:
        yield opened


def test_levels_and_properties_are_openslides(slide):
    assert slide.level_count == 3
    assert slide.level_dimensions == ((1500, 1100), (750, 550), (375, 275))
    assert slide.level_downsamples == (1.0, 2.0, 4.0)
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.345)
    assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.345)
    assert slide.properties["openslide.objective-power"] == "20"
    assert slide.best_level_for_downsample(3.9) == 1
    assert slide.best_level_for_downsample(0.5) == 0


@pytest.mark.parametrize(("x", "y", "width", "height"), [(0, 0, 10, 10), (250, 250, 300, 20), (1490, 1090, 10, 10)])
def test_a_region_is_that_part_of_the_picture(slide, picture, x, y, width, height):
    region = slide.read_region((x, y), 0, (width, height))
    assert region.shape == (height, width, 3)
    assert region.dtype == np.uint8
    assert np.abs(region.astype(int) - picture[y : y + height, x : x + width]).mean() < 3


def test_a_location_is_in_level_0_pixels_and_a_size_in_the_levels(slide, picture):
    region = slide.read_region((400, 200), 2, (50, 40))
    means = picture[200:360, 400:600].reshape(40, 4, 50, 4, 3).mean(axis=(1, 3))
    assert np.abs(region - means).mean() < 2


def test_outside_the_slide_is_white(slide, picture):
    region = slide.read_region((-20, -10), 0, (60, 50))
    assert (region[:10] == 255).all()
    assert (region[:, :20] == 255).all()
    assert np.abs(region[10:, 20:].astype(int) - picture[:40, :40]).mean() < 2
    assert (slide.read_region((5000, 5000), 1, (7, 8)) == 255).all()


def test_only_the_tiles_that_are_needed_are_read(slide_path, tmp_path):
    broken = tmp_path / "slide.ome.tif"
    data = bytearray(slide_path.read_bytes())
    with tifffile.TiffFile(slide_path) as tiff:
        start, count = tiff.pages[0].dataoffsets[7], tiff.pages[0].databytecounts[7]  # row 1, column 1
    data[start : start + count] = bytes(count)
    broken.write_bytes(data)
    with Slide.open(broken) as slide:
        slide.read_region((0, 0), 0, (256, 256))
        with pytest.raises(FileError, match="tile 1, 1 of level 0 is damaged"):
            slide.read_region((300, 300), 0, (10, 10))


def test_a_level_or_size_that_is_not_there_is_refused(slide):
    with pytest.raises(SettingsError, match="level 3 is not one of 0 to 2"):
        slide.read_region((0, 0), 3, (10, 10))
    with pytest.raises(SettingsError, match="0 × 10 px"):
        slide.read_region((0, 0), 0, (0, 10))


@pytest.mark.parametrize("content", [b"", b"not a slide", b"II*\0\x08\0\0\0", b"II+\0\x08\0\0\0" + bytes(40)])
def test_what_is_no_slide_is_a_file_error(tmp_path, content):
    path = tmp_path / "slide.ome.tif"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"slide\.ome\.tif"):
        Slide.open(path)


def test_a_slide_cut_short_is_a_file_error(slide_path, tmp_path):
    path = tmp_path / "slide.ome.tif"
    data = slide_path.read_bytes()

    def read_everything():
        with Slide.open(path) as slide:
            for level, size in enumerate(slide.level_dimensions):
                slide.read_region((0, 0), level, size)

    for part in (0.2, 0.6, 0.9):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(FileError, match=r"slide\.ome\.tif"):
            read_everything()


def test_a_missing_file_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        Slide.open(tmp_path / "slide.svs")


def test_an_ome_tiff_that_is_not_rgb_is_refused(tmp_path):
    path = tmp_path / "grey.ome.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint16), ome=True)
    with pytest.raises(FileError, match="uint16"):
        Slide.open(path)


def test_an_ome_tiff_by_another_writer_opens(tmp_path, picture):
    path = tmp_path / "other.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        settings = {"photometric": "rgb", "tile": (128, 128), "compression": "zlib"}
        sizes = {"axes": "YXS", "PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 250.0}
        tiff.write(picture[:601, :801], subifds=1, metadata=sizes, **settings)
        tiff.write(picture[:600:2, :800:2], subfiletype=1, **settings)
    with Slide.open(path) as slide:
        assert slide.level_downsamples == (1.0, 2.0)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        assert np.array_equal(slide.read_region((700, 500), 0, (101, 101)), picture[500:601, 700:801])
        assert np.array_equal(slide.read_region((200, 100), 1, (9, 5)), picture[100:110:2, 200:218:2])


def test_an_overview_is_the_whole_slide_in_few_pixels(slide, picture, tmp_path):
    small = overview(slide, 300)
    assert small.shape == (220, 300, 3)
    assert np.abs(small[110, 150].astype(int) - picture[550, 750]).max() < 12
    assert overview(slide, 9999).shape == (1100, 1500, 3)
    write_overview(slide, tmp_path / "overview.jpg", 300)
    assert (tmp_path / "overview.jpg").read_bytes()[:2] == b"\xff\xd8"


@pytest.mark.skipif(not REAL.exists(), reason="needs the real slide in ../shared/data")
def test_a_real_slide_opens_through_openslide():
    with Slide.open(REAL) as slide:
        assert slide.dimensions == (2220, 2967)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.499)
        region = slide.read_region((900, 1400), 0, (300, 200))
        assert region.shape == (200, 300, 3)
        assert region.std() > 10
        assert (slide.read_region((-100, -100), 0, (50, 50)) == 255).all()
