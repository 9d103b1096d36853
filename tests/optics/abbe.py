"""Bright-field imaging the slow way, against which the fast path is tested: an Abbe sum over source points.

Written from the physics and not from `parfocal.optics`. Light is exp(i(kz − ωt)) and runs towards the objective (+z); a
higher index delays it, so an object is exp(−μ/2 + iφ) with φ > 0. At defocus d the specimen lies d above the focal
plane, and its light is followed over −d to get there.
"""

from __future__ import annotations

import math

import numpy as np

OVERSAMPLING = 2


def condenser_points(count: int) -> np.ndarray:
    """(count, 2) points that fill the unit disc evenly (Vogel's spiral): equal weights make an evenly lit condenser."""
    turn = np.arange(count) * math.pi * (3 - math.sqrt(5))
    radius = np.sqrt((np.arange(count) + 0.5) / count)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1)


def abbe_image(
    absorbance: np.ndarray,
    phase: np.ndarray,
    *,
    pixel_um: float,
    wavelength_um: float,
    na: float,
    condenser_ratio: float,
    defocus_um: float,
) -> np.ndarray:
    """Intensity on the camera's pixels of a thin periodic object; 1.0 is empty glass.

    Args:
        absorbance: μ (Y, X), natural logarithm, on pixels of half the camera's size.
        phase: φ (Y, X) in radians at this wavelength.
        pixel_um: the camera's pixel in µm.
    """
    # A far plane is smeared over a longer way, on which too few points leave ghosts of themselves.
    source_points = max(200, math.ceil(100 * abs(defocus_um)))
    fine_um = pixel_um / OVERSAMPLING
    spectrum = np.fft.fft2(np.exp(-absorbance / 2 + 1j * phase))
    fy, fx = (np.fft.fftfreq(n, fine_um) for n in absorbance.shape)
    intensity = np.zeros(absorbance.shape)
    for source_x, source_y in condenser_points(source_points) * condenser_ratio * na / wavelength_um:
        squared = (fx[None, :] + source_x) ** 2 + (fy[:, None] + source_y) ** 2
        axial = np.sqrt(np.maximum(wavelength_um**-2 - squared, 0))
        pupil = (squared <= (na / wavelength_um) ** 2) * np.exp(-2j * math.pi * defocus_um * axial)
        intensity += np.abs(np.fft.ifft2(spectrum * pupil)) ** 2
    return binned(intensity / source_points)


def binned(fine: np.ndarray) -> np.ndarray:
    """Mean over the fine samples that make a camera pixel."""
    rows, columns = (n // OVERSAMPLING for n in fine.shape)
    return fine.reshape(rows, OVERSAMPLING, columns, OVERSAMPLING).mean(axis=(1, 3))
