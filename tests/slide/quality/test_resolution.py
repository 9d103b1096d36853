"""Resolution is what two exposures of one place agree on: it falls with blur, and noise does not pass for detail."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from parfocal.slide.quality.resolution import measure_resolution
from parfocal.slide.registration.register import register

SHAPE = (256, 320)


def seen(scan):
    registration = register(scan.folder, np.ones((*SHAPE, 3), np.float32))
    return measure_resolution(scan.folder, registration)


def blurred(scan, sigma_px):
    rng = np.random.default_rng(0)
    for record in scan.folder.records:
        path = scan.folder.path / record.file
        soft = cv2.GaussianBlur(cv2.imread(str(path)), (0, 0), sigma_px).astype(float)
        noisy = np.clip(np.round(soft + rng.normal(0, 2, soft.shape)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(path), noisy, [cv2.IMWRITE_JPEG_QUALITY, 98])
    return scan


@pytest.fixture(scope="module")
def sharp(synthetic_scan):
    return seen(synthetic_scan(2, 3, overlap=0.3, vignetting=0.0, seed=12))


def test_the_limit_is_the_lens_or_two_pixels(sharp):
    assert sharp.limit_um == pytest.approx(2 * 0.345)
    assert sharp.by_pixel


def test_blur_costs_as_much_as_it_takes(sharp, synthetic_scan):
    soft = seen(blurred(synthetic_scan(2, 3, overlap=0.3, vignetting=0.0, seed=12), 2.0))
    softer = seen(blurred(synthetic_scan(2, 3, overlap=0.3, vignetting=0.0, seed=12), 4.0))
    assert sharp.finest_um < 0.7 * soft.finest_um
    assert soft.finest_um < 0.8 * softer.finest_um


def test_fields_a_fraction_of_a_pixel_apart_agree_all_the_same(sharp):
    assert sharp.correlation[: len(sharp.correlation) // 3].min() > 0.9


def test_noise_is_no_detail(synthetic_scan):
    noisy = seen(synthetic_scan(2, 3, overlap=0.3, vignetting=0.0, noise=25.0, seed=12))
    quiet = seen(synthetic_scan(2, 3, overlap=0.3, vignetting=0.0, noise=1.0, seed=12))
    assert noisy.finest_um > 1.1 * quiet.finest_um


def test_where_there_is_nothing_to_compare_nothing_is_claimed(synthetic_scan):
    alone = seen(synthetic_scan(1, 1))
    assert (alone.finest_um, alone.patches) == (None, 0)
