"""By how much one frame lies beside another: phase correlation, checked in the overlap, refined below a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Plane = NDArray[np.float32]

_COARSE = 2  # the search runs on pixels twice as large: fast, and half the noise
_PEAKS = 10
_COARSE_MIN_PX = 8  # least overlap of a candidate, in coarse px
_HIGH_PASS_PX = 12.0  # structure larger than this may be shading, and does not count
_LOW_PASS = 0.2  # band of the phase correlation, in cycles per coarse px
_FINE_REACH_PX = 4
_POLISH_ITERATIONS = 6


@dataclass(frozen=True)
class Translation:
    """Position of frame b relative to frame a.

    Attributes:
        dx: x of b's corner minus x of a's, in px.
        dy: y likewise.
        quality: normalised correlation of the two in their overlap, -1 to 1.
    """

    dx: float
    dy: float
    quality: float


def measure_translation(
    grey_a: Grey, grey_b: Grey, expected_px: tuple[float, float], search_px: float, min_overlap_px: int = 16
) -> Translation | None:
    """Find where frame b lies relative to frame a.

    Cyclic phase correlation of the two strips that can overlap gives peaks, each of which stands for up to four
    shifts; the one with the best correlation in its true overlap wins, and is refined on all pixels of it.

    Args:
        grey_a: uint8 (Y, X).
        grey_b: uint8 (Y, X), the same shape.
        expected_px: (dx, dy) by the stage, in px.
        search_px: largest error of that, along either axis, in px.
        min_overlap_px: least overlap along either axis, in px.

    Returns:
        The translation, or None if no shift within reach leaves enough overlap.
    """
    coarse_a, coarse_b = _coarse(grey_a), _coarse(grey_b)
    reach = search_px / _COARSE
    expected = (expected_px[0] / _COARSE, expected_px[1] / _COARSE)
    least = max(_COARSE_MIN_PX, min_overlap_px // _COARSE)
    best: tuple[float, tuple[int, int]] | None = None
    for shift in _candidates(coarse_a, coarse_b, expected, reach):
        if max(abs(shift[0] - expected[0]), abs(shift[1] - expected[1])) > reach:
            continue
        if min(_overlap_size(coarse_a.shape, shift)) < least:
            continue
        score = _correlation(*_overlap(coarse_a, coarse_b, shift))
        if best is None or score > best[0]:
            best = (score, shift)
    if best is None:
        return None
    return _refine(grey_a, grey_b, (best[1][0] * _COARSE, best[1][1] * _COARSE))


def _coarse(grey: Grey) -> Plane:
    height, width = grey.shape
    size = (width // _COARSE, height // _COARSE)
    even = grey[: size[1] * _COARSE, : size[0] * _COARSE]
    return _high_pass(cv2.resize(even, size, interpolation=cv2.INTER_AREA).astype(np.float32))


def _high_pass(plane: Plane) -> Plane:
    return np.asarray(plane - cv2.GaussianBlur(plane, (0, 0), _HIGH_PASS_PX), np.float32)


def _candidates(a: Plane, b: Plane, expected: tuple[float, float], reach: float) -> list[tuple[int, int]]:
    """Whole-pixel shifts (dx, dy) of b against a that the peaks of the phase correlation can stand for."""
    x0, x1 = _strip(a.shape[1], expected[0], reach)
    y0, y1 = _strip(a.shape[0], expected[1], reach)
    u0, u1 = _strip(a.shape[1], -expected[0], reach)
    v0, v1 = _strip(a.shape[0], -expected[1], reach)
    strip_a, strip_b = a[y0:y1, x0:x1], b[v0:v1, u0:u1]  # of one shape, by symmetry
    if min(strip_a.shape) < _COARSE_MIN_PX:
        return []
    surface = _phase_correlation(strip_a, strip_b)
    found = [(round(expected[0]), round(expected[1]))]
    for _ in range(_PEAKS):
        y, x = np.unravel_index(int(surface.argmax()), surface.shape)
        surface[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = -np.inf
        found += [
            (int(x) - wrap_x + x0 - u0, int(y) - wrap_y + y0 - v0)
            for wrap_x in (0, surface.shape[1])
            for wrap_y in (0, surface.shape[0])
        ]
    return found


def _strip(length: int, shift: float, reach: float) -> tuple[int, int]:
    """The part of an axis that a frame lying at `shift`, give or take `reach`, can overlap."""
    return max(0, int(np.floor(shift - reach))), min(length, int(np.ceil(length + shift + reach)))


def _phase_correlation(a: Plane, b: Plane) -> Plane:
    """Cyclic phase correlation: peaks at the position in a of b's origin. Band-limited, so noise adds no peaks."""
    taper = _taper(a.shape[0])[:, None] * _taper(a.shape[1])[None, :]
    shape = (cv2.getOptimalDFTSize(a.shape[0]), cv2.getOptimalDFTSize(a.shape[1]))
    cross = np.fft.rfft2(a * taper, shape) * np.conj(np.fft.rfft2(b * taper, shape))
    fy, fx = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    band = np.exp(-((fy[:, None] ** 2 + fx[None, :] ** 2) / (2 * _LOW_PASS**2)))
    size = np.abs(cross)
    return np.asarray(np.fft.irfft2(band * cross / (size + 1e-3 * size.mean() + 1e-12), shape), np.float32)


