"""By how much one frame lies beside another: phase correlation, checked in the overlap, refined below a pixel."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Plane = NDArray[np.float32]

_COARSE = 2  # the search runs on pixels twice as large: fast, and half the noise
_PEAKS = 10
_COARSE_MIN_PX = 8  # least overlap of a candidate, in coarse px
_SHADING = 4  # shading is taken from pixels so much larger
_HIGH_PASS_PX = 12.0  # structure larger than this may be shading, and does not count
_LOW_PASS = 0.2  # band of the phase correlation, in cycles per coarse px
_POLISH_ITERATIONS = 8
_CONVERGED_PX = 2e-3
_FLAT = 0.01  # standard deviation, in grey levels, of a picture that shows nothing
_FARTHEST_PX = 1.5  # of one refinement
_FINE_ROUNDS = 3
_CLIMB_PX, _CLIMBS = 4, 3
_EDGE_PX = 3
_SEGMENTS = 16  # along an overlap; the two neighbouring ones that agree best do not count for the score
# A local shift is looked for so far from the whole overlap's, and a sixth of a place's size in between.
_LOCAL_REACH_PX = (4, 24)
_PLACES = 8  # along an overlap, where the shift is looked at again
_FEWEST_PLACES = 4
_LOCAL_LEAST = 0.3  # correlation from which a local shift counts
_SCORE_PX = 1e4  # scores are those of an overlap of so many px


@dataclass(frozen=True)
class Translation:
    """Position of frame b relative to frame a.

    Attributes:
        dx: x of b's corner minus x of a's, in px.
        dy: y likewise.
        quality: normalised correlation of the two in their overlap, -1 to 1.
        score: how hard this would be to reach by chance: Fisher's transform of the correlation in what is left of the
            overlap when the eighth that agrees best is covered, scaled by the square root of the overlap's area. One
            cell that lies on another by chance is no evidence.
        local: (n, 5), places along the overlap: x and y in frame a, by how much the shift there differs from (dx, dy),
            and the weight of that; only where there is something to see.
    """

    dx: float
    dy: float
    quality: float
    score: float = 0.0
    local: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 5)), compare=False, repr=False)

    @property
    def turn_px(self) -> tuple[float, float]:
        """By how much a turn moves the overlap's ends off each other, in px, and the standard deviation of that."""
        if len(self.local) < _FEWEST_PLACES:
            return 0.0, math.inf
        along = np.ptp(self.local[:, :2], axis=0)
        axis = int(along.argmax())
        place = self.local[:, axis] - self.local[:, axis].mean()
        # the shift across the overlap's length, which distortion bends evenly, and a turn obliquely
        slope, covariance = np.polyfit(place, self.local[:, 3 - axis], 1, w=np.sqrt(self.local[:, 4]), cov="unscaled")
        errors = self.local[:, 3 - axis] - np.polyval(slope, place)
        variance = float((self.local[:, 4] * errors**2).sum()) / (len(place) - 2)
        half_px = float(along[axis]) / 2
        return abs(float(slope[0])) * half_px, half_px * math.sqrt(float(covariance[0, 0]) * variance)


@dataclass(frozen=True)
class View:
    """A frame made ready for comparison.

    Attributes:
        grey: uint8 (Y, X).
        coarse: float32 (Y // 2, X // 2), without its shading.
    """

    grey: Grey
    coarse: Plane

    @classmethod
    def of(cls, grey: Grey) -> View:
        """Make a frame, uint8 (Y, X), ready."""
        return cls(grey, coarse_plane(grey, _COARSE))


@dataclass(frozen=True)
class CoarseShift:
    """Position of plane b relative to plane a, in whole pixels of them.

    Attributes:
        dx: x of b's corner minus x of a's.
        dy: y likewise.
        correlation: of the two in their overlap, -1 to 1.
        evidence: that, times the square root of the overlap's pixels.
    """

    dx: int
    dy: int
    correlation: float
    evidence: float


