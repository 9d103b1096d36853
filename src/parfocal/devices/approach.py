"""Motion that backlash cannot spoil: the approach from below, and the one guard that every z move passes.

A stage with backlash B is a play operator: after a reversal the first B µm of commanded travel move nothing. Two images
are therefore Δ apart only if the upward travel before the first one, z1 − z0, was at least B (paper, section 4.3.2,
whose printed constants do not fulfil this for B above 14 µm).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from parfocal.devices.base import Clock, Lamp, RecordedZ, ZStage
from parfocal.errors import BudgetError, LimitError, SettingsError

_ROUNDING_UM = 1e-6


@dataclass(frozen=True, kw_only=True)
class ApproachSettings:
    """How the pair of images of a field is approached (paper, section 4.3.2).

    Attributes:
        backlash_um: largest slack of the z stage on reversal, B, in µm.
        margin_um: what is travelled beyond B to be sure, in µm.
        start_below_um: pivot − z1: how far below the expected focus the first image is taken, in µm.
        take_up_um: z1 − z0: upward travel before the first image, which closes the slack, in µm.
        delta_um: Δ = z2 − z1, the distance of the pair, in µm.
        enforce: False lets settings through that cannot work. Only the benchmark of the paper's printed constants does.

    Raises:
        SettingsError: if a value is out of range, or take_up_um < backlash_um + margin_um.
    """

    backlash_um: float
    margin_um: float = 1.0
    start_below_um: float
    take_up_um: float
    delta_um: float
    enforce: bool = True

    def __post_init__(self) -> None:
        for name in ("backlash_um", "margin_um", "start_below_um", "take_up_um"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"{name} {getattr(self, name):g} µm is not 0 µm or more")
        if not 0 < self.delta_um < math.inf:
            raise SettingsError(f"delta_um {self.delta_um:g} µm is not above 0 µm")
        if self.enforce and self.take_up_um < self.closing_um - _ROUNDING_UM:
            raise SettingsError(
                f"take-up z1 − z0 of {self.take_up_um:g} µm is less than the backlash of {self.backlash_um:g} µm "
                f"plus {self.margin_um:g} µm margin: the two images would not be {self.delta_um:g} µm apart; "
                f"set take_up_um to at least {self.closing_um:g} µm"
            )

    @property
    def closing_um(self) -> float:
        """Upward travel after which the slack counts as closed, B + margin, in µm."""
        return self.backlash_um + self.margin_um


@dataclass(frozen=True, kw_only=True)
class GuardLimits:
    """What z may do.

    Attributes:
        lowest_um: soft limit in µm.
        highest_um: soft limit in µm, below the point where glass meets lens.
        travel_budget_um: commanded travel that one field may use, in µm.
        time_budget_s: instrument time that one field may use, in s.

    Raises:
        SettingsError: if the limits leave no room or a budget is not above 0.
    """

    lowest_um: float
    highest_um: float
    travel_budget_um: float = 600.0
    time_budget_s: float = 30.0

    def __post_init__(self) -> None:
        if not self.lowest_um < self.highest_um:
            raise SettingsError(f"z limits {self.lowest_um:g} … {self.highest_um:g} µm leave no room")
        if not self.travel_budget_um > 0:
            raise SettingsError(f"travel budget {self.travel_budget_um:g} µm is not above 0 µm")
        if not self.time_budget_s > 0:
            raise SettingsError(f"time budget {self.time_budget_s:g} s is not above 0 s")


class GuardedZ:
    """The only way to a z stage: soft limits, budgets per field, and knowledge of where the slack is.

    A move that is refused is refused before any motion; nothing is shortened to fit.

    Args:
        stage: the z stage.
        clock: instrument time, for the time budget.
        approach: backlash, take-up and distances.
        limits: soft limits and budgets; the stage's own limits hold too.

    Raises:
        SettingsError: if the soft limits and the stage's have nothing in common.
    """

    def __init__(self, stage: ZStage, clock: Clock, approach: ApproachSettings, limits: GuardLimits) -> None:
        stage_lowest_um, stage_highest_um = stage.limits_um
        self.lowest_um = max(limits.lowest_um, stage_lowest_um)
        self.highest_um = min(limits.highest_um, stage_highest_um)
        if self.lowest_um > self.highest_um:
            raise SettingsError(
                f"z limits {limits.lowest_um:g} … {limits.highest_um:g} µm lie outside the stage's "
                f"{stage_lowest_um:g} … {stage_highest_um:g} µm"
            )
        self.approach = approach
        self._stage = stage
        self._clock = clock
        self._limits = limits
        self._risen_um = 0.0
        self.start_field()

    @property
    def position_um(self) -> float:
        """Position in µm as the stage reports it."""
        return self._stage.position_um

    @property
    def slack_closed(self) -> bool:
        """Whether the stage has risen by at least backlash + margin since it last went down."""
        return self._risen_um >= self.approach.closing_um - _ROUNDING_UM

    @property
    def travelled_um(self) -> float:
        """Commanded travel since the field began, in µm."""
        return self._travelled_um

    @property
    def time_is_up(self) -> bool:
        """Whether the field has used its time budget."""
        return self._clock.now_s - self._field_began_s >= self._time_budget_s

    def start_field(self, travel_budget_um: float | None = None, time_budget_s: float | None = None) -> None:
        """Begin a field: both budgets are whole again.

        Args:
            travel_budget_um: instead of the limits', for a planned sweep, in µm.
            time_budget_s: instead of the limits', in s.
        """
        self._travel_budget_um = self._limits.travel_budget_um if travel_budget_um is None else travel_budget_um
        self._time_budget_s = self._limits.time_budget_s if time_budget_s is None else time_budget_s
        self._travelled_um = 0.0
        self._field_began_s = self._clock.now_s

    def move_to(self, z_um: float) -> None:
        """Move and settle, whatever the direction.

        Raises:
            LimitError: if z_um lies outside the limits; nothing has moved.
            BudgetError: if the field's travel or time does not allow it; nothing has moved.
        """
        self._check([z_um])
        self._move(z_um)

    def approach_from_below(self, z_um: float) -> None:
        """Reach z_um with the last motion upward and the slack closed (paper, section 4.3.2).

        The stage goes down to z_um − take-up first, unless what it has risen so far and the way up suffice.

        Raises:
            LimitError: if z_um or z_um − take-up lies outside the limits; nothing has moved.
            BudgetError: if the field's travel or time does not allow all of it; nothing has moved.
        """
        way_up_um = z_um - self.position_um
        if way_up_um >= 0 and self._risen_um + way_up_um >= self.approach.closing_um - _ROUNDING_UM:
            stops_um = [z_um]
        else:
            stops_um = [z_um - self.approach.take_up_um, z_um]
        self._check(stops_um)
        for stop_um in stops_um:
            self._move(stop_um)

    def check_reach(self, z_um: float) -> None:
        """Raise LimitError if z_um lies outside the limits; for a plan of moves, before its first."""
        check_limits("z", z_um, (self.lowest_um, self.highest_um))

    def reachable_um(self, z_um: float) -> float:
        """Where a move to z_um ends: z_um, or the nearest plane on a recorded stage."""
        return self._stage.nearest_um(z_um) if isinstance(self._stage, RecordedZ) else z_um

    def reachable_pair_um(self, z_um: float) -> tuple[float, float]:
        """Where a pair that begins at z_um is taken: (z_um, z_um + Δ), or the nearest recorded pair."""
        delta_um = self.approach.delta_um
        if isinstance(self._stage, RecordedZ):
            return self._stage.nearest_pair_um(z_um, delta_um)
        return z_um, z_um + delta_um

    def _check(self, stops_um: list[float]) -> None:
        """Raise if the moves to these stops, one after the other, are not allowed."""
        for stop_um in stops_um:
            self.check_reach(stop_um)
        path_um = [self.position_um, *stops_um]
        travel_um = sum(abs(b - a) for a, b in pairwise(path_um))
        if self._travelled_um + travel_um > self._travel_budget_um + _ROUNDING_UM:
            raise BudgetError(
                f"z travel of {self._travelled_um + travel_um:.1f} µm in one field is more than "
                f"its budget of {self._travel_budget_um:g} µm"
            )
        if self.time_is_up:
            raise BudgetError(
                f"{self._clock.now_s - self._field_began_s:.2f} s in one field are its budget of "
                f"{self._time_budget_s:g} s or more"
            )

    def _move(self, z_um: float) -> None:
        before_um = self.position_um
        self._risen_um = 0.0 if z_um < before_um else self._risen_um  # known before the stage could fail half way
        self._stage.move_to(z_um)
        way_um = self.position_um - before_um
        self._risen_um = self._risen_um + way_um if way_um >= 0 else 0.0
        self._travelled_um += abs(way_um)


def check_limits(axis: str, target_um: float, limits_um: tuple[float, float]) -> None:
    """Raise unless the target lies within the limits.

    Args:
        axis: name of the axis, for the message.
        target_um: where a move would end, in µm.
        limits_um: (lowest, highest) in µm.

    Raises:
        LimitError: if the target lies outside, or is no number.
    """
    lowest_um, highest_um = limits_um
    if not lowest_um - _ROUNDING_UM <= target_um <= highest_um + _ROUNDING_UM:
        raise LimitError(f"{axis} {target_um:.2f} µm is outside the limits {lowest_um:g} … {highest_um:g} µm")


@contextmanager
def lamp_lit(lamp: Lamp) -> Iterator[Lamp]:
    """Light the lamp for the length of a block and put it out on any exit from it, errors included."""
    try:
        lamp.on()
        yield lamp
    finally:
        lamp.off()
