"""The one pre-processing path of training and prediction (paper, section 2.2.3), step by step against scipy."""

from typing import get_args

import numpy as np
import pytest
import scipy.ndimage

from parfocal.focus.difference import CHANNELS, PREPARATIONS, contrast, difference, input_shape, standardise
from parfocal.training.recipe import InputName

INTERIOR = slice(3, -3)


def frame(seed: int, level: float = 128.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = scipy.ndimage.gaussian_filter(rng.standard_normal((40, 50, 3)), (2, 2, 0))
    return np.clip(level + 60 * smooth / smooth.std() + 8 * rng.standard_normal((40, 50, 3)), 0, 255).astype(np.uint8)


def median(image: np.ndarray) -> np.ndarray:
    return scipy.ndimage.median_filter(image, size=(3, 3, 1))


def test_median_of_both_then_the_difference_then_its_median():
    first, second = frame(1), frame(2)
    expected = median(median(second).astype(int) - median(first).astype(int))
    result = difference(first, second)
    np.testing.assert_array_equal(result[INTERIOR, INTERIOR], expected[INTERIOR, INTERIOR])
    other_order = median(second.astype(int) - first.astype(int))
    assert np.any(result[INTERIOR, INTERIOR] != other_order[INTERIOR, INTERIOR])


def test_the_difference_is_signed_and_does_not_wrap():
    dark, bright = np.full((8, 9, 3), 10, np.uint8), np.full((8, 9, 3), 250, np.uint8)
    assert np.all(difference(dark, bright) == 240)
    assert np.all(difference(bright, dark) == -240)
    assert difference(dark, bright).dtype == np.int16
    assert difference(dark, bright).shape == (8, 9, 3)


def test_swapping_the_images_turns_the_sign():
    first, second = frame(3), frame(4)
    np.testing.assert_array_equal(difference(first, second), -difference(second, first))


def test_single_hot_pixels_leave_no_trace():
    first, second = np.full((20, 20, 3), 90, np.uint8), np.full((20, 20, 3), 100, np.uint8)
    first[5, 5], second[12, 7] = 255, 0
    assert np.all(difference(first, second) == 10)


def test_the_frames_themselves_are_left_alone():
    first, second = frame(1), frame(2)
    before = first.copy(), second.copy()
    difference(first, second)
    np.testing.assert_array_equal(first, before[0])
    np.testing.assert_array_equal(second, before[1])


@pytest.mark.parametrize("kind", [np.int16, np.int8])
def test_each_channel_gets_zero_mean_and_unit_deviation(kind):
    image = np.random.default_rng(0).normal([5, -20, 40], [3, 20, 11], (30, 40, 3)).clip(-127, 127).astype(kind)
    result = standardise(image)
    expected = (image - image.mean(axis=(0, 1))) / image.std(axis=(0, 1))
    assert result.shape == (3, 30, 40)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.moveaxis(expected, -1, 0), atol=1e-5)


@pytest.mark.parametrize("level", [0, 7, -127])
def test_a_flat_channel_becomes_zeros_and_no_nan(level):
    image = np.random.default_rng(0).integers(-50, 50, (64, 64, 3)).astype(np.int16)
    image[..., 1] = level
    result = standardise(image)
    assert np.isfinite(result).all()
    assert not result[1].any()
    assert result[0].std() == pytest.approx(1, abs=1e-5)


def blurred_pair(spectrum_px: float, first_px: float, second_px: float) -> tuple[np.ndarray, np.ndarray]:
    """One specimen, whose own detail is `spectrum_px` coarse, seen through two Gaussian blurs."""
    density = np.random.default_rng(5).standard_normal((224, 224, 3))
    density = scipy.ndimage.gaussian_filter(density, (spectrum_px, spectrum_px, 0))
    density *= 0.3 / density.std()
    images = [200 * np.exp(-scipy.ndimage.gaussian_filter(density, (s, s, 0)) - 0.5) for s in (first_px, second_px)]
    return images[0].round().astype(np.uint8), images[1].round().astype(np.uint8)


