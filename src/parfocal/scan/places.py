"""Where z-stacks are worth recording: places that show something, spread over an area."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from parfocal.devices.approach import GuardedZ
from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.devices.sideways import CompensatedXY
from parfocal.errors import InstrumentError
from parfocal.focus.predictor import flattened_sd
from parfocal.scan.plan import PlannedField

LOOKS_PER_STACK = 6
"""Fields that are looked at for each stack that is wanted, where the area holds as many."""

Place = tuple[float, float]
"""(x_um, y_um) of the stage."""


def survey(
    microscope: Microscope,
    xy: CompensatedXY,
    z: GuardedZ,
    plan: Sequence[PlannedField],
    *,
    z_um: float,
    stacks: int,
    empty_sd: float,
    view: Callable[[Frame], Frame],
    on_look: Callable[[int, int], None],
) -> list[Place]:
    """Look at fields of a plan, one exposure each, and say in which order to try them. The caller lights the lamp.

    The plan is divided into as many stretches as there are stacks; the richest field of each stretch comes first, then
    the second richest of each, and so on. Fields that are as empty as bare glass are left out.

    Args:
        microscope: its camera is used.
        xy: where fields are gone to.
        z: the guard over its z stage.
        plan: fields in the order of the visit, at least as many as stacks.
        z_um: the plane that they are looked at in; contrast tells little of focus, and the focus is not known yet.
        stacks: how many are wanted.
        empty_sd: standard deviation in grey levels below which a field is empty.
        view: the part of a frame that counts.
        on_look: called with how many fields are done, of how many.

    Raises:
        InstrumentError: if every field is empty, or a device fails.
    """
    looked_at = _spread(plan, LOOKS_PER_STACK * stacks)
    z.start_field(travel_budget_um=math.inf, time_budget_s=math.inf)
    z.approach_from_below(z_um)
    contrast = []
    for done, field in enumerate(looked_at, start=1):
        xy.move_to(field.x_um, field.y_um)
        contrast.append(flattened_sd(view(microscope.camera.snap())))
        on_look(done, len(looked_at))
    order = in_turn(contrast, stacks)
    places = [(looked_at[i].x_um, looked_at[i].y_um) for i in order if contrast[i] >= empty_sd]
    if not places:
        raise InstrumentError(
            f"nothing to focus on: the richest of {len(contrast)} fields varies by {max(contrast):.2f} grey levels, "
            f"less than the {empty_sd:g} of an empty one"
        )
    return places


def in_turn(contrast: Sequence[float], stretches: int) -> list[int]:
    """Indices of values: the highest of each stretch, highest first, then the second highest of each, and so on."""
    ranked: list[tuple[int, float, int]] = []
    for stretch in np.array_split(np.arange(len(contrast)), stretches):
        richest_first = sorted(stretch.tolist(), key=lambda index: -contrast[index])
        ranked += [(rank, -contrast[index], index) for rank, index in enumerate(richest_first)]
    return [index for _, _, index in sorted(ranked)]


def _spread(plan: Sequence[PlannedField], most: int) -> list[PlannedField]:
    """At most so many fields, evenly through the plan."""
    indices = np.linspace(0, len(plan) - 1, min(most, len(plan))).round().astype(int)
    return [plan[index] for index in indices.tolist()]
