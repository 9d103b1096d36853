"""How fine a slide resolves, from the slide itself: what two exposures of the same place agree on.

Neighbours show their overlap twice, in different corners of the lens and with different noise. The correlation of the
two pictures at each spatial frequency (Fourier ring correlation) is near 1 where both show the specimen, and near 0
where there is nothing but noise. It ends where lens, focus, camera, compression or the specimen itself end.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.registration.seams import Progress, Registration, Seam

Array = NDArray[np.float64]

WAVELENGTH_UM = 0.53
"""Of the green channel, in which it is measured."""

AGREE = 1 / 7
"""Correlation down to which two pictures are said to agree."""

_MAX_SEAMS = 24
_PATCH_PX = 64
_RINGS = 24
_FEWEST_PATCHES = 8
_LEAST_SD = 4.0  # grey levels: below this a patch shows next to nothing


@dataclass(frozen=True)
class Resolution:
    """The finest detail that two exposures agree on.

    Attributes:
        finest_um: period in µm; None where there was too little to compare.
        limit_um: the finest period that lens and pixels can show: the larger of λ / (2 NA) and two pixels.
        by_pixel: whether the pixels are what limits `limit_um`.
        per_um: float64 (rings,), spatial frequencies in periods per µm.
        correlation: float64 (rings,), of the pictures at these.
        patches: pairs of patches that were compared.
    """

    finest_um: float | None
    limit_um: float
    by_pixel: bool
    per_um: Array
    correlation: Array
    patches: int


def measure_resolution(
    folder: FieldsFolder, registration: Registration, progress: Progress | None = None
) -> Resolution:
    """Compare overlaps of fields that are in focus.

    Args:
        folder: the scan.
        registration: of its fields.
        progress: told about each seam.

    Raises:
        FileError: if a frame cannot be read.
    """
    header = folder.header
    lens_um, pixels_um = WAVELENGTH_UM / (2 * header.na), 2 * header.pixel_size_um
    sums = np.zeros((3, _RINGS))
    patches = 0
    seams = _promising(folder, registration)
    for done, seam in enumerate(seams, 1):
        shift = registration.mosaic_xy_px[seam.b] - registration.mosaic_xy_px[seam.a]
        a, b = (folder.frame(folder.records[index])[..., 1].astype(np.float32) for index in (seam.a, seam.b))
        for patch_a, patch_b in _patches(a, b, shift):
            sums += _ring_sums(patch_a, patch_b)
            patches += 1
        if progress:
            progress("resolution", done, len(seams))
    correlation = sums[0] / np.sqrt(np.maximum(sums[1] * sums[2], 1e-12))
    per_um = (np.arange(_RINGS) + 0.5) / (2 * _RINGS) / header.pixel_size_um
    limit_um = max(lens_um, pixels_um)
    finest_um = _finest_um(per_um, correlation, limit_um) if patches >= _FEWEST_PATCHES else None
    return Resolution(finest_um, limit_um, pixels_um >= lens_um, per_um, correlation, patches)


def _promising(folder: FieldsFolder, registration: Registration) -> list[Seam]:
    """Accepted seams between focused fields, spread over the scan."""
    focused = [record.verdict == "focused" for record in folder.records]
    good = [seam for seam in registration.seams if seam.accepted and focused[seam.a] and focused[seam.b]]
    places = np.linspace(0, len(good) - 1, min(len(good), _MAX_SEAMS))
    return [good[i] for i in np.unique(places.round().astype(int))]


def _patches(a: NDArray[np.float32], b: NDArray[np.float32], shift: Array) -> list[tuple[Array, Array]]:
    """Patches of the overlap that show something, from both frames, b's moved onto a's by a fraction of a px."""
    height, width = a.shape
    whole = np.round(shift).astype(int)
    left, top = np.maximum(whole, 0)
    right, bottom = width + min(whole[0], 0), height + min(whole[1], 0)
    found = []
    for y in range(top, bottom - _PATCH_PX + 1, _PATCH_PX):
        for x in range(left, right - _PATCH_PX + 1, _PATCH_PX):
            patch_a = a[y : y + _PATCH_PX, x : x + _PATCH_PX]
            there = (slice(y - whole[1], y - whole[1] + _PATCH_PX), slice(x - whole[0], x - whole[0] + _PATCH_PX))
            patch_b = b[there]
            if min(patch_a.std(), patch_b.std()) >= _LEAST_SD:
                found.append((_spectrum(patch_a, np.zeros(2)), _spectrum(patch_b, shift - whole)))
    return found


def _spectrum(patch: NDArray[np.float32], fraction: Array) -> Array:
    """Spectrum of a patch, windowed; moved by a fraction of a px along x and y."""
    window = cv2.createHanningWindow((_PATCH_PX, _PATCH_PX), cv2.CV_32F)
    spectrum = np.fft.fft2((patch - patch.mean()) * window)
    frequency = np.fft.fftfreq(_PATCH_PX)
    phase = frequency[None, :] * fraction[0] + frequency[:, None] * fraction[1]
    return np.asarray(spectrum * np.exp(-2j * np.pi * phase))


def _ring_sums(a: Array, b: Array) -> Array:
    """(3, rings): cross power, and the power of each, summed over rings of spatial frequency up to Nyquist's."""
    frequency = np.fft.fftfreq(_PATCH_PX)
    ring = (np.hypot(frequency[None, :], frequency[:, None]) * 2 * _RINGS).astype(int).ravel()
    inside = ring < _RINGS
    parts = ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2)
    return np.stack([np.bincount(ring[inside], part.ravel()[inside], _RINGS) for part in parts])


def _finest_um(per_um: Array, correlation: Array, limit_um: float) -> float:
    """The period at which the correlation first falls below `AGREE`; the limit where it never does."""
    below = np.flatnonzero(correlation < AGREE)
    if not len(below):
        return limit_um
    first = int(below[0])
    if first == 0:
        return float(1 / per_um[0])
    share = (correlation[first - 1] - AGREE) / (correlation[first - 1] - correlation[first])
    crossing = per_um[first - 1] + share * (per_um[first] - per_um[first - 1])
    return max(limit_um, float(1 / crossing))
