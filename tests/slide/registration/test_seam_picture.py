"""The picture of the seams."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError
from parfocal.slide.registration.seam_picture import draw_seams
from parfocal.slide.registration.seams import Registration, Seam


@pytest.fixture(scope="module")
def folder(synthetic_scan):
    return synthetic_scan(2, 2).folder


def registration(*seams):
    places = np.array([(0.0, 0.0), (256.0, 0.0), (256.0, 205.0), (0.0, 205.0)])
    return Registration(places, seams, np.array([0, 0, 1, 2], np.int32))


def nearest(path, wanted):
    """How far the nearest colour of a picture is from one, in levels of the channel that differs most."""
    return np.abs(cv2.imread(str(path)).astype(int) - wanted).max(axis=-1).min()


def test_a_good_and_a_bad_seam_differ_in_colour(folder, tmp_path):
    for name, residual_px in (("good", 0.02), ("bad", 0.95)):
        seam = Seam(0, 1, 256, 0, 0.9, accepted=True, residual_px=residual_px)
        draw_seams(folder, registration(seam), tmp_path / f"{name}.png")
    light, dark = (37, 231, 253), (84, 1, 68)  # ends of the scale of colours, as blue, green, red
    assert nearest(tmp_path / "good.png", light) < 30
    assert nearest(tmp_path / "bad.png", dark) < 30


@pytest.mark.parametrize("seams", [(), (Seam(0, 1, 256, 0, 0.0, accepted=False),)])
def test_a_scan_without_a_used_seam_has_a_picture(folder, tmp_path, seams):
    draw_seams(folder, registration(*seams), tmp_path / "seams.png")
    assert cv2.imread(str(tmp_path / "seams.png")) is not None


def test_no_half_picture_is_left(folder, tmp_path):
    with pytest.raises(FileError, match=r"seams\.png"):
        draw_seams(folder, registration(), tmp_path / "gone" / "seams.png")
    assert not list(tmp_path.iterdir())
