"""From a fields folder to a virtual slide."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.reader import Slide
from parfocal.slide.stitch import stitch


@pytest.fixture(scope="module")
def scan(synthetic_scan):
    return synthetic_scan(4, 4, empty=(3,), missing=(9,), seed=6)


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def result(scan, steps):
    return stitch(scan.folder.path, lambda what, done, total: steps.append((what, done, total)))


def test_the_slide_is_true_to_a_tenth_of_a_pixel(result):
    assert (result.fields, result.registered) == (15, 14)
    assert result.accepted < result.seams
    assert result.rms_error_px < 0.1
    assert result.max_error_px < 0.3
    assert result.rms_error_all_px > result.rms_error_px  # the empty field lies where the stage said


def test_the_slide_shows_the_specimen_evenly_lit(result, scan):
    with Slide.open(result.slide_path) as slide:
        height, width = result.shape
        assert slide.dimensions == (width, height)
        shown = slide.read_region((60, 60), 0, (440, 340))[..., 1].astype(float)
    truth = scan.texture[:500, :600, 1].astype(np.float32)
    match = cv2.matchTemplate(truth, shown.astype(np.float32), cv2.TM_CCOEFF_NORMED)
    assert match.max() > 0.97


def test_the_overview_is_written(result):
    image = cv2.imread(str(result.overview_path))
    assert max(image.shape) <= 2048
    assert image.shape[1] / image.shape[0] == pytest.approx(result.shape[1] / result.shape[0], rel=0.01)


def test_progress_reaches_its_end(result, steps):
    for what in ("registration", "mosaic"):
        seen = [(done, total) for name, done, total in steps if name == what]
        assert [done for done, _ in seen] == list(range(1, seen[0][1] + 1))


def test_nothing_but_the_results_is_left(result, scan):
    assert {path.name for path in scan.folder.path.iterdir()} == {
        "scan.json",
        "fields.jsonl",
        "journal.jsonl",
        "frames",
        "slide.ome.tif",
        "overview.jpg",
        "registration.json",
        "seams.png",
        "light.json",
    }


def test_stitching_again_replaces_the_result_by_the_same(result, scan):
    before = result.slide_path.read_bytes()
    assert stitch(scan.folder.path) == result
    assert result.slide_path.read_bytes() == before


@pytest.mark.slow
def test_without_truth_there_is_no_error_to_report(synthetic_scan):
    result = stitch(synthetic_scan(1, 2, truth=False).folder.path)
    assert (result.rms_error_px, result.max_error_px, result.rms_error_all_px) == (None, None, None)


def test_a_single_field_is_a_slide(synthetic_scan):
    result = stitch(synthetic_scan(1, 1).folder.path)
    assert result.shape == (256, 320)
    assert (result.seams, result.registered) == (0, 1)


def test_a_scan_without_fields_is_refused(synthetic_scan, tmp_path):
    header = replace(synthetic_scan(1, 1).folder.header, rows=1, columns=1)
    FieldsWriter(tmp_path, header).close()
    with pytest.raises(FileError, match="0 fields"):
        stitch(tmp_path)


def test_a_missing_frame_is_named_and_no_slide_is_left(synthetic_scan):
    folder = synthetic_scan(2, 2).folder
    (folder.path / folder.records[2].file).unlink()
    with pytest.raises(FileError, match=r"f00002\.jpg: cannot read"):
        stitch(folder.path)
    assert not (folder.path / "slide.ome.tif").exists()
