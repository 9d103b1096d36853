"""Which fields a scan visits, and in which order. A plan is a value; nothing moves here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from parfocal.errors import SettingsError

MIN_SHARED_PX = 64
"""Neighbours share at least this much at three standard deviations of the stage's error."""

_MIN_OVERLAP = 0.1
_MAX_OVERLAP = 0.6


@dataclass(frozen=True)
class PlannedField:
    """One field to visit: its number in the order of the visit, its place in the grid, its centre in µm."""

    index: int
    row: int
    column: int
    x_um: float
    y_um: float


@dataclass(frozen=True)
class ScanPlan:
    """A serpentine over a rectangle.

    Attributes:
        centre_um: (x, y) of the rectangle's centre in µm.
        rows: number of rows.
        columns: number of columns.
        step_um: (x, y) distance of neighbours in µm.
        overlap: smaller of the two overlaps, as a fraction of the frame's side.
    """

    centre_um: tuple[float, float]
    rows: int
    columns: int
    step_um: tuple[float, float]
    overlap: float

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ScanPlan:
        """What `dataclasses.asdict` made of a plan. Raises KeyError, TypeError or ValueError for other values."""
        (x_um, y_um), (step_x, step_y) = values["centre_um"], values["step_um"]
        plan = cls(
            (float(x_um), float(y_um)),
            int(values["rows"]),
            int(values["columns"]),
            (float(step_x), float(step_y)),
            float(values["overlap"]),
        )
        if min(plan.rows, plan.columns) < 1 or not all(map(math.isfinite, (*plan.centre_um, *plan.step_um))):
            raise ValueError(f"{plan} is no plan")
        return plan

    def __iter__(self) -> Iterator[PlannedField]:
        """The fields in the order of the visit: even rows towards +x, odd rows back."""
        left_um = self.centre_um[0] - (self.columns - 1) / 2 * self.step_um[0]
        top_um = self.centre_um[1] - (self.rows - 1) / 2 * self.step_um[1]
        for index in range(self.rows * self.columns):
            row, place = divmod(index, self.columns)
            column = place if row % 2 == 0 else self.columns - 1 - place
            yield PlannedField(index, row, column, left_um + column * self.step_um[0], top_um + row * self.step_um[1])

    def __len__(self) -> int:
        return self.rows * self.columns


def plan_scan(
    area_mm: tuple[float, float],
    frame_shape: tuple[int, int],
    pixel_size_um: float,
    stage_error_um: float,
    limits_um: tuple[tuple[float, float], tuple[float, float]],
    centre_um: tuple[float, float] = (0.0, 0.0),
) -> ScanPlan:
    """Cover a rectangle with overlapping fields.

    Args:
        area_mm: (width, height) of the rectangle in mm.
        frame_shape: (Y, X) in pixels.
        pixel_size_um: size of a pixel in µm.
        stage_error_um: standard deviation of the distance of two neighbours along an axis, after calibration, in µm.
        limits_um: ((x_min, x_max), (y_min, y_max)) of the stage in µm.
        centre_um: (x, y) of the rectangle's centre in µm.

    Raises:
        SettingsError: if the area is not positive, the stage too inaccurate for the frame, or the region outside it.
    """
    for name, side_mm in zip(("width", "height"), area_mm, strict=True):
        if not 0 < side_mm < math.inf:
            raise SettingsError(f"the area's {name} of {side_mm:g} mm is not above 0 mm")
    shared_um = MIN_SHARED_PX * pixel_size_um + 3 * stage_error_um
    counts, steps_um, overlaps = [], [], []
    for side_mm, pixels in zip(area_mm, (frame_shape[1], frame_shape[0]), strict=True):
        frame_um = pixels * pixel_size_um
        overlap = max(_MIN_OVERLAP, shared_um / frame_um)
        if overlap > _MAX_OVERLAP:
            raise SettingsError(
                f"a stage error of {stage_error_um:g} µm needs {shared_um:.0f} µm of overlap, "
                f"more than {_MAX_OVERLAP:.0%} of a frame of {frame_um:.0f} µm"
            )
        steps_um.append(frame_um * (1 - overlap))
        counts.append(1 + max(0, math.ceil((side_mm * 1000 - frame_um) / steps_um[-1] - 1e-9)))
        overlaps.append(overlap)
    plan = ScanPlan(centre_um, counts[1], counts[0], (steps_um[0], steps_um[1]), min(overlaps))
    _check_region(plan, limits_um)
    return plan


def _check_region(plan: ScanPlan, limits_um: tuple[tuple[float, float], tuple[float, float]]) -> None:
    for axis, centre_um, count, step_um, (lowest_um, highest_um) in zip(
        "xy", plan.centre_um, (plan.columns, plan.rows), plan.step_um, limits_um, strict=True
    ):
        reach_um = (count - 1) / 2 * step_um
        if centre_um - reach_um < lowest_um or centre_um + reach_um > highest_um:
            raise SettingsError(
                f"the region needs {axis} from {centre_um - reach_um:.0f} to {centre_um + reach_um:.0f} µm, "
                f"outside the stage's {lowest_um:.0f} … {highest_um:.0f} µm"
            )
