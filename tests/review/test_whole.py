"""Whole slides on canvases: where they lie, what is white, and how large what was scanned is."""

import numpy as np
import pytest

from parfocal.errors import FileError
from parfocal.review.sheets.whole import Canvas, Extent, OnCanvas, canvas_size, scanned_area_mm2
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.readers.raster import RasterSlide

GREY = 90


class GreySlide(RasterSlide):
    """600 × 300 px in two levels, all grey."""

    path = "grey"
    level_dimensions = ((600, 300), (150, 75))
    level_downsamples = (1.0, 4.0)
    properties = {"openslide.vendor": "secret"}  # noqa: RUF012

    def _part(self, level, left, top, right, bottom):
        return np.full((bottom - top, right - left, 3), GREY + level, np.uint8)

    def close(self):
        """Nothing is open."""


def test_a_canvas_has_room_for_every_slide_in_whole_tiles():
    assert canvas_size([Extent(700, 100, 1, 1), Extent(10, 513, 1, 1)]) == (768, 768)
    assert canvas_size([Extent(256, 256, 1, 1)]) == (256, 256)


def test_a_slide_lies_in_the_middle_moved_by_whole_tiles():
    assert Canvas(2048, 1024, 600, 300).corner == (512, 256)
    assert Canvas(768, 512, 600, 300).corner == (0, 0)


@pytest.mark.parametrize(("level", "scale"), [(0, 1), (1, 4)])
def test_around_the_slide_a_canvas_is_white_in_every_level(level, scale):
    shown = OnCanvas(GreySlide(), Canvas(2048, 1024, 600, 300))
    width, height = shown.level_dimensions[level]
    assert (width, height) == (2048 // scale, 1024 // scale)
    pixels = shown.read_region((0, 0), level, (width, height))
    inside = np.zeros((height, width), bool)
    inside[256 // scale : 556 // scale, 512 // scale : 1112 // scale] = True
    assert (pixels[inside] == GREY + level).all()
    assert (pixels[~inside] == 255).all()
    assert shown.properties == {}


def test_another_slide_is_not_laid_on_a_canvas():
    with pytest.raises(FileError, match="has changed"):
        OnCanvas(GreySlide(), Canvas(2048, 1024, 601, 300))


def test_a_canvas_comes_back_from_json():
    canvas = Canvas(2048, 1024, 600, 300)
    assert Canvas.from_json(canvas.to_json()) == canvas


def fields(path, places, verdict="focused"):
    """Fields of 0.1 × 0.05 mm at (x, y) in µm; one more of them is empty."""
    header = FieldsHeader(
        version="0.1.0", seed=1, microscope="m", specimen="s", pixel_size_um=10, frame_shape=(5, 10), magnification=20,
        na=0.75, immersion_index=1.0, depth_of_field_um=1.2, rows=1, columns=len(places) + 1, overlap=0.1,
    )  # fmt: skip
    with FieldsWriter(path, header) as writer:
        for index, (x_um, y_um) in enumerate([*places, (9000.0, 0.0)]):
            told = verdict if index < len(places) else "empty"
            writer.put(FieldRecord(index, 0, index, x_um, y_um, 0.0, told, 2), np.zeros((5, 10, 3), np.uint8))
    return FieldsFolder(path)


@pytest.mark.parametrize(
    ("places", "area_mm2"),
    [
        ([(0.0, 0.0)], 0.005),
        ([(0.0, 0.0), (1000.0, 0.0)], 0.010),
        ([(0.0, 0.0), (90.0, 0.0)], 0.0095),  # 190 × 50 µm
        ([(0.0, 0.0), (90.0, 40.0), (0.0, 0.0)], 0.0099),  # 10 × 10 µm of both
    ],
)
def test_overlaps_of_fields_count_once_and_empty_fields_not_at_all(tmp_path, places, area_mm2):
    assert scanned_area_mm2(fields(tmp_path / "scan", places)) == pytest.approx(area_mm2)


def test_a_scan_of_empty_fields_alone_has_no_area(tmp_path):
    with pytest.raises(FileError, match="empty or failed"):
        scanned_area_mm2(fields(tmp_path / "scan", [(0.0, 0.0)], "failed"))
