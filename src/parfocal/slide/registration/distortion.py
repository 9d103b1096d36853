"""Radial distortion of the lens, seen in how the shift of two neighbours changes along their seam.

A place at p (from the frame's middle, in px) really lies at p · (1 + k · |p|² / R²), with R half the frame's diagonal.
Two frames show the same place at different p, so their shift bends along the overlap by k times the difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.slide.registration.translation import Translation

_SURE = 5.0  # standard errors from which a distortion is believed
_VISIBLE_PX = 0.1  # at the frame's corner
_FEWEST_SEAMS = 4
_INVERSIONS = 6

Points = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Distortion:
    """What the seams say of the lens.

    Attributes:
        k: the coefficient.
        sd: its standard deviation.
        bend_px: root mean square by which shifts bend along their seams, in px.
        frame_shape: (Y, X) in px.
    """

    k: float
    sd: float
    bend_px: float
    frame_shape: tuple[int, int]

    @property
    def is_sure(self) -> bool:
        """Whether it is there, and large enough to matter."""
        corner_px = abs(self.k) * math.hypot(*self.frame_shape) / 2
        return abs(self.k) > _SURE * self.sd and corner_px > _VISIBLE_PX


def estimate_distortion(seams: Sequence[Translation], frame_shape: tuple[int, int]) -> Distortion:
    """Estimate the coefficient from accepted seams, by weighted least squares.

    Args:
        seams: with their local shifts.
        frame_shape: (Y, X) in px.
    """
    bends, effects, weights = [], [], []
    for seam in seams:
        local = seam.local
        if len(local) < 3:
            continue
        places, shifts, weight = local[:, :2], local[:, 2:4], local[:, 4]
        other = places - (seam.dx, seam.dy)
        effect = _outward(other, frame_shape) - _outward(places, frame_shape)
        bends.append(shifts - np.average(shifts, axis=0, weights=weight))
        effects.append(effect - np.average(effect, axis=0, weights=weight))
        weights.append(weight)
    if len(bends) < _FEWEST_SEAMS:
        return Distortion(0.0, math.inf, 0.0, frame_shape)
    bend, effect, weight = np.concatenate(bends), np.concatenate(effects), np.concatenate(weights)[:, None]
    strength = float((weight * effect**2).sum())
    k = float((weight * effect * bend).sum()) / strength
    left = weight * (bend - k * effect) ** 2
    freedom = max(1, left.size - 2 * len(bends) - 1)
    sd = math.sqrt(float(left.sum()) / freedom / strength)
    return Distortion(k, sd, math.sqrt(float((weight * bend**2).sum() / (2 * weight.sum()))), frame_shape)


def undistort(image: Image, k: float) -> Image:
    """An image as a lens without distortion would have made it.

    Args:
        image: uint8 (Y, X) or (Y, X, C).
        k: the coefficient; 0 changes nothing.

    Returns:
        The same shape; a border that the lens did not see repeats its last pixels.
    """
    if k == 0:
        return image
    map_x, map_y = _maps((image.shape[0], image.shape[1]), k)
    moved = cv2.remap(image, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _outward(places: Points, frame_shape: tuple[int, int]) -> Points:
    """By how much k = 1 would move places (x, y) of a frame, in px."""
    height, width = frame_shape
    out = places - ((width - 1) / 2, (height - 1) / 2)
    return np.asarray(out * ((out**2).sum(axis=1) / (math.hypot(height, width) / 2) ** 2)[:, None], np.float64)


@lru_cache(maxsize=2)
def _maps(shape: tuple[int, int], k: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each true place is found in the image, x and y, float32 (Y, X)."""
    middle_y, middle_x = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    y, x = np.arange(shape[0])[:, None] - middle_y, np.arange(shape[1])[None, :] - middle_x
    true_square = (y**2 + x**2) / (math.hypot(*shape) / 2) ** 2
    scale = np.ones(shape)
    for _ in range(_INVERSIONS):
        scale = 1 / (1 + k * true_square * scale**2)
    return (x * scale + middle_x).astype(np.float32), (y * scale + middle_y).astype(np.float32)
