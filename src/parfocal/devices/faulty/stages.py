"""Stages that go wrong. What they say of their place and where they are may then differ, as on any open-loop stage."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, Self

from parfocal.devices.approach import check_limits
from parfocal.devices.base import Homing, XYStage, ZStage
from parfocal.devices.faulty.strike import LineFault, Strikes, When

StageFault = LineFault | Literal["drop", "twice", "stuck", "short", "overshoot", "backwards", "reset", "nowhere"]
"""drop: a move is not carried out, and the stage does not say that it was. twice: it is carried out twice. stuck: it is
not carried out, short: steps are lost, overshoot: it goes too far, backwards: it goes the other way, and the stage says
that it arrived. reset: the controller loses power, drops off and says 0 when opened again. nowhere: it says NaN."""

_Axes = tuple[float, ...]


class _Faulty:
    """What both stages have in common: where they say that they are, and how far from there they truly are."""

    def __init__(self, name: str, kind: StageFault, when: When, wait: Callable[[float], None], lost_um: float) -> None:
        self._kind = kind
        self._lost_um = lost_um
        self.strikes = Strikes(name, kind, when, wait)
        self._counts_um: _Axes | None = None
        self._is_nowhere = False
        self.sent_um: list[_Axes] = []
        """Where it was sent, in µm, carried out, refused or not."""
        self.driven_um: list[_Axes] = []
        """Where it would truly have gone without end stops, in µm: by a fault, also elsewhere than it was sent."""

    def reopen(self) -> Self:
        """Itself, on a line that works again. Raises DisconnectedError if it is gone."""
        self.strikes.reopen()
        return self

    def _home(self, stage: Homing) -> None:
        """What it says of its place is true again."""
        stage.home()
        self._counts_um, self._is_nowhere = None, False

    def _said(self, true_um: _Axes) -> _Axes:
        if self._is_nowhere:
            return tuple(math.nan for _ in true_um)
        return true_um if self._counts_um is None else self._counts_um

    def _go(self, target_um: _Axes, true_um: _Axes, go: Callable[[_Axes], None]) -> None:
        """Carry a move out, or what the fault makes of it."""
        counts_um = true_um if self._counts_um is None else self._counts_um
        off_um = tuple(true - counted for true, counted in zip(true_um, counts_um, strict=True))
        strikes = self.strikes.now()
        self._is_nowhere = strikes and self._kind == "nowhere"
        if strikes and self._kind == "drop":
            return
        if strikes and self._kind == "reset":
            self._counts_um = tuple(0.0 for _ in target_um)
            raise self.strikes.drop_off()
        self._counts_um = target_um
        if not strikes:
            go(tuple(target + off for target, off in zip(target_um, off_um, strict=True)))
            return
        way_um = tuple(target - counted for target, counted in zip(target_um, counts_um, strict=True))
        for _ in range(2 if self._kind == "twice" else 1):
            go(tuple(true + self._carried_out_um(way) for true, way in zip(true_um, way_um, strict=True)))

    def _carried_out_um(self, way_um: float) -> float:
        if self._kind == "stuck":
            return 0.0
        if self._kind == "backwards":
            return -way_um
        lost_um = math.copysign(min(self._lost_um, abs(way_um)), way_um)
        return way_um + {"short": -lost_um, "overshoot": lost_um}.get(self._kind, 0.0)


class FaultyXY(_Faulty):
    """An x-y stage one of whose faults strikes now and then.

    Args:
        stage: a sound one.
        kind: of the fault.
        when: it strikes, in moves.
        wait: takes so many seconds.
        lost_um: by how much a move is too short or too long.
    """

    def __init__(
        self, stage: XYStage, kind: StageFault, when: When, wait: Callable[[float], None], lost_um: float = 40.0
    ) -> None:
        super().__init__("x-y stage", kind, when, wait, lost_um)
        self._stage = stage
        if isinstance(stage, Homing):
            self.home = partial(self._home, stage)

    @property
    def position_um(self) -> tuple[float, float]:
        """Position (x_um, y_um) as the stage reports it."""
        x_um, y_um = self._said(self._stage.position_um)
        return x_um, y_um

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x_min, x_max), (y_min, y_max)) in µm."""
        return self._stage.limits_um

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move and settle, unless the fault strikes. Raises LimitError if the target lies outside the limits."""
        self.sent_um.append((x_um, y_um))
        for axis, axis_um, limits_um in zip("xy", (x_um, y_um), self.limits_um, strict=True):
            check_limits(axis, axis_um, limits_um)
        self._go((x_um, y_um), self._stage.position_um, self._push)

    def _push(self, target_um: _Axes) -> None:
        """Move until an end stop is in the way."""
        self.driven_um.append(target_um)
        x_um, y_um = (min(max(at, low), high) for at, (low, high) in zip(target_um, self.limits_um, strict=True))
        self._stage.move_to(x_um, y_um)


class FaultyZ(_Faulty):
    """A z stage one of whose faults strikes now and then.

    Args:
        stage: a sound one.
        kind: of the fault.
        when: it strikes, in moves.
        wait: takes so many seconds.
        lost_um: by how much a move is too short or too long.
    """

    def __init__(
        self, stage: ZStage, kind: StageFault, when: When, wait: Callable[[float], None], lost_um: float = 5.0
    ) -> None:
        super().__init__("z stage", kind, when, wait, lost_um)
        self._stage = stage
        if isinstance(stage, Homing):
            self.home = partial(self._home, stage)

    @property
    def position_um(self) -> float:
        """Position in µm as the stage reports it."""
        return self._said((self._stage.position_um,))[0]

    @property
    def limits_um(self) -> tuple[float, float]:
        """(lowest, highest) position in µm."""
        return self._stage.limits_um

    def move_to(self, z_um: float) -> None:
        """Move and settle, unless the fault strikes. Raises LimitError if the target lies outside the limits."""
        self.sent_um.append((z_um,))
        check_limits("z", z_um, self.limits_um)
        self._go((z_um,), (self._stage.position_um,), self._push)

    def _push(self, target_um: _Axes) -> None:
        """Move until an end stop is in the way."""
        self.driven_um.append(target_um)
        lowest_um, highest_um = self.limits_um
        self._stage.move_to(min(max(target_um[0], lowest_um), highest_um))