def diffusion(pair: tuple[np.ndarray, np.ndarray], delta_u: float) -> float:
    """How much of the mean's Laplacian is in the difference."""
    prepared = scipy.ndimage.gaussian_filter(contrast(*pair, delta_u), (0, 2, 2))[:, 16:-16, 16:-16]
    laplacian = sum(np.gradient(np.gradient(prepared[3:], axis=axis), axis=axis) for axis in (1, 2))
    return float((prepared[:3] * laplacian).sum() / (laplacian**2).sum())


@pytest.mark.parametrize("spectrum_px", [1.5, 2.0, 3.0])
@pytest.mark.parametrize(("first_px", "second_px"), [(2.5, 1.5), (1.5, 2.5), (2.2, 1.0)])
def test_the_ratio_of_difference_and_mean_tells_the_blur_whatever_the_specimen(spectrum_px, first_px, second_px):
    found = diffusion(blurred_pair(spectrum_px, first_px, second_px), 2.5)
    assert found == pytest.approx((second_px**2 - first_px**2) / 2, rel=0.25)


def test_the_contrast_is_a_rate_over_z():
    pair = blurred_pair(2.0, 2.5, 1.5)
    assert diffusion(pair, 3.0) == pytest.approx(diffusion(pair, 2.0) * 2 / 3, rel=1e-3)


def test_the_contrast_has_the_mean_as_its_unit():
    result = contrast(*blurred_pair(2.0, 2.5, 1.5), 2.5)
    assert result.shape == (6, 224, 224)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[3:].std(axis=(1, 2)), 1, atol=1e-3)


def test_exposure_cancels_from_the_contrast():
    first, second = blurred_pair(2.0, 2.5, 1.5)
    darker = contrast((first * 0.7).round().astype(np.uint8), (second * 0.7).round().astype(np.uint8), 2.5)
    expected = contrast(first, second, 2.5)
    for channel in range(6):
        assert np.corrcoef(darker[channel].ravel(), expected[channel].ravel())[0, 1] > 0.97


def test_a_flat_channel_has_no_contrast():
    flat = np.full((32, 32, 3), 90, np.uint8)
    assert np.all(contrast(flat, flat, 2.5) == 0)


class TestBaselinesAndAblations:
    def test_every_input_has_its_channels_in_single_precision(self):
        first, second = (np.random.default_rng(s).integers(0, 255, (224, 224, 3)).astype(np.uint8) for s in (1, 2))
        assert set(PREPARATIONS) - {"bands"} == set(CHANNELS) == set(get_args(InputName))
        for name, prepare in PREPARATIONS.items():
            patch = prepare(first, second, 2.5)
            assert (patch.shape, patch.dtype) == (input_shape(name, 224), np.float32), name

    def test_bytes_do_not_wrap_round(self):
        dark, bright = np.full((8, 8, 3), 5, np.uint8), np.full((8, 8, 3), 245, np.uint8)
        assert (PREPARATIONS["difference-raw"](bright, dark, 2.5) == -240).all()
        assert (PREPARATIONS["difference-unscaled"](bright, dark, 2.5) == -240).all()

    def test_one_image_inputs_do_not_look_at_the_first(self):
        first, second = (np.random.default_rng(s).integers(0, 255, (32, 32, 3)).astype(np.uint8) for s in (1, 2))
        for name in ("colour", "spectral"):
            np.testing.assert_array_equal(
                PREPARATIONS[name](first, second, 2.5), PREPARATIONS[name](second, second, 2.5)
            )

    def test_a_grating_is_two_points_in_the_spectrum(self):
        column = np.arange(64)
        image = np.broadcast_to(100 + 50 * np.cos(2 * np.pi * 8 * column / 64)[None, :, None], (64, 64, 3))
        spectrum = PREPARATIONS["spectral"](image.astype(np.uint8), image.round().astype(np.uint8), 2.5)[1]
        brightest = {tuple(place) for place in np.argwhere(spectrum >= np.sort(spectrum.ravel())[-2])}
        assert brightest == {(32, 32 - 8), (32, 32 + 8)}

    def test_a_flat_image_has_no_spectrum(self):
        flat = np.full((16, 16, 3), 90, np.uint8)
        assert not PREPARATIONS["spectral"](flat, flat, 2.5).any()
