"""Stages of a cheap instrument: play on reversal, errors on arrival, and the time that moves take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from parfocal.devices.approach import check_limits
from parfocal.devices.base import Clock
from parfocal.errors import SettingsError


class PlayAxis:
    """A play operator: what is driven follows its drive only where the slack is taken up.

    After upward motion the output equals the input; after downward motion it stays `backlash_um` above it. It begins as
    if it had come from below with the slack closed.

    Raises:
        SettingsError: if the backlash is negative.
    """

    def __init__(self, backlash_um: float, input_um: float = 0.0) -> None:
        if not 0 <= backlash_um < math.inf:
            raise SettingsError(f"backlash {backlash_um:g} µm is not 0 µm or more")
        self.backlash_um = backlash_um
        self.output_um = input_um

    def drive_to(self, input_um: float) -> bool:
        """Drive the input to a position in µm; whether the output moved."""
        before_um = self.output_um
        self.output_um = min(max(before_um, input_um), input_um + self.backlash_um)
        return self.output_um != before_um


@dataclass(frozen=True, kw_only=True)
class ZSettings:
    """The simulated z stage (defaults: paper section 4.1, with the error model of the project).

    Attributes:
        limits_um: (lowest, highest) commanded position in µm.
        start_um: commanded position at the start, in µm.
        backlash_um: slack on reversal in µm.
        error_um: standard deviation in µm of the position's error, drawn anew on every arrival.
        largest_error_um: where that error is cut off, in µm.
        screw_um: amplitude of the smooth error of the screw, in µm.
        screw_pitch_um: period of that error in µm.
        speed_um_per_s: speed.
        settle_s: time to settle after a move.
        homes: whether it can find its zero again (`devices.base.Homing`), at its start.
    """

    limits_um: tuple[float, float] = (-500.0, 500.0)
    start_um: float = 0.0
    backlash_um: float = 20.0
    error_um: float = 0.17
    largest_error_um: float = 0.5
    screw_um: float = 0.0
    screw_pitch_um: float = 250.0
    speed_um_per_s: float = 2000.0
    settle_s: float = 0.005
    homes: bool = False


class SimulatedZStage:
    """An open-loop z stage: it reports what it was told, and stands where play and errors leave it."""

    def __init__(self, settings: ZSettings, clock: Clock, rng: np.random.Generator) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._position_um = settings.start_um
        self._play = PlayAxis(settings.backlash_um, settings.start_um)
        self._error_um = 0.0
        if settings.homes:
            self.home = self._home

    @property
    def position_um(self) -> float:
        """Commanded position in µm."""
        return self._position_um

    @property
    def limits_um(self) -> tuple[float, float]:
        """(lowest, highest) commanded position in µm."""
        return self._settings.limits_um

    @property
    def true_um(self) -> float:
        """Where the slide really is, in µm."""
        output_um = self._play.output_um
        wave = math.sin(2 * math.pi * output_um / self._settings.screw_pitch_um)
        return output_um + self._settings.screw_um * wave + self._error_um

    def move_to(self, z_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""
        check_limits("z", z_um, self.limits_um)
        way_um = abs(z_um - self._position_um)
        if way_um == 0:
            return
        self._position_um = z_um
        if self._play.drive_to(z_um):  # where only slack was taken up, the slide has not moved at all
            self._error_um = _truncated_normal(self._rng, self._settings.error_um, self._settings.largest_error_um)
        self._clock.spend(way_um / self._settings.speed_um_per_s + self._settings.settle_s)

    def _home(self) -> None:
        """Down past the reference, and up to it."""
        start_um = self._settings.start_um
        self.move_to(max(start_um - 2 * self._settings.backlash_um, self.limits_um[0]))
        self.move_to(start_um)


@dataclass(frozen=True, kw_only=True)
class XYSettings:
    """The simulated x-y stage (defaults: paper section 4.1, with the error model of the project).

    Attributes:
        limits_um: ((x_min, x_max), (y_min, y_max)) in µm.
        start_um: commanded (x, y) at the start, in µm.
        backlash_um: slack of each axis on reversal in µm.
        screw_um: largest smooth error of each screw over its travel, in µm.
        error_um: standard deviation in µm of what does not repeat.
        step_s: time of a step.
        settle_s: time to settle after a step.
        homes: whether it can find its zero again (`devices.base.Homing`), at its start.
    """

    limits_um: tuple[tuple[float, float], tuple[float, float]] = ((-12_500.0, 12_500.0), (-12_500.0, 12_500.0))
    start_um: tuple[float, float] = (0.0, 0.0)
    backlash_um: float = 80.0
    screw_um: float = 20.0
    error_um: float = 2.0
    step_s: float = 0.045
    settle_s: float = 0.015
    homes: bool = False


class SimulatedXYStage:
    """An open-loop x-y stage with play, screw error and an error that does not repeat."""

    def __init__(self, settings: XYSettings, clock: Clock, rng: np.random.Generator) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._position_um = settings.start_um
        self._play = tuple(PlayAxis(settings.backlash_um, start_um) for start_um in settings.start_um)
        self._screw = tuple(_smooth_error(settings.screw_um, limits_um, rng) for limits_um in settings.limits_um)
        self._error_um = [0.0, 0.0]
        if settings.homes:
            self.home = self._home

    @property
    def position_um(self) -> tuple[float, float]:
        """Commanded position (x_um, y_um)."""
        return self._position_um

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x_min, x_max), (y_min, y_max)) in µm."""
        return self._settings.limits_um

    @property
    def true_um(self) -> tuple[float, float]:
        """True (x_um, y_um) of the field's centre."""
        x_um, y_um = (
            play.output_um + screw(play.output_um) + error_um
            for play, screw, error_um in zip(self._play, self._screw, self._error_um, strict=True)
        )
        return x_um, y_um

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""
        target_um = (x_um, y_um)
        for axis, axis_um, limits_um in zip("xy", target_um, self.limits_um, strict=True):
            check_limits(axis, axis_um, limits_um)
        if target_um == self._position_um:
            return
        self._position_um = target_um
        for axis_index, (play, axis_um) in enumerate(zip(self._play, target_um, strict=True)):
            if play.drive_to(axis_um):
                self._error_um[axis_index] = float(self._rng.normal(0.0, self._settings.error_um))
        self._clock.spend(self._settings.step_s + self._settings.settle_s)

    def _home(self) -> None:
        """Past the reference, and back to it from below."""
        start_um, slack_um = self._settings.start_um, 2 * self._settings.backlash_um
        axes = zip(start_um, self.limits_um, strict=True)
        x_um, y_um = (max(at_um - slack_um, lowest_um) for at_um, (lowest_um, _) in axes)
        self.move_to(x_um, y_um)
        self.move_to(*start_um)


def _truncated_normal(rng: np.random.Generator, sigma: float, limit: float) -> float:
    """A normal number, drawn again until it lies within ± limit."""
    while True:
        value = float(rng.normal(0.0, sigma))
        if abs(value) <= limit or sigma == 0:
            return value


def _smooth_error(
    largest_um: float, limits_um: tuple[float, float], rng: np.random.Generator
) -> Callable[[float], float]:
    """A smooth error over an axis' travel: three slow waves of random phase that together stay within ± largest_um."""
    lowest_um, highest_um = limits_um
    travel_um = max(highest_um - lowest_um, 1.0)
    phases = rng.uniform(0, 2 * math.pi, 3)
    shares = (0.5, 0.3, 0.2)

    def error_um(position_um: float) -> float:
        turns = (position_um - lowest_um) / travel_um
        waves = (
            share * math.sin(2 * math.pi * (index + 1) * turns + phase)
            for index, (share, phase) in enumerate(zip(shares, phases, strict=True))
        )
        return largest_um * sum(waves)

    return error_um
