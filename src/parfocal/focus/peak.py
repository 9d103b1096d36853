"""Where the sharpest plane lies by two or three images around it: the check of a kept frame.

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
from scipy.special import logsumexp

from parfocal.merit import green, tenengrad

CENTRE_PX = 448
_SCORE_NOISE = (
    0.012  # of sharpness between frames at one z: up to 0.009 where the centre shows noise only, else far less
)
_SAME_SCALE = 0.02
_BELIEF_SDS, _BELIEF_FALLS, _BELIEF_PLACES = 6.0, 1.3, 401
_TAIL, _ANYWHERE = 0.1, 0.003
_BENDS = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))  # Gauss–Hermite: standard deviations, weight
BEND_VARIES = 0.12
"""By which share the bend of a slide's fields varies: measured, 2 to 10 %, mixed specimens more."""


@dataclass(frozen=True)
class Peak:
    """The peak of a parabola.

    Attributes:
        z_um: where it is, in µm.
        error_um: the standard deviation that the scores' noise gives it, in µm.
        bend_per_um2: b of ln sharpness as it falls from there, −ln(1 + b·d²), above 0.
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
    reach_um2 = (float(np.ptp(z)) / 2) ** 2
    return Peak(min(max(peak_um, float(z.min())), float(z.max())), error_um, math.expm1(-bend * reach_um2) / reach_um2)


@dataclass(frozen=True)
class PeakBelief:
    """Where the peak may be.

    Attributes:
        z_um: (N,) places in µm.
        share: (N,) probability of each; they sum to 1.
        misfit: least χ² of the sharpness, of as many degrees of freedom as there are frames less two.
    """

    z_um: NDArray[np.float64]
    share: NDArray[np.float64]
    misfit: float

    @property
    def mean_um(self) -> float:
        """Mean in µm."""
        return float(self.share @ self.z_um)

    @property
    def sd_um(self) -> float:
        """Standard deviation in µm."""
        return math.sqrt(float(self.share @ (self.z_um - self.mean_um) ** 2))

    def farther_than(self, reach_um: float, z_um: float) -> float:
        """Probability that the peak is farther than `reach_um` from `z_um`."""
        return float(self.share @ (np.abs(self.z_um - z_um) > reach_um))


def peak_by_bend(
    z_um: Sequence[float],
    sharpness: Sequence[float],
    bend_per_um2: float,
    arrival_error_um: float,
    expected_um: float,
    expected_sd_um: float,
    exact: int = 0,
) -> PeakBelief:
    """Where ln sharpness −ln(1 + b·d²) peaks, b known from other fields of the slide.

    Args:
        z_um: positions of two or more frames, in µm.
        sharpness: `central_sharpness` there.
        bend_per_um2: b.
        arrival_error_um: standard deviation of each position in µm.
        expected_um: where the peak is expected, in µm.
        expected_sd_um: how well that is known; it has tails.
        exact: the frame whose position is taken for exact: what is asked is how far the peak is from that very frame,
            and where it truly stood is in its sharpness.
    """
    errors_um = np.full((len(z_um), 1), math.sqrt(2) * arrival_error_um)
    errors_um[exact] = 0.0
    expected_sd_um = math.hypot(expected_sd_um, arrival_error_um)
    reach_um, beyond_um = _BELIEF_SDS * expected_sd_um, _BELIEF_FALLS / math.sqrt(bend_per_um2)
    lowest_um = min(expected_um - reach_um, min(z_um) - beyond_um)
    highest_um = max(expected_um + reach_um, max(z_um) + beyond_um)
    places_um = np.linspace(lowest_um, highest_um, _BELIEF_PLACES)
    away_um = np.array(z_um)[:, None] - places_um
    scores = np.array(sharpness)
    told = [_likelihood(away_um, scores, bend_per_um2 * (1 + sds * BEND_VARIES), errors_um) for sds, _ in _BENDS]
    likelihood = logsumexp([log for log, _ in told], b=[[weight] for _, weight in _BENDS], axis=0)
    apart = (places_um - expected_um) / expected_sd_um
    prior = np.exp(-0.5 * apart**2) + _TAIL * np.exp(-0.5 * (apart / 3) ** 2) + _ANYWHERE
    share = prior * np.exp(likelihood - likelihood.max())
    return PeakBelief(places_um, share / share.sum(), min(float(misfit.min()) for _, misfit in told))


def _likelihood(
    away_um: NDArray[np.float64], sharpness: NDArray[np.float64], bend_per_um2: float, errors_um: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ln likelihood and χ² of ln sharpness (frames,), its height unknown, for peaks `away_um` (frames, places) away.

    `errors_um`: (frames, 1) standard deviations of the positions.
    """
    falls = np.log1p(bend_per_um2 * away_um**2)
    slopes = 2 * bend_per_um2 * away_um / (1 + bend_per_um2 * away_um**2)
    precision = 1 / (_SCORE_NOISE**2 + (slopes * errors_um) ** 2)
    heights = sharpness[:, None] + falls  # of the peak, as each frame has it
    height = np.sum(heights * precision, axis=0) / np.sum(precision, axis=0)
    misfit = np.sum((heights - height) ** 2 * precision, axis=0)
    spread = np.sum(np.log(precision), axis=0) - np.log(np.sum(precision, axis=0))
    return 0.5 * (spread - misfit), misfit
