"""A pair in bands of spatial frequency: what defocus does to an image, and little of what the specimen is.

Defocus multiplies the spectrum of a weak specimen's logarithmic image by a transfer function of frequency and z alone
(`optics.transfer`). In the ratio of the two images' power, and in the sign with which they agree, the specimen cancels,
band by band; three colours and many bands leave z overdetermined (docs/decisions/0008).
"""

from __future__ import annotations

import cv2
import numpy as np
import scipy.fft
import scipy.sparse
from numpy.typing import NDArray

from parfocal.errors import SettingsError

PATCH_PX = 224
"""Side of a patch in canonical pixels."""

EDGES_PER_PX = np.concatenate([[1 / PATCH_PX], np.geomspace(0.012, 0.5, 26), [0.72]])
"""Edges of the bands in cycles per canonical pixel: 25 bands in equal ratios, one below and the corners above them."""

BANDS = EDGES_PER_PX.size - 1
ROWS = 16
"""Ratio of power, agreement and power in red, green, blue; agreement of the colours in each image; Δ."""

COLOUR_PAIRS = ((0, 1), (1, 2), (0, 2))
LEAST_POWER = 1e-7
"""Added to every power, far below the noise of any camera."""

_hann = np.hanning(PATCH_PX + 2)[1:-1]
WINDOW: NDArray[np.float32] = (np.outer(_hann, _hann) / np.mean(_hann**2)).astype(np.float32)
"""Hann's, with a mean square of 1."""

FREQUENCY_Y = np.fft.fftfreq(PATCH_PX)[:, None].astype(np.float32)
FREQUENCY_X = np.fft.rfftfreq(PATCH_PX)[None, :].astype(np.float32)
FREQUENCY = np.hypot(FREQUENCY_Y, FREQUENCY_X)
"""(Y, X/2+1) of a spectrum, in cycles per pixel."""

MULTIPLICITY = np.full(FREQUENCY.shape, 2.0, dtype=np.float32)
MULTIPLICITY[:, [0, -1]] = 1
"""How often a real image's spectrum holds each frequency: half of the plane stands for all of it."""

_LOGARITHM = np.log(np.arange(256, dtype=np.float32) + 1)


def bands(first: NDArray[np.uint8], second: NDArray[np.uint8], delta_u: float) -> NDArray[np.float32]:
    """What a pair shows in each band of spatial frequency.

    Args:
        first: I1, uint8 (224, 224, 3) at the canonical scale.
        second: I2, of the same shape.
        delta_u: distance of the two in units of u.

    Returns:
        float32 (16, 27). Rows 0–2: logarithm of the ratio of power, I2 over I1, in red, green, blue. 3–5: agreement of
        the two, −1 … 1, a shift of the picture taken out. 6–8: logarithm of the mean power. 9–11 and 12–14: agreement
        of red and green, green and blue, red and blue in I1 and in I2. 15: `delta_u`.

    Raises:
        SettingsError: if the patches are not of 224 × 224 px.
    """
    if not first.shape == second.shape == (PATCH_PX, PATCH_PX, 3):
        raise SettingsError(f"bands are of patches of {PATCH_PX} × {PATCH_PX} px, got {first.shape} and {second.shape}")
    spectra = np.stack([spectrum(first), spectrum(second)])
    return features_of(band_means(products(spectra)), delta_u)


def spectrum(image: NDArray[np.uint8]) -> NDArray[np.complex64]:
    """Spectrum of the logarithm of an image uint8 (224, 224, 3), windowed: complex64 (3, 224, 113)."""
    layers = np.stack([cv2.LUT(channel, _LOGARITHM) for channel in cv2.split(image)])
    for layer in layers:
        layer -= np.float32(cv2.mean(layer)[0])
    return np.asarray(scipy.fft.rfft2(layers * WINDOW, overwrite_x=True) * np.float32(1 / PATCH_PX), dtype=np.complex64)


def products(spectra: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Power and cross power of a pair's spectra (2, 3, Y, X/2+1): float32 (5, 3, Y, X/2+1).

    Power of I1 and of I2 in each colour, both images in each colour, the colour pairs of I1 and of I2.
    """
    first, second = spectra
    both = second * np.conj(first)
    dy, dx = shift_px(both)
    turn = np.exp(2j * np.pi * FREQUENCY_Y * dy) * np.exp(2j * np.pi * FREQUENCY_X * dx)
    power = spectra.real**2 + spectra.imag**2
    colours = [[(image[a] * np.conj(image[b])).real for a, b in COLOUR_PAIRS] for image in spectra]
    return np.asarray([*power, (both * turn.astype(np.complex64)).real, *colours], dtype=np.float32)


def shift_px(both: NDArray[np.complex64]) -> tuple[float, float]:
    """How far (y, x) I2 is moved against I1, in pixels: the phase of their cross spectrum (3, Y, X/2+1).

    The spectrum is squared first, so that a reversed contrast does not count; shifts of more than a pixel do not come
    out right.
    """
    square = both[:, _CLEAR] ** 2
    weight = np.sqrt(np.abs(square)) * MULTIPLICITY[_CLEAR]
    total, turned = weight.sum(axis=0), (weight * np.angle(square) / 2).sum(axis=0)
    dy, dx = np.linalg.solve((_WAYS * total) @ _WAYS.T + 1e-9 * np.eye(2), -_WAYS @ turned)
    return float(dy), float(dx)


def band_means(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of maps (…, Y, X/2+1) over each band: (…, 27)."""
    flat = np.ascontiguousarray(maps.reshape(-1, FREQUENCY.size).T)
    return np.asarray((_MEANS @ flat).T.reshape(*maps.shape[:-2], BANDS), dtype=np.float32)


def features_of(means: NDArray[np.float32], delta_u: float) -> NDArray[np.float32]:
    """The rows that `bands` returns, of band means (5, 3, 27) of what `products` lists."""
    power = np.maximum(means[:2], 0) + np.float32(LEAST_POWER)
    rows = [
        np.log(power[1] / power[0]),
        means[2] / np.sqrt(power[0] * power[1]),
        np.log((power[0] + power[1]) / 2),
    ]
    for image, colours in zip(power, means[3:], strict=True):
        rows.append(
            np.stack([mean / np.sqrt(image[a] * image[b]) for mean, (a, b) in zip(colours, COLOUR_PAIRS, strict=True)])
        )
    return np.concatenate([*rows, np.full((1, BANDS), delta_u)]).astype(np.float32)


def _averages() -> scipy.sparse.csr_matrix:
    """(27, Y·(X/2+1)) weights that average a map over each band."""
    band = np.digitize(FREQUENCY, EDGES_PER_PX).ravel() - 1
    inside = np.flatnonzero((band >= 0) & (band < BANDS))
    weight, place = MULTIPLICITY.ravel()[inside], band[inside]
    share = weight / np.bincount(place, weight, BANDS)[place]
    return scipy.sparse.csr_matrix((share.astype(np.float32), (place, inside)), shape=(BANDS, FREQUENCY.size))


_MEANS = _averages()
_CLEAR = (FREQUENCY > 0.02) & (FREQUENCY < 0.25)
_WAYS = 2 * np.pi * np.stack([np.broadcast_to(f, FREQUENCY.shape)[_CLEAR] for f in (FREQUENCY_Y, FREQUENCY_X)])
