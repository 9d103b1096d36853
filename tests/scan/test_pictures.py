"""The focus map is a picture with something in it, whatever the scan came to."""

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError
from parfocal.scan.pictures import draw_focus
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter

RED, GREEN = (209, 73, 91), (42, 157, 143)  # of failed and focused fields


def folder_of(path, verdicts):
    """Fields in one row; z rises by 1 µm from field to field."""
    header = FieldsHeader(
        version="0", seed=0, microscope="small", specimen="none", pixel_size_um=0.5, frame_shape=(64, 64),
        magnification=20, na=0.75, immersion_index=1.0, depth_of_field_um=1.2, rows=1, columns=len(verdicts),
        overlap=0.1,
    )  # fmt: skip
    with FieldsWriter(path, header) as writer:
        for index, verdict in enumerate(verdicts):
            record = FieldRecord(index, 0, index, 28.8 * index, 0.0, float(index), verdict, 3)
            writer.put(record, np.zeros((64, 64, 3), np.uint8))
    return FieldsFolder(path)


def share_of(picture, colour):
    """Share of the picture's right third that is within a few grey levels of an RGB colour."""
    right = picture[:, 2 * picture.shape[1] // 3 :, ::-1].astype(int)
    return float(np.mean(np.abs(right - colour).max(axis=2) < 6))


def test_the_map_shows_each_verdict_in_its_colour(tmp_path):
    fields = folder_of(tmp_path / "scan", ["focused", "failed", "focused", "focused"])
    path = draw_focus(fields, {0: 0.1, 2: -0.4, 3: 2.0}, tmp_path / "focus.png")
    picture = cv2.imread(str(path))
    assert picture.shape[0] >= 400
    assert picture.shape[1] >= 1200
    assert share_of(picture, GREEN) == pytest.approx(3 * share_of(picture, RED), rel=0.15)
    assert share_of(picture, RED) > 0.01


@pytest.mark.parametrize("verdicts", [["focused"], ["empty", "empty"], ["focused"] * 5])
def test_the_map_needs_neither_the_truth_nor_a_field_in_focus(tmp_path, verdicts):
    path = draw_focus(folder_of(tmp_path / "scan", verdicts), {}, tmp_path / "focus.png")
    assert cv2.imread(str(path)).std() > 5


def test_a_map_that_cannot_be_written_says_so(tmp_path):
    fields = folder_of(tmp_path / "scan", ["focused"])
    with pytest.raises(FileError, match=r"gone.*cannot be written"):
        draw_focus(fields, {}, tmp_path / "gone" / "focus.png")
