"""Photographs taken by hand become a slide of loose fields, whole or not at all."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError, SettingsError
from parfocal.slide.fields.photographs import PhotographSettings, import_photographs, modality_of

SETTINGS = PhotographSettings("manual-100x", "S01", 0.0345)


def photographs(folder, number=3, shape=(24, 32), suffix=".png"):
    """Image files of noise, and what is in them."""
    made = []
    for index in range(number):
        pixels = np.random.default_rng(index).integers(0, 256, (*shape, 3), np.uint8)
        path = folder / f"p{index} µ{suffix}"
        path.write_bytes(cv2.imencode(suffix, pixels[..., ::-1])[1].tobytes())
        made.append((path, pixels))
    return made


def test_every_photograph_is_a_field_pixel_by_pixel(tmp_path):
    made = photographs(tmp_path)
    folder = import_photographs([path for path, _ in made], tmp_path / "out", SETTINGS)
    folder.check()
    for record, (_, pixels) in zip(folder.records, made, strict=True):
        assert np.array_equal(folder.frame(record), pixels)
    assert (folder.header.slide_id, modality_of(folder.header)) == ("S01", "manual-100x")


def test_made_up_positions_do_not_touch(tmp_path):
    made = photographs(tmp_path)
    folder = import_photographs([path for path, _ in made], tmp_path / "out", SETTINGS)
    assert np.all(np.diff([record.stage_x_um for record in folder.records]) > 32 * 0.0345)


def test_a_scan_is_named_by_its_objective(tmp_path, synthetic_scan):
    assert modality_of(synthetic_scan(1, 1, seed=1).folder.header) == "automated-20x"


@pytest.mark.parametrize("bad", ["missing.png", "text.png", "small.png"])
def test_what_does_not_fit_is_named_and_nothing_is_left(tmp_path, bad):
    path = photographs(tmp_path)[0][0]
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "small.png").write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    with pytest.raises(FileError, match=bad):
        import_photographs([path, tmp_path / bad], tmp_path / "out", SETTINGS)
    assert not list(tmp_path.glob("out*"))


def test_a_folder_with_anything_in_it_stays(tmp_path):
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(FileError, match="not empty"):
        import_photographs([photographs(tmp_path)[0][0]], tmp_path, SETTINGS)


@pytest.mark.parametrize(
    "values", [("", "S01", 0.1), ("manual", "two\nlines", 0.1), ("manual", "S01", 0.0), ("manual", "S01", float("nan"))]
)
def test_impossible_settings_are_refused(values):
    with pytest.raises(SettingsError):
        PhotographSettings(*values)


def test_the_command_tells_what_it_made(parfocal, tmp_path):
    files = [path for path, _ in photographs(tmp_path)]
    words = ("--modality", "manual-100x", "--slide", "S01", "--pixel-size-um", "0.0345", "--out", tmp_path / "s01")
    code, out, _ = parfocal("import-images", *words, *files, "--json")
    assert (code, json.loads(out)["fields"]) == (0, 3)
