"""How stage and camera belong together: from image shifts to pixel size and rotation. Nothing moves here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import InstrumentError, SettingsError

_FEWEST_STOPS = 3
_HUBER = 1.345
_HUBER_SHARE = 0.8214  # what Huber's weights leave of the variance of a normal error: 2 Φ(1.345) − 1
_ITERATIONS = 30
_NORMAL_MEDIAN = 0.6745  # of |x| for a standard normal x


@dataclass(frozen=True)
class Stop:
    """A commanded position, and where the picture that was taken there lies.

    Attributes:
        stage_um: commanded (x, y) in µm.
        picture_px: (x, y) of the frame's corner relative to its run's first frame, in px.
    """

    stage_um: tuple[float, float]
    picture_px: tuple[float, float]


Run = Sequence[Stop]
"""Stops whose pictures are linked to one another. Where no link was found a new run begins."""


@dataclass(frozen=True)
class StageMap:
    """The linear map from stage to picture, picture_px = matrix · stage_um + a constant.

    Attributes:
        matrix: ((xx, xy), (yx, yy)) in px/µm.
        error: relative standard deviation of the pixel size.
        stage_error_um: standard deviation of a stop's distance from the map, in µm: what the stage does not repeat.
        stops: number of stops that it rests on.
    """

    matrix: tuple[tuple[float, float], tuple[float, float]]
    error: float
    stage_error_um: float
    stops: int

    @property
    def pixel_um(self) -> tuple[float, float]:
        """Size of a pixel along stage x and along stage y, in µm of commanded motion."""
        (xx, xy), (yx, yy) = self.matrix
        return 1 / math.hypot(xx, yx), 1 / math.hypot(xy, yy)

    @property
    def pixel_size_um(self) -> float:
        """Geometric mean of the two in µm."""
        return math.sqrt(self.pixel_um[0] * self.pixel_um[1])

    @property
    def rotation_deg(self) -> float:
        """Angle from the stage's axes to the picture's in degrees, the mean of both axes."""
        (xx, xy), (yx, yy) = self.matrix
        return math.degrees(math.atan2(yx - xy, xx + yy))

    @property
    def shear_deg(self) -> float:
        """By how much the angle between the stage's axes differs from 90°, as the camera sees it, in degrees."""
        (xx, xy), (yx, yy) = self.matrix
        return math.degrees(math.atan2(yy, xy) - math.atan2(yx, xx)) - 90

    def to_um(self, picture_px: tuple[float, float]) -> tuple[float, float]:
        """A shift of the picture in px as one of the stage in µm."""
        x_um, y_um = np.linalg.solve(np.array(self.matrix), np.array(picture_px))
        return float(x_um), float(y_um)


def fit_stage_map(runs: Sequence[Run]) -> StageMap:
    """Fit the map to all runs at once by robust least squares (Huber's weights); each run has its own origin.

    The error model is the stage's: every stop is off by a few µm that do not repeat, against which the error of a
    measured image shift is nothing. So stops far apart tell most, see `stops_needed`.

    Args:
        runs: stops along both axes; runs of fewer than three stops are left out.

    Raises:
        InstrumentError: if the stops do not span both axes.
    """
    kept = [run for run in runs if len(run) >= _FEWEST_STOPS]
    stage_um = np.array([stop.stage_um for run in kept for stop in run]).reshape(-1, 2)
    picture_px = np.array([stop.picture_px for run in kept for stop in run]).reshape(-1, 2)
    origins = np.repeat(np.eye(len(kept)), [len(run) for run in kept], axis=0)
    design = np.hstack([stage_um, origins])
    if not len(kept) or np.linalg.matrix_rank(_centred(stage_um, origins)) < 2:
        raise InstrumentError("too few pictures could be linked along both axes: is there specimen all around?")
    weights = np.ones(len(design))
    solution: NDArray[Any] = np.zeros((design.shape[1], 2))
    for _ in range(_ITERATIONS):
        root = np.sqrt(weights)[:, None]
        solution = np.linalg.lstsq(root * design, root * picture_px, rcond=None)[0]
        off_px = np.linalg.norm(picture_px - design @ solution, axis=1)
        limit_px = _HUBER * max(float(np.median(off_px)) / _NORMAL_MEDIAN, 1e-6)
        weights = np.minimum(1.0, limit_px / np.maximum(off_px, 1e-12))
    matrix = solution[:2].T
    return _with_errors(matrix, design, off_px, weights)


def _centred(stage_um: NDArray[Any], origins: NDArray[Any]) -> NDArray[Any]:
    """Stage positions less the mean of their run."""
    return np.asarray(stage_um - origins @ (origins.T @ stage_um / np.maximum(origins.sum(axis=0), 1)[:, None]))


def _with_errors(matrix: NDArray[Any], design: NDArray[Any], off_px: NDArray[Any], weights: NDArray[Any]) -> StageMap:
    freedom = max(len(design) - design.shape[1], 1)
    variance_px = float(np.sum(weights * off_px**2)) / (freedom * _HUBER_SHARE)
    covariance = np.linalg.pinv(design.T @ (weights[:, None] * design))
    scale = math.sqrt(abs(float(np.linalg.det(matrix))))
    error = math.sqrt(variance_px * float(covariance[0, 0] + covariance[1, 1])) / (2 * scale)
    (xx, xy), (yx, yy) = matrix.tolist()
    return StageMap(((xx, xy), (yx, yy)), error, math.sqrt(variance_px) / scale, len(design))


def stops_needed(stage_error_um: float, length_um: float, accuracy: float, sigmas: float = 3.0) -> int:
    """How many stops along an axis fix its pixel size to `accuracy`.

    N stops spread evenly over a length L fix a slope to σ √(12 / N) / L.

    Args:
        stage_error_um: σ, what the stage does not repeat, in µm.
        length_um: L in µm.
        accuracy: relative.
        sigmas: how many standard deviations that is to be.

    Raises:
        SettingsError: if a value is not above 0.
    """
    if min(stage_error_um, length_um, accuracy, sigmas) <= 0:
        raise SettingsError("stage error, length, accuracy and standard deviations are all above 0")
    return max(_FEWEST_STOPS, math.ceil(12 * (sigmas * stage_error_um / (accuracy * length_um)) ** 2))