def _taper(length: int) -> Plane:
    """1 inside, falling to 0 along a cosine over an eighth of the length at either end."""
    edge = np.minimum(np.arange(length) + 0.5, length - np.arange(length) - 0.5) / (length / 8)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.minimum(edge, 1)), np.float32)


def _overlap_size(shape: tuple[int, ...], shift: tuple[int, int]) -> tuple[int, int]:
    return shape[1] - abs(shift[0]), shape[0] - abs(shift[1])


def _overlap(a: NDArray[np.generic], b: NDArray[np.generic], shift: tuple[int, int]) -> tuple[Plane, Plane]:
    """What both frames show when b's corner lies at `shift` in a."""
    dx, dy = shift
    width, height = _overlap_size(a.shape, shift)
    part_a = a[max(0, dy) : max(0, dy) + height, max(0, dx) : max(0, dx) + width]
    part_b = b[max(0, -dy) : max(0, -dy) + height, max(0, -dx) : max(0, -dx) + width]
    return np.asarray(part_a, np.float32), np.asarray(part_b, np.float32)


def _correlation(a: Plane, b: Plane) -> float:
    a, b = a - a.mean(), b - b.mean()
    energy = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / energy if energy > 0 else 0.0


def _refine(grey_a: Grey, grey_b: Grey, shift: tuple[int, int]) -> Translation:
    """To the nearest pixel by correlation, then below it by least squares on the gradient."""
    for _ in range(2):  # twice, in case the best lies at the end of the first reach
        best = shift
        a, b = (_band(part) for part in _overlap(grey_a, grey_b, shift))
        reach = min(_FINE_REACH_PX, (min(a.shape) - 1) // 4)
        inner = b[reach : b.shape[0] - reach, reach : b.shape[1] - reach]
        scores = cv2.matchTemplate(a, inner, cv2.TM_CCOEFF_NORMED)
        y, x = np.unravel_index(int(scores.argmax()), scores.shape)
        shift = (shift[0] + int(x) - reach, shift[1] + int(y) - reach)
        if shift == best:
            break
    a, b = (_band(part) for part in _overlap(grey_a, grey_b, shift))
    (x_px, y_px), quality = _polish(a, b)
    return Translation(shift[0] + x_px, shift[1] + y_px, quality)


def _band(part: Plane) -> Plane:
    return _high_pass(np.asarray(cv2.GaussianBlur(part, (0, 0), 1.0), np.float32))


def _polish(a: Plane, b: Plane) -> tuple[tuple[float, float], float]:
    """Remaining shift of b against a, below a pixel, and the correlation after it is taken out.

    Gauss–Newton on the difference of the standardised pictures. b is resampled at 1/32 px, which is what OpenCV's
    warp resolves; the remainder is solved for, so nothing is lost by that.
    """
    edge = 3
    shift = np.zeros(2)
    quality = -1.0
    for _ in range(_POLISH_ITERATIONS):
        applied = np.round(shift * 32) / 32
        moved = cv2.warpAffine(
            b,
            np.array([[1, 0, applied[0]], [0, 1, applied[1]]]),
            b.shape[::-1],
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )
        left, right = _standardised(a[edge:-edge, edge:-edge]), _standardised(moved[edge:-edge, edge:-edge])
        quality = float((left * right).mean())
        gy, gx = np.gradient(0.5 * (left + right))
        error = left - right
        normal = np.array([[(gx * gx).sum(), (gx * gy).sum()], [(gx * gy).sum(), (gy * gy).sum()]])
        right_side = -np.array([(gx * error).sum(), (gy * error).sum()])
        step = np.linalg.lstsq(normal, right_side, rcond=1e-6)[0]
        updated = np.clip(applied + step, -1.5, 1.5)  # farther than the correlation's pixel is no refinement
        converged = np.abs(updated - shift).max() < 2e-3
        shift = updated
        if converged:
            break
    return (float(shift[0]), float(shift[1])), quality


def _standardised(plane: NDArray[Any]) -> Plane:
    deviation = float(plane.std())
    return np.asarray((plane - plane.mean()) / (deviation if deviation > 0 else 1.0), np.float32)
