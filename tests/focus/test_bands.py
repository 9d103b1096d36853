"""A pair in bands: what the rows are by hand, what cancels, and what remains."""

import numpy as np
import pytest

from parfocal.focus import bands as module
from parfocal.focus.bands import BANDS, EDGES_PER_PX, FREQUENCY, PATCH_PX, ROWS, bands, shift_px, spectrum

RATIO, AGREEMENT, POWER, COLOURS_1, COLOURS_2 = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12), slice(12, 15)
DELTA_U = 2.5


def grating(cycles_per_px: float, contrast: float, mean: float = 120.0, phase: float = 0.3) -> np.ndarray:
    """Sinusoidal in the logarithm, along x and y, so that a factor on it is one on the spectrum."""
    column = np.arange(PATCH_PX)
    wave = np.cos(2 * np.pi * cycles_per_px * column + phase)
    light = np.exp(contrast * (wave[None, :] + wave[:, None]) / 2)
    return np.repeat((mean * light).round()[..., None], 3, axis=2).astype(np.uint8)


def band_of(cycles_per_px: float) -> int:
    return int(np.digitize(cycles_per_px, EDGES_PER_PX)) - 1


def texture(seed: int = 0, contrast: float = 0.25) -> np.ndarray:
    """Light (Y, X, 3) with something in every band, the colours partly alike."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(rng.normal(size=(3, PATCH_PX, PATCH_PX))) / (FREQUENCY + 0.02)
    layers = np.fft.irfft2(spectrum, s=(PATCH_PX, PATCH_PX))
    layers = layers + layers.mean(axis=0)
    return np.exp(contrast * layers / layers.std()).transpose(1, 2, 0)


def exposed(light: np.ndarray, level: float = 90.0) -> np.ndarray:
    return np.clip((level * light).round(), 0, 255).astype(np.uint8)


def blurred(light: np.ndarray, transfer: np.ndarray) -> np.ndarray:
    """The light whose logarithm went through a transfer function (Y, X/2+1)."""
    logarithm = np.log(light).transpose(2, 0, 1)
    return np.exp(np.fft.irfft2(np.fft.rfft2(logarithm) * transfer, s=(PATCH_PX, PATCH_PX))).transpose(1, 2, 0)


def test_the_ratio_of_power_is_that_of_the_squared_contrast():
    seen = bands(grating(0.1, 0.2), grating(0.1, 0.1), DELTA_U)
    assert seen.shape == (ROWS, BANDS)
    assert seen[RATIO, band_of(0.1)] == pytest.approx(np.log(0.25), abs=0.03)


@pytest.mark.parametrize(("contrast", "sign"), [(0.2, 1), (0.1, 1), (-0.1, -1)])
def test_the_agreement_tells_a_reversed_contrast(contrast: float, sign: int):
    seen = bands(grating(0.1, 0.2), grating(0.1, contrast), DELTA_U)
    assert seen[AGREEMENT, band_of(0.1)] == pytest.approx(sign, abs=0.02)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_specimen_cancels_from_ratio_and_agreement(seed: int):
    """Two images of any specimen through two transfer functions: what is left is the functions' own ratio."""
    first_transfer, second_transfer = np.exp(-2 * FREQUENCY), 1 - 4 * FREQUENCY
    light = texture(seed)
    seen = bands(exposed(blurred(light, first_transfer)), exposed(blurred(light, second_transfer)), DELTA_U)
    for band in range(6, 20):
        inside = (EDGES_PER_PX[band] <= FREQUENCY) & (EDGES_PER_PX[band + 1] > FREQUENCY)
        expected = np.mean(second_transfer[inside] ** 2) / np.mean(first_transfer[inside] ** 2)
        assert seen[RATIO, band] == pytest.approx(np.log(expected), abs=0.25), band
    assert np.all(seen[AGREEMENT, 6:17] > 0.9)
    assert np.all(seen[AGREEMENT, band_of(0.4)] < 0)


