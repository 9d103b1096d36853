"""Where the sharpest plane lies among three images around it: the check of a kept frame.

A network tells the direction from afar, but near the focus three figures of merit tell more. Best focus is defined by
Tenengrad over the field's centre, so this measures what is wanted itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.merit import green, tenengrad

CENTRE_PX = 448
_SCORE_NOISE = (
    0.012  # of sharpness between frames at one z: up to 0.009 where the centre shows noise only, else far less
)
_SAME_SCALE = 0.02


@dataclass(frozen=True)
class Peak:
    """The peak of a parabola.

    Attributes:
        z_um: where it is, in µm.
        error_um: the standard deviation that the scores' noise gives it, in µm.
        bend_per_um2: by how much ln sharpness falls at 1 µm from it, above 0.
    """

    z_um: float
    error_um: float
    bend_per_um2: float = 0.0


def central_sharpness(frame: NDArray[np.uint8], scale: float) -> float:
    """`log_sharpness` of the central 448² canonical pixels, or of as much of them as there is.

    Args:
        frame: uint8 (Y, X, 3).
        scale: size of its pixel over that of a canonical pixel.
    """
    side = round(CENTRE_PX / scale)
    rows, columns = (min(n, side) for n in frame.shape[:2])
    top, left = (frame.shape[0] - rows) // 2, (frame.shape[1] - columns) // 2
    centre = frame[top : top + rows, left : left + columns]
    if abs(scale - 1) > _SAME_SCALE:
        size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        centre = np.asarray(cv2.resize(centre, size, interpolation=method), dtype=np.uint8)
    return log_sharpness(centre)


def log_sharpness(view: NDArray[np.uint8]) -> float:
    """ln (Tenengrad / mean²) of a part of a frame, uint8 (Y, X, 3) or its green channel (Y, X).

    Over the mean's square, flicker of the lamp cancels: it alone would make 0.01 of noise.
    """
    return math.log(max(tenengrad(view), 1e-9)) - 2 * math.log(max(float(green(view).mean()), 1.0))


def find_peak(z_um: Sequence[float], sharpness: Sequence[float]) -> Peak | None:
    """Peak of the parabola through sharpness at three planes, no farther out than the outer two.

    Args:
        z_um: three different positions in µm, in any order.
        sharpness: `central_sharpness` there.

    Returns:
        The peak; None where the parabola opens upwards, which says nothing about a peak.
    """
    z, score = np.array(z_um), np.array(sharpness)
    others = np.array([[z[1], z[2]], [z[0], z[2]], [z[0], z[1]]])
    spans = np.prod(z[:, None] - others, axis=1)  # of Lagrange's interpolation
    middles = others.mean(axis=1)
    bend = float(np.sum(score / spans))
    if bend >= 0:
        return None
    peak_um = float(np.sum(score * middles / spans)) / bend
    error_um = _SCORE_NOISE * float(np.linalg.norm((middles - peak_um) / (spans * bend)))
    return Peak(min(max(peak_um, float(z.min())), float(z.max())), error_um, -bend)