def coarse_plane(grey: Grey, factor: int) -> Plane:
    """Means of blocks of `factor` × `factor` px of a frame, uint8 (Y, X), without its shading."""
    height, width = grey.shape
    size = (width // factor, height // factor)
    even = grey[: size[1] * factor, : size[0] * factor]
    plane = cv2.resize(even, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return _high_pass(plane, _HIGH_PASS_PX)


def measure_translation(
    grey_a: Grey, grey_b: Grey, expected_px: tuple[float, float], search_px: float, min_overlap_px: int = 16
) -> Translation | None:
    """Find where frame b lies relative to frame a.

    Args:
        grey_a: uint8 (Y, X).
        grey_b: uint8 (Y, X), the same shape.
        expected_px: (dx, dy) by the stage, in px.
        search_px: largest error of that, along either axis, in px.
        min_overlap_px: least overlap along either axis, in px.

    Returns:
        The translation, or None if no shift within reach leaves enough overlap.
    """
    return compare_views(View.of(grey_a), View.of(grey_b), expected_px, search_px, min_overlap_px)


def compare_views(
    view_a: View, view_b: View, expected_px: tuple[float, float], search_px: float, min_overlap_px: int = 16
) -> Translation | None:
    """The same for frames that are compared more than once.

    Cyclic phase correlation of the two strips that can overlap gives peaks, each of which stands for up to four
    shifts; the one that agrees best in its true overlap wins, and is refined on all pixels of it.
    """
    expected = (expected_px[0] / _COARSE, expected_px[1] / _COARSE)
    least = max(_COARSE_MIN_PX, min_overlap_px // _COARSE)
    found = _best_candidate(view_a.coarse, view_b.coarse, expected, search_px / _COARSE, least)
    return None if found is None else _refine(view_a, view_b, (found.dx, found.dy))


def find_shift(
    plane_a: Plane, plane_b: Plane, expected_px: tuple[float, float], search_px: float
) -> CoarseShift | None:
    """The same for planes of `coarse_plane`, to the whole pixel of them, which is quick.

    Returns:
        The shift with the most evidence, or None if no shift within reach leaves enough overlap.
    """
    found = _best_candidate(plane_a, plane_b, expected_px, search_px, _COARSE_MIN_PX)
    if found is None:
        return None
    shift = _climb(plane_a, plane_b, (found.dx, found.dy))
    if min(_overlap_size(plane_a.shape, shift)) < _COARSE_MIN_PX:
        return found
    climbed = _shift_at(plane_a, plane_b, shift)
    return climbed if climbed.evidence > found.evidence else found


def _best_candidate(
    plane_a: Plane, plane_b: Plane, expected_px: tuple[float, float], search_px: float, least: int
) -> CoarseShift | None:
    best: CoarseShift | None = None
    for shift in _candidates(plane_a, plane_b, expected_px, search_px):
        if max(abs(shift[0] - expected_px[0]), abs(shift[1] - expected_px[1])) > search_px:
            continue
        width, height = _overlap_size(plane_a.shape, shift)
        if min(width, height) < least:
            continue
        found = _shift_at(plane_a, plane_b, shift)
        if best is None or found.evidence > best.evidence:
            best = found
    return best


def _shift_at(plane_a: Plane, plane_b: Plane, shift: tuple[int, int]) -> CoarseShift:
    width, height = _overlap_size(plane_a.shape, shift)
    correlation = _correlation(*_overlap(plane_a, plane_b, shift))
    return CoarseShift(*shift, correlation, correlation * float(np.sqrt(width * height)))


def _high_pass(plane: Plane, sigma_px: float) -> Plane:
    """Without what is larger than `sigma_px`, which is taken from larger pixels: a wide blur is slow."""
    height, width = plane.shape
    small = (max(1, width // _SHADING), max(1, height // _SHADING))
    shading = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
    shading = cv2.GaussianBlur(shading, (0, 0), sigma_px / _SHADING)
    return np.asarray(plane - cv2.resize(shading, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


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
    shape = (scipy.fft.next_fast_len(a.shape[0], real=True), scipy.fft.next_fast_len(a.shape[1], real=True))
    cross = scipy.fft.rfft2(a * taper, shape) * np.conj(scipy.fft.rfft2(b * taper, shape))
    size = np.abs(cross)
    cross *= _band_limit(shape) / (size + 1e-3 * size.mean() + np.float32(1e-12))
    return np.asarray(scipy.fft.irfft2(cross, shape), np.float32)


@lru_cache(maxsize=8)
def _band_limit(shape: tuple[int, int]) -> Plane:
    fy, fx = scipy.fft.fftfreq(shape[0]), scipy.fft.rfftfreq(shape[1])
    return np.asarray(np.exp(-((fy[:, None] ** 2 + fx[None, :] ** 2) / (2 * _LOW_PASS**2))), np.float32)


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
    (a_mean,), (a_deviation,) = (value[0] for value in cv2.meanStdDev(a))
    (b_mean,), (b_deviation,) = (value[0] for value in cv2.meanStdDev(b))
    both = cv2.multiply(a, b)
    scale = float(a_deviation * b_deviation)
    return float(cv2.mean(both)[0] - a_mean * b_mean) / scale if scale > 0 else 0.0


def _refine(view_a: View, view_b: View, coarse_shift: tuple[int, int]) -> Translation:
    """Below a pixel by least squares on the gradient, on the coarse pixels first."""
    coarse_shift = _climb(view_a.coarse, view_b.coarse, coarse_shift)
    coarse = _overlap(view_a.coarse, view_b.coarse, coarse_shift)
    if min(coarse[0].shape) < _COARSE_MIN_PX:  # climbed out of the overlap: chance, which the fine pixels judge
        x_px = y_px = 0.0
    else:
        (x_px, y_px), _, _ = _polish(*coarse)
    shift = (round((coarse_shift[0] + x_px) * _COARSE), round((coarse_shift[1] + y_px) * _COARSE))
    height, width = view_a.grey.shape
    for _ in range(_FINE_ROUNDS):
        shift = (int(np.clip(shift[0], 16 - width, width - 16)), int(np.clip(shift[1], 16 - height, height - 16)))
        a, b = (_band(part) for part in _overlap(view_a.grey, view_b.grey, shift))
        (x_px, y_px), left, right = _polish(a, b)
        found = max(abs(x_px), abs(y_px)) < _FARTHEST_PX
        if found:
            break
        shift = (shift[0] + round(x_px), shift[1] + round(y_px))
    if not found:  # the best lies farther away than anything that was looked at: no shift is known to the pixel
        return Translation(float(shift[0]), float(shift[1]), _quality(left, right))
    corner = (max(0, shift[0]) + _EDGE_PX, max(0, shift[1]) + _EDGE_PX)
    return Translation(
        shift[0] + x_px, shift[1] + y_px, _quality(left, right), _score(left, right), _local(left, right, corner)
    )


def _climb(a: Plane, b: Plane, shift: tuple[int, int]) -> tuple[int, int]:
    """From the neighbourhood of the best shift to it, in whole px."""
    for _ in range(_CLIMBS):
        part_a, part_b = _overlap(a, b, shift)
        reach = min(_CLIMB_PX, (min(part_a.shape) - 1) // 4)
        inner = np.ascontiguousarray(part_b[reach : part_b.shape[0] - reach, reach : part_b.shape[1] - reach])
        _, _, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(part_a, inner, cv2.TM_CCOEFF_NORMED))
        shift = (shift[0] + x - reach, shift[1] + y - reach)
        if 0 < x < 2 * reach and 0 < y < 2 * reach:
            break
    return shift


def _band(part: Plane) -> Plane:
    return _high_pass(np.asarray(cv2.GaussianBlur(part, (0, 0), 1.0), np.float32), _HIGH_PASS_PX)


def _polish(a: Plane, b: Plane) -> tuple[tuple[float, float], Plane, Plane]:
    """Remaining shift of b against a, below a pixel, and the two standardised once it is taken out.

    Gauss–Newton on the difference of the standardised pictures. b is resampled at 1/32 px, which is what OpenCV's
    warp resolves; the remainder is solved for, so nothing is lost by that.
    """
    edge = _EDGE_PX
    shift = np.zeros(2)
    left = _standardised(a[edge:-edge, edge:-edge])
    right = left
    for _ in range(_POLISH_ITERATIONS):
        applied = np.round(shift * 32) / 32
        move = np.array([[1, 0, applied[0]], [0, 1, applied[1]]])
        moved: Plane = np.asarray(
            cv2.warpAffine(b, move, b.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), np.float32
        )
        right = _standardised(moved[edge:-edge, edge:-edge])
        middle, error = left + right, left - right
        gx, gy = _slope(middle, 1, 0), _slope(middle, 0, 1)
        xx, xy, yy = _dot(gx, gx), _dot(gx, gy), _dot(gy, gy)
        normal = np.array([[xx, xy], [xy, yy]])
        step = np.linalg.lstsq(normal, -np.array([_dot(gx, error), _dot(gy, error)]), rcond=1e-6)[0]
        updated = np.clip(
            applied + step, -_FARTHEST_PX, _FARTHEST_PX
        )  # farther than the pixel that was found is no refinement
        converged = np.abs(updated - shift).max() < _CONVERGED_PX
        shift = updated
        if converged:
            break
    return (float(shift[0]), float(shift[1])), left, right


def _standardised(plane: Plane) -> Plane:
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(plane))
    scale = 1.0 / deviation if deviation > _FLAT else 0.0  # two flat pictures agree in nothing but rounding
    return np.asarray((plane - np.float32(mean)) * np.float32(scale), np.float32)


def _slope(plane: Plane, x: int, y: int) -> Plane:
    """Derivative along x or y, of the mean where the sum of two is given."""
    return np.asarray(cv2.Sobel(plane, cv2.CV_32F, x, y, ksize=1, scale=0.25), np.float32)


def _dot(a: Plane, b: Plane) -> float:
    return float(np.dot(a.ravel(), b.ravel()))


def _quality(left: Plane, right: Plane) -> float:
    return _dot(left, right) / left.size


def _score(left: Plane, right: Plane) -> float:
    if left.shape[0] > left.shape[1]:
        left, right = left.T, right.T
    sums = np.stack([(one * other).sum(axis=0) for one, other in ((left, right), (left, left), (right, right))])
    edges = np.linspace(0, sums.shape[1], _SEGMENTS + 1).astype(int)[:-1]
    parts = np.add.reduceat(sums, edges, axis=1)  # (3, segments)
    best = int((parts[0, :-1] + parts[0, 1:]).argmax())
    product, left_energy, right_energy = parts.sum(axis=1) - parts[:, best] - parts[:, best + 1]
    energy = float(np.sqrt(left_energy * right_energy))
    correlation = float(product) / energy if energy > 0 else 0.0
    return float(np.arctanh(np.clip(correlation, -0.9999, 0.9999)) * np.sqrt(left.size / _SCORE_PX))


def _local(left: Plane, right: Plane, corner: tuple[int, int]) -> NDArray[np.float64]:
    """Local shifts along an overlap that begins at `corner` (x, y) of frame a: see `Translation.local`."""
    upright = left.shape[0] > left.shape[1]
    length = max(left.shape)
    reach = int(np.clip(min(*left.shape, length // _PLACES) // 6, *_LOCAL_REACH_PX))
    rows = []
    for first, last in itertools.pairwise(np.linspace(0, length, _PLACES + 1).astype(int).tolist()):
        part = slice(first, last)
        one, other = (plane[part] if upright else plane[:, part] for plane in (left, right))
        if min(one.shape) < 4 * reach or min(float(one.std()), float(other.std())) < _FLAT:
            continue
        inner = np.ascontiguousarray(other[reach:-reach, reach:-reach])
        scores = cv2.matchTemplate(np.ascontiguousarray(one), inner, cv2.TM_CCOEFF_NORMED)
        _, best, _, (x, y) = cv2.minMaxLoc(scores)
        if not _LOCAL_LEAST < best < 1.0001 or not (0 < x < 2 * reach and 0 < y < 2 * reach):
            continue
        middle = (first + last - 1) / 2
        across = (min(left.shape) - 1) / 2
        place_x, place_y = (across, middle) if upright else (middle, across)
        shift_x = x - reach + _vertex(scores[y, x - 1 : x + 2])
        shift_y = y - reach + _vertex(scores[y - 1 : y + 2, x])
        weight = min(best, 0.999) ** 2 / (1 - min(best, 0.999) ** 2)
        rows.append((corner[0] + place_x, corner[1] + place_y, shift_x, shift_y, weight))
    return np.array(rows, np.float64).reshape(-1, 5)


def _vertex(three: NDArray[Any]) -> float:
    """Place of the top of a parabola through three values, from the middle one."""
    before, top, after = (float(value) for value in three)
    bend = before - 2 * top + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
