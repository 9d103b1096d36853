"""One frame beside another: the shift is found wherever the stage may have gone wrong."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from parfocal.slide.registration.translation import measure_translation


def scene(seed=0, shape=(700, 900)):
    rng = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), s) for s in (1.5, 4, 15)]
    return 150 + 15 * sum(layer / layer.std() for layer in layers)


def view(picture, x, y, noise=2.0, seed=0):
    moved = cv2.warpAffine(
        picture, np.array([[1.0, 0, x], [0, 1, y]]), (320, 256), flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    )
    noisy = moved + np.random.default_rng(seed).normal(0, noise, moved.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("error", [(0, 0), (20, -10), (-40, 30), (50.40625, 12.1875), (-0.5, 0.5)])
@pytest.mark.parametrize("side", [(256, 0), (0, 200), (-256, 0), (0, -200)])
def test_a_neighbour_is_found_on_every_side(side, error):
    picture = scene()
    # an error that would leave no overlap is mirrored
    dx = side[0] + (-abs(error[0]) if side[0] > 0 else abs(error[0]) if side[0] < 0 else error[0])
    dy = side[1] + (-abs(error[1]) if side[1] > 0 else abs(error[1]) if side[1] < 0 else error[1])
    found = measure_translation(view(picture, 290, 220, seed=1), view(picture, 290 + dx, 220 + dy, seed=2), side, 60)
    assert found is not None
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.1)
    assert found.quality > 0.9


def test_a_shrunken_overlap_is_enough():
    picture = scene(3)
    found = measure_translation(view(picture, 100, 100), view(picture, 100 + 290, 107.5, seed=5), (256, 0), 60)
    assert found is not None
    assert (found.dx, found.dy) == pytest.approx((290, 7.5), abs=0.2)


def test_brightness_and_shading_do_not_matter():
    picture = scene(4)
    darker = (0.7 * view(picture, 350, 100, seed=2) + np.linspace(0, 30, 320)).astype(np.uint8)
    found = measure_translation(view(picture, 100, 100), darker, (256, 0), 60)
    assert found is not None
    assert (found.dx, found.dy) == pytest.approx((250, 0), abs=0.1)


def test_faint_structure_under_noise_is_found_with_less_confidence():
    faint = 200 + 0.03 * (scene(5) - 150)
    found = measure_translation(view(faint, 100, 100), view(faint, 350, 110, seed=2), (256, 0), 60)
    assert found is not None
    assert (found.dx, found.dy) == pytest.approx((250, 10), abs=0.7)
    assert 0.1 < found.quality < 0.6


def test_two_pictures_of_noise_do_not_agree():
    blank = np.full((700, 900), 200.0)
    found = measure_translation(view(blank, 0, 0, seed=1), view(blank, 0, 0, seed=2), (256, 0), 60)
    assert found is not None
    assert found.quality < 0.2


def test_flat_pictures_have_no_quality():
    flat = np.full((256, 320), 200, np.uint8)
    found = measure_translation(flat, flat, (256, 0), 60)
    assert found is not None
    assert found.quality == pytest.approx(0, abs=1e-6)


def test_no_overlap_within_reach_is_none():
    picture = view(scene(), 0, 0)
    assert measure_translation(picture, picture, (400, 0), 30) is None
