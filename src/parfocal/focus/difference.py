"""The difference image: the one pre-processing path of training and prediction (paper, section 2.2.3)."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.focus.bands import BANDS, ROWS, bands

MEDIAN_PX = 3


def difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Median-filtered signed difference I2 − I1, filtered again (steps 1 and 2).

    Args:
        first: I1, uint8 (Y, X, 3).
        second: I2, of the same shape.

    Returns:
        int16 (Y, X, 3), −255 … 255: a signed type, since bytes would wrap round.
    """
    smooth_first = cv2.medianBlur(first, MEDIAN_PX).astype(np.int16)
    smooth_second = cv2.medianBlur(second, MEDIAN_PX).astype(np.int16)
    return np.asarray(cv2.medianBlur(smooth_second - smooth_first, MEDIAN_PX), dtype=np.int16)


def standardise(signed_difference: NDArray[np.int16] | NDArray[np.int8]) -> NDArray[np.float32]:
    """Each channel less its mean, over its standard deviation (step 3).

    Args:
        signed_difference: (Y, X, 3), as `difference` returns it.

    Returns:
        float32 (3, Y, X). A flat channel has no standard deviation and becomes zeros.
    """
    channels = np.ascontiguousarray(np.moveaxis(signed_difference, -1, 0), dtype=np.float32)
    channels -= channels.mean(axis=(1, 2), keepdims=True)
    deviation = channels.std(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(channels, deviation, out=np.zeros_like(channels), where=deviation > 0))


def contrast(first: NDArray[np.uint8], second: NDArray[np.uint8], delta_u: float) -> NDArray[np.float32]:
    """Difference and mean of a pair on one scale, so that their ratio tells how far away the focus is.

    Defocus spreads light as diffusion does: near the focus I2 − I1 is about (z1² − z2²) times the mean's Laplacian.
    A difference that is divided by its own standard deviation has lost that factor; divided by the mean's it keeps it,
    and what is left of specimen, stain and exposure cancels (docs/decisions/0005).

    Args:
        first: I1, uint8 (Y, X, 3) at the canonical scale.
        second: I2, of the same shape.
        delta_u: distance of the two in units of u.

    Returns:
        float32 (6, Y, X): the three channels of the difference over `delta_u`, then those of the mean. Logarithms of
        the median-filtered images, less what is smoother than `_HIGH_PASS_PX`, over the mean's standard deviation.
        A flat channel becomes zeros.
    """
    log_first, log_second = (_LOGARITHM[cv2.medianBlur(image, MEDIAN_PX)] for image in (first, second))
    change = cv2.medianBlur(log_second - log_first, MEDIAN_PX) * np.float32(_REFERENCE_DELTA_U / delta_u)
    change, mean = (_high_pass(image) for image in (change, (log_first + log_second) / 2))
    deviation = cv2.meanStdDev(mean)[1].ravel().astype(np.float32)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return np.ascontiguousarray(np.concatenate([change * scale, mean * scale], axis=2).transpose(2, 0, 1))


_LOGARITHM = np.log(np.arange(256, dtype=np.float32) + 1)
_HIGH_PASS_PX = 8.0
_REFERENCE_DELTA_U = 2.5


def _high_pass(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(image - cv2.GaussianBlur(image, (0, 0), _HIGH_PASS_PX))


def paper_input(first: NDArray[np.uint8], second: NDArray[np.uint8], _delta_u: float) -> NDArray[np.float32]:
    """The paper's input (section 2.2.3): the standardised difference, float32 (3, Y, X), whatever Δ is."""
    return standardise(difference(first, second))


def unfiltered_input(first: NDArray[np.uint8], second: NDArray[np.uint8], _delta_u: float) -> NDArray[np.float32]:
    """The standardised difference without the median filter (an ablation of step 1), float32 (3, Y, X)."""
    return standardise(second.astype(np.int16) - first)


def unscaled_input(first: NDArray[np.uint8], second: NDArray[np.uint8], _delta_u: float) -> NDArray[np.float32]:
    """The filtered difference in grey levels (an ablation of step 3), float32 (3, Y, X)."""
    return _channels_first(difference(first, second))


def raw_input(first: NDArray[np.uint8], second: NDArray[np.uint8], _delta_u: float) -> NDArray[np.float32]:
    """Grey levels of the difference, neither filtered nor scaled (the work before the paper): float32 (3, Y, X)."""
    return _channels_first(second.astype(np.int16) - first)


def colour_input(_first: NDArray[np.uint8], second: NDArray[np.uint8], _delta_u: float) -> NDArray[np.float32]:
    """One image as it is, 0 … 1 (Jiang et al. 2018), float32 (3, Y, X): the second; the first is not looked at."""
    return _channels_first(second) / np.float32(255)


def spectral_input(_first: NDArray[np.uint8], second: NDArray[np.uint8], _delta_u: float) -> NDArray[np.float32]:
    """One image in grey and the logarithm of its spectrum without the constant term (Jiang et al. 2018), each
    standardised: float32 (2, Y, X). The spectrum's middle is the lowest frequency."""
    grey = second.mean(axis=2, dtype=np.float32)
    spectrum = np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(grey - grey.mean()))))
    layers = np.stack([grey, spectrum]).astype(np.float32)
    layers -= layers.mean(axis=(1, 2), keepdims=True)
    deviation = layers.std(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(layers, deviation, out=np.zeros_like(layers), where=deviation > 0))


def _channels_first(image: NDArray[np.uint8] | NDArray[np.int16]) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.moveaxis(image, -1, 0), dtype=np.float32)


Preparation = Callable[[NDArray[np.uint8], NDArray[np.uint8], float], NDArray[np.float32]]

PREPARATIONS: dict[str, Preparation] = {
    "difference": paper_input,
    "contrast": contrast,
    "bands": bands,
    "difference-unfiltered": unfiltered_input,
    "difference-unscaled": unscaled_input,
    "difference-raw": raw_input,
    "colour": colour_input,
    "spectral": spectral_input,
}
"""What a network can be shown, by the name of its input; those after `bands` are baselines and ablations."""

CHANNELS = {
    "difference": 3,
    "contrast": 6,
    "difference-unfiltered": 3,
    "difference-unscaled": 3,
    "difference-raw": 3,
    "colour": 3,
    "spectral": 2,
}
"""Channels of each input that is an image."""


def input_shape(name: str, patch_px: int) -> tuple[int, ...]:
    """Shape of what a network is shown of one pair of patches of `patch_px` pixels, by the name of its input."""
    return (ROWS, BANDS) if name == "bands" else (CHANNELS[name], patch_px, patch_px)
