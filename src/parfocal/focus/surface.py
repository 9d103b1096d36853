"""The one owner of where the focus is on this slide: pivots for new fields from those already in focus."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError

_FEWEST_FOR_PLANE = 4
_HUBER_UM = 0.7
_REWEIGHTINGS = 8
_SPREAD_FLOOR_UM = 0.3
_RIDGE = 0.05


@dataclass(frozen=True)
class FocusPoint:
    """A field in focus: stage x and y, z of its focus, spread of the prediction (None: unknown); all in µm."""

    x_um: float
    y_um: float
    z_um: float
    spread_um: float | None = None


class FocusSurface:
    """Focus over the slide, learnt from fields whose verdict is "focused".

    Args:
        initial_um: focus found by the first sweep, in µm: the pivot until a field is in focus.
        neighbours: how many of the nearest fields a pivot is taken from.
        largest_step_um: how far a pivot may lie from the focus of the nearest field, in µm.

    Raises:
        SettingsError: if a value is out of range.
    """

    def __init__(self, initial_um: float, neighbours: int = 8, largest_step_um: float = 5.0) -> None:
        if not math.isfinite(initial_um):
            raise SettingsError(f"initial focus {initial_um:g} µm is not a number")
        if neighbours < 1:
            raise SettingsError(f"neighbours {neighbours} is not 1 or more")
        if not largest_step_um >= 0:
            raise SettingsError(f"largest step {largest_step_um:g} µm is not 0 µm or more")
        self._initial_um = initial_um
        self._neighbours = neighbours
        self._largest_step_um = largest_step_um
        self._points: list[FocusPoint] = []

    @property
    def points(self) -> tuple[FocusPoint, ...]:
        """The fields in focus, in the order in which they were added."""
        return tuple(self._points)

    def add(self, x_um: float, y_um: float, z_um: float, spread_um: float | None = None) -> None:
        """Learn a field in focus. Fields that are empty, unsure or failed have nothing to tell and stay out.

        Args:
            x_um: stage x in µm.
            y_um: stage y in µm.
            z_um: focus in µm.
            spread_um: standard deviation of the patch predictions in µm; None where unknown.

        Raises:
            SettingsError: if a position is no number.
        """
        if not all(map(math.isfinite, (x_um, y_um, z_um))):
            raise SettingsError(f"focus {z_um:g} µm at ({x_um:g}, {y_um:g}) µm is not a point")
        self._points.append(FocusPoint(x_um, y_um, z_um, spread_um))

    def pivot_um(self, x_um: float, y_um: float) -> float:
        """Where the focus is expected at stage (x_um, y_um), in µm.

        From four fields on it is the value of a robust plane through the nearest ones; with fewer, the nearest field's
        focus. It never lies further than `largest_step_um` from the nearest field's focus, or from the median of the
        fields used if the nearest one is itself an outlier of the plane.
        """
        if not self._points:
            return self._initial_um
        near = heapq.nsmallest(
            self._neighbours, self._points, key=lambda point: math.hypot(point.x_um - x_um, point.y_um - y_um)
        )
        if len(near) < _FEWEST_FOR_PLANE:
            return near[0].z_um
        expected_um, is_inlier = _robust_plane(near, x_um, y_um)
        anchor_um = near[0].z_um if is_inlier[0] else float(np.median([point.z_um for point in near]))
        return float(np.clip(expected_um, anchor_um - self._largest_step_um, anchor_um + self._largest_step_um))


def _robust_plane(points: list[FocusPoint], x_um: float, y_um: float) -> tuple[float, NDArray[np.bool_]]:
    """Plane through the points by reweighted least squares: (its z at x_um, y_um in µm, (N,) which points follow it).

    A small ridge on the slopes keeps a direction in which the points do not spread level.
    """
    place = np.array([(point.x_um - x_um, point.y_um - y_um) for point in points])
    scale_um = max(float(np.abs(place).max()), 1.0)
    design = np.column_stack([np.ones(len(points)), place / scale_um])
    z_um = np.array([point.z_um for point in points])
    sd_um = np.array([_HUBER_UM if p.spread_um is None else max(p.spread_um, _SPREAD_FLOOR_UM) for p in points])
    trust = (sd_um.min() / sd_um) ** 2
    middle_um = float(np.median(z_um))
    ridge = np.diag([0.0, _RIDGE, _RIDGE])
    weight: NDArray[np.float64] = trust
    coefficients: NDArray[np.float64] = np.zeros(3)
    residual_um: NDArray[np.float64] = np.zeros(len(points))
    for _ in range(_REWEIGHTINGS):
        weighted = design * weight[:, None]
        coefficients = np.asarray(np.linalg.solve(design.T @ weighted + ridge, weighted.T @ (z_um - middle_um)))
        residual_um = np.asarray(np.abs(z_um - middle_um - design @ coefficients), dtype=np.float64)
        weight = trust * np.minimum(1.0, (_HUBER_UM / np.maximum(residual_um, 1e-9)) ** 2)
    return middle_um + float(coefficients[0]), residual_um <= 3 * _HUBER_UM