def test_exposure_and_gamma_of_both_images_cancel_from_ratio_and_agreement():
    first, second = texture(4), blurred(texture(4), np.exp(-3 * FREQUENCY))
    plain = bands(exposed(first), exposed(second), DELTA_U)
    brighter = bands(exposed(first, 120), exposed(second, 120), DELTA_U)
    curved = bands(exposed(first**0.8, 120), exposed(second**0.8, 120), DELTA_U)
    for other in (brighter, curved):
        np.testing.assert_allclose(other[:6, :18], plain[:6, :18], atol=0.06)


def test_a_shift_between_the_two_images_is_found_and_taken_out():
    first, dy, dx = texture(5), 0.3, -0.45
    fy, fx = np.fft.fftfreq(PATCH_PX)[:, None], np.fft.rfftfreq(PATCH_PX)[None, :]
    moved = blurred(first, np.exp(-2j * np.pi * (fy * dy + fx * dx)))
    both = spectrum(exposed(moved)) * np.conj(spectrum(exposed(first)))
    assert shift_px(both) == pytest.approx((dy, dx), abs=0.05)
    seen = bands(exposed(first), exposed(moved), DELTA_U)
    assert np.all(seen[AGREEMENT, 4:20] > 0.97)
    assert np.all(np.abs(seen[RATIO, 4:20]) < 0.05)


def test_colours_that_are_one_agree_and_colours_that_oppose_do_not():
    light = texture(6)
    grey = exposed(np.repeat(light[..., :1], 3, axis=2))
    assert bands(grey, grey, DELTA_U)[COLOURS_1, 3:20] == pytest.approx(1.0, abs=1e-3)
    opposed = exposed(np.stack([light[..., 0], 1 / light[..., 0], light[..., 0]], axis=2))
    seen = bands(grey, opposed, DELTA_U)
    assert np.all(seen[COLOURS_1, 3:18] > 0.99)
    assert np.all(seen[COLOURS_2][:2, 3:18] < -0.99)  # red and green, green and blue
    assert np.all(seen[COLOURS_2][2, 3:18] > 0.99)


def test_turning_both_images_changes_little():
    first, second = exposed(texture(7)), exposed(blurred(texture(7), np.exp(-3 * FREQUENCY)))
    turned = bands(np.rot90(first).copy(), np.rot90(second).copy(), DELTA_U)
    np.testing.assert_allclose(turned, bands(first, second, DELTA_U), atol=5e-3)


def test_a_flat_pair_is_finite():
    flat = np.full((PATCH_PX, PATCH_PX, 3), 200, np.uint8)
    seen = bands(flat, flat, DELTA_U)
    assert np.isfinite(seen).all()
    assert np.abs(seen[:6]).max() < 1e-3


def test_the_last_row_is_delta():
    flat = np.full((PATCH_PX, PATCH_PX, 3), 200, np.uint8)
    assert np.all(bands(flat, flat, 2.9)[15] == np.float32(2.9))


def test_power_is_a_mean_over_the_band_by_direct_sum():
    image = exposed(texture(8))
    logarithm = np.log(image.astype(np.float64) + 1).transpose(2, 0, 1)
    logarithm -= logarithm.mean(axis=(1, 2), keepdims=True)
    full = np.abs(np.fft.fft2(logarithm * module.WINDOW)) ** 2 / PATCH_PX**2
    frequency = np.hypot(np.fft.fftfreq(PATCH_PX)[:, None], np.fft.fftfreq(PATCH_PX)[None, :])
    seen = bands(image, image, DELTA_U)
    for band in (0, 7, 15, 26):
        inside = (frequency >= EDGES_PER_PX[band]) & (frequency < EDGES_PER_PX[band + 1])
        expected = np.log(full[:, inside].mean(axis=1) + module.LEAST_POWER)
        assert seen[POWER, band] == pytest.approx(expected, abs=2e-2), band
