"""Scan plans as `useq` plans, and back: what napari-micromanager and pymmcore-plus acquire."""

from __future__ import annotations

import numpy as np
import useq

from parfocal.errors import SettingsError
from parfocal.scan.plan import ScanPlan

_SAME_UM = 0.5


def to_useq(plan: ScanPlan, z_um: float | None = None, *, autofocus: bool = True) -> useq.MDASequence:
    """A plan as a sequence of positions in the order of the visit, each focused first.

    Args:
        plan: the fields.
        z_um: where the focus is expected, in µm; without, z stays where it is.
        autofocus: whether each position is focused (`parfocal.micromanager.autofocus.FocusingEngine`).
    """
    positions = tuple(
        useq.Position(x=field.x_um, y=field.y_um, z=z_um, name=f"{field.row}-{field.column}") for field in plan
    )
    steps = useq.AxesBasedAF(axes=("p",)) if autofocus else None
    return useq.MDASequence(stage_positions=positions, autofocus_plan=steps)


def from_useq(sequence: useq.MDASequence, frame_um: tuple[float, float]) -> ScanPlan:
    """The plan that visits a sequence's places, if they fill a rectangle evenly; the order becomes ours.

    Args:
        sequence: positions, or a grid plan around one.
        frame_um: (width, height) of a frame in µm, for a grid plan that leaves that to the camera, and the overlap.

    Raises:
        SettingsError: if the places do not fill a rectangle, or leave gaps between frames.
    """
    places = _places(sequence, frame_um)
    columns, rows = _levels([x for x, _ in places]), _levels([y for _, y in places])
    if not places or len(places) != len(columns) * len(rows):
        raise SettingsError(
            f"{len(places)} places of the plan do not fill a rectangle of {len(rows)} × {len(columns)} fields"
        )
    steps_um = [_step(levels, side_um) for levels, side_um in ((columns, frame_um[0]), (rows, frame_um[1]))]
    overlap = min(1 - step_um / side_um for step_um, side_um in zip(steps_um, frame_um, strict=True))
    centre_um = ((columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2)
    return ScanPlan(centre_um, len(rows), len(columns), (steps_um[0], steps_um[1]), overlap)


def _places(sequence: useq.MDASequence, frame_um: tuple[float, float]) -> list[tuple[float, float]]:
    """Distinct (x, y) in µm of all events."""
    grid = sequence.grid_plan
    if grid is not None and grid.fov_width is None:
        sized = grid.model_copy(update={"fov_width": frame_um[0], "fov_height": frame_um[1]})
        sequence = sequence.replace(grid_plan=sized)
    seen: dict[tuple[int, int], tuple[float, float]] = {}
    for event in sequence:
        if event.x_pos is not None and event.y_pos is not None:
            key = (round(event.x_pos / _SAME_UM), round(event.y_pos / _SAME_UM))
            seen.setdefault(key, (event.x_pos, event.y_pos))
    return list(seen.values())


def _levels(values_um: list[float]) -> list[float]:
    """Distinct values in rising order; those within half a µm count as one."""
    levels: list[float] = []
    for value_um in sorted(values_um):
        if not levels or value_um - levels[-1] > _SAME_UM:
            levels.append(value_um)
    return levels


def _step(levels_um: list[float], side_um: float) -> float:
    """Distance of neighbours in µm; a frame less a tenth where there is only one."""
    if len(levels_um) == 1:
        return 0.9 * side_um
    steps_um = np.diff(levels_um)
    if np.ptp(steps_um) > 2 * _SAME_UM:
        raise SettingsError(f"the plan's fields are {steps_um.min():.1f} to {steps_um.max():.1f} µm apart, not evenly")
    if steps_um.mean() >= side_um:
        raise SettingsError(f"the plan's fields are {steps_um.mean():.1f} µm apart, a frame has {side_um:.1f} µm")
    return float(steps_um.mean())
