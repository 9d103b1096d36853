"""Radial distortion is found where there is some, taken out, and not made up where there is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.mosaic import Mosaic
from parfocal.slide.registration.distortion import estimate_distortion, undistort
from parfocal.slide.registration.register import RegistrationSettings, position_errors, register
from parfocal.slide.registration.translation import Translation

PIXEL_UM = 0.345
SHAPE = (384, 480)


def places(shape):
    """x and y of every pixel from the middle, and the squared distance as a share of the corner's."""
    y, x = np.indices(shape, np.float64)
    x, y = x - (shape[1] - 1) / 2, y - (shape[0] - 1) / 2
    return x, y, (x * x + y * y) / (np.hypot(*shape) / 2) ** 2


def distorted(image, k):
    """What a lens makes of a true picture: at p it shows what lies at p · (1 + k · r²)."""
    x, y, square = places(image.shape[:2])
    at_x, at_y = x * (1 + k * square) + (image.shape[1] - 1) / 2, y * (1 + k * square) + (image.shape[0] - 1) / 2
    return cv2.remap(
        image, at_x.astype(np.float32), at_y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


class Distorted(FieldsFolder):
    """A scan taken through a worse lens."""

    def __init__(self, folder, k):
        super().__init__(folder.path)
        self.k = k

    def frame(self, record):
        return distorted(super().frame(record), self.k)


@pytest.fixture(scope="module")
def scan(synthetic_scan):
    return synthetic_scan(3, 3, frame_shape=SHAPE, overlap=0.25, vignetting=0.0, seed=31)


def found_in(scan, k, **settings):
    flat = np.ones((*SHAPE, 3), np.float32)
    return register(Distorted(scan.folder, k), flat, RegistrationSettings(**settings))


@pytest.mark.parametrize("k", [0.006, pytest.param(-0.006, marks=pytest.mark.slow)])
def test_distortion_is_found_and_taken_out(scan, k):
    found = found_in(scan, k)
    assert found.distortion == pytest.approx(k, rel=0.1)
    with_it, _ = position_errors(found, scan.true_xy_um, PIXEL_UM)
    without, _ = position_errors(found_in(scan, k, distortion=False), scan.true_xy_um, PIXEL_UM)
    assert with_it < 0.15
    assert without > 4 * with_it


def test_a_good_lens_has_none(scan):
    assert found_in(scan, 0.0).distortion == 0.0


def test_a_picture_is_straightened():
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.normal(128, 400, (*SHAPE, 3)), (0, 0), 3).clip(0, 255).astype(np.uint8)
    bent = distorted(picture, 0.02)
    inside = (slice(60, -60), slice(60, -60))
    before = np.abs(bent[inside].astype(int) - picture[inside]).mean()
    after = np.abs(undistort(bent, 0.02)[inside].astype(int) - picture[inside]).mean()
    assert after < 0.15 * before
    assert undistort(bent, 0.0) is bent


def test_the_mosaic_shows_straightened_frames(scan):
    whole = Mosaic(scan.folder, np.ones((*SHAPE, 3), np.float32), np.zeros((9, 2)), distortion=0.02)
    plain = Mosaic(scan.folder, np.ones((*SHAPE, 3), np.float32), np.zeros((9, 2)))
    assert not np.array_equal(whole.block(0, 0, 64, 64), plain.block(0, 0, 64, 64))
    middle = (SHAPE[1] // 2 - 8, SHAPE[0] // 2 - 8, 16, 16)
    assert np.abs(whole.block(*middle).astype(int) - plain.block(*middle)).max() <= 1


def test_too_few_seams_say_nothing():
    local = np.array([[100.0, y, 0.1, 0.0, 1.0] for y in (10, 100, 200, 300)])
    assert not estimate_distortion([Translation(360, 0, 0.9, 5.0, local)] * 3, SHAPE).is_sure
    assert not estimate_distortion([], SHAPE).is_sure
