"""Figures of merit: how sharp is an image, and where does a focus curve peak.

Each function takes an image (Y, X) or RGB (Y, X, 3), whose green channel counts, and returns a score that grows with
sharpness. Images are smoothed by nobody but `tenengrad`, whose definition here includes a Gaussian of 1 px.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError

_COARSE_STEPS = 3

Image = NDArray[Any]
Merit = Callable[[Image], float]


def green(image: Image) -> NDArray[np.float32]:
    """The green channel of an RGB image, or the image itself, as float32 (Y, X)."""
    plane = image[..., 1] if image.ndim == 3 else image
    return np.ascontiguousarray(plane, dtype=np.float32)


def tenengrad(image: Image) -> float:
    """Mean squared Sobel gradient after a Gaussian of 1 px."""
    smooth = cv2.GaussianBlur(green(image), (0, 0), 1.0)
    gradient_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    gradient_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return float(np.mean(gradient_x * gradient_x + gradient_y * gradient_y))


def brenner(image: Image) -> float:
    """Mean squared difference of pixels two apart along x, [−1 0 1] (Brenner 1976, Boddeke)."""
    plane = green(image)
    difference = plane[:, 2:] - plane[:, :-2]
    return float(np.mean(difference * difference))


def variance_of_laplacian(image: Image) -> float:
    """Variance of the 3 × 3 Laplacian, the paper's choice (sections 4.2 and 4.3.1)."""
    return float(np.var(cv2.Laplacian(green(image), cv2.CV_32F)))


def vollath_f4(image: Image) -> float:
    """Vollath's F4: autocorrelation at one pixel less that at two, along x, per pixel."""
    plane = green(image)
    return float(np.mean(plane[:, :-2] * (plane[:, 1:-1] - plane[:, 2:])))


def normalised_variance(image: Image) -> float:
    """Variance over mean; 0 for a black image."""
    plane = green(image)
    mean = float(np.mean(plane))
    return float(np.var(plane)) / mean if mean > 0 else 0.0


MERITS: dict[str, Merit] = {
    "tenengrad": tenengrad,
    "brenner": brenner,
    "variance-of-laplacian": variance_of_laplacian,
    "vollath-f4": vollath_f4,
    "normalised-variance": normalised_variance,
}


def best_focus(z_um: NDArray[np.float64], merit: NDArray[np.float64]) -> float:
    """Position of the peak of a focus curve: the parabola through the best sample and its two neighbours.

    Args:
        z_um: (N,) positions in µm, strictly rising, evenly spaced or not.
        merit: (N,) scores.

    Returns:
        The peak in µm; the best sample itself where it is the first or the last.

    Raises:
        SettingsError: if the arrays are empty, differ in length, or z does not rise.
    """
    z, score = np.asarray(z_um, dtype=np.float64), np.asarray(merit, dtype=np.float64)
    if z.size == 0 or z.shape != score.shape:
        raise SettingsError(f"a focus curve needs as many positions as scores, got {z.size} and {score.size}")
    if np.any(np.diff(z) <= 0):
        raise SettingsError("the positions of a focus curve do not rise")
    best = int(np.argmax(score))
    if best in (0, z.size - 1):
        return float(z[best])
    left, right = z[best - 1] - z[best], z[best + 1] - z[best]
    rise_left, rise_right = score[best - 1] - score[best], score[best + 1] - score[best]
    curvature = rise_left * right - rise_right * left
    if curvature == 0:
        return float(z[best])
    return float(z[best] + 0.5 * (rise_left * right**2 - rise_right * left**2) / curvature)


def find_best_focus(
    plane: Callable[[float], Image], centre_um: float, reach_um: float, step_um: float, merit: Merit = tenengrad
) -> float | None:
    """Best focus of noise-free light, coarse to fine: the peak of the merit over planes `step_um` apart.

    Args:
        plane: gives the image (Y, X[, 3]) at a z in µm.
        centre_um: where the search starts, in µm.
        reach_um: planes farther from the centre than this are not looked at, in µm.
        step_um: distance of the planes that decide, in µm: a quarter of the depth of field, by definition.
        merit: figure of merit.

    Returns:
        Peak of the parabola through the three best planes in µm, or None where the merit still rises at the reach.
    """
    scores: dict[int, float] = {}

    def score(index: int) -> float:
        if index not in scores:
            scores[index] = merit(plane(centre_um + index * step_um))
        return scores[index]

    last = math.floor(reach_um / step_um)
    best = max(range(-last, last + 1, _COARSE_STEPS), key=score)
    while True:
        climbed = max((i for i in range(best - _COARSE_STEPS, best + _COARSE_STEPS + 1) if abs(i) <= last), key=score)
        if climbed == best:
            break
        best = climbed
    if abs(best) == last:
        return None
    indices = np.array([best - 1, best, best + 1])
    return best_focus(centre_um + indices * step_um, np.array([score(i) for i in indices]))
