"""Stages whose motors go in whole steps: µm outside, steps inside."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from parfocal.devices.approach import check_limits
from parfocal.errors import SettingsError

AxisName = Literal["x", "y", "z"]
AXES: tuple[AxisName, ...] = ("x", "y", "z")
Steps = tuple[int, int, int]
"""Position of x, y and z in steps of the motors."""

_ROUNDING = 1e-6


class Stepper(Protocol):
    """Three motors, and what drives them."""

    @property
    def stands(self) -> Steps:
        """Where they stood when that was last read: after opening, homing and every move."""

    def stands_at(self, target: Mapping[AxisName, int]) -> bool:
        """Whether the named axes are known to stand at these steps, so that no move is needed."""

    def check_position_known(self) -> None:
        """Raise InstrumentError if they may stand elsewhere, as after a restart."""

    def move(self, target: Mapping[AxisName, int]) -> None:
        """Drive the named axes to these steps, and return when they stand there. Raises InstrumentError."""

    def home(self, axes: str) -> None:
        """Drive to the home switches of these axes at least, and count from there. Raises InstrumentError."""


@dataclass(frozen=True)
class SteppedAxis:
    """An axis that stands at whole steps.

    Attributes:
        name: which of the motors' axes.
        um_per_step: µm of one step; never negative (directions are declared by `invert`).
        origin_um: where our 0 µm is in the coordinates of the motors, in µm.
        limits_um: (lowest, highest) soft limit in µm.

    Raises:
        SettingsError: if no step lies within the limits.
    """

    name: AxisName
    um_per_step: float
    origin_um: float
    limits_um: tuple[float, float]

    def __post_init__(self) -> None:
        lowest, highest = self.limits_steps
        if lowest >= highest:
            raise SettingsError(
                f"{self.name}_limits_um {self.limits_um[0]:g} … {self.limits_um[1]:g} µm leave no room for a step "
                f"of {self.um_per_step:g} µm"
            )

    @property
    def limits_steps(self) -> tuple[int, int]:
        """First and last step that lie within the limits."""
        lowest, highest = ((limit + self.origin_um) / self.um_per_step for limit in self.limits_um)
        return math.ceil(lowest - _ROUNDING), math.floor(highest + _ROUNDING)

    @property
    def reach_um(self) -> tuple[float, float]:
        """The limits, at whole steps, in µm."""
        lowest, highest = self.limits_steps
        return self.um(lowest), self.um(highest)

    def um(self, steps: int) -> float:
        """Position of a step in µm."""
        return steps * self.um_per_step - self.origin_um

    def steps(self, um: float) -> int:
        """The step nearest to a position in µm within the limits. Raises LimitError if it lies outside."""
        check_limits(self.name, um, self.reach_um)
        return round((um + self.origin_um) / self.um_per_step)


class SteppedXY:
    """An x-y stage. It reports the steps at which its motors were found, which are read back after every move.

    Args:
        motors: homed.
        x: first axis.
        y: second axis.
        settle_s: pause after a move, in s.
    """

    def __init__(self, motors: Stepper, x: SteppedAxis, y: SteppedAxis, settle_s: float) -> None:
        self._motors = motors
        self._x = x
        self._y = y
        self._settle_s = settle_s

    @property
    def position_um(self) -> tuple[float, float]:
        """Position (x_um, y_um), read back after the last move."""
        x, y, _ = self._motors.stands
        return self._x.um(x), self._y.um(y)

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x_min, x_max), (y_min, y_max)) in µm."""
        return self._x.reach_um, self._y.reach_um

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move to the nearest steps and settle. Raises LimitError before any motion, InstrumentError if it fails."""
        target: dict[AxisName, int] = {"x": self._x.steps(x_um), "y": self._y.steps(y_um)}
        self._motors.check_position_known()
        if self._motors.stands_at(target):
            return
        self._motors.move(target)
        if self._settle_s:  # even a pause of 0 s gives the processor away
            time.sleep(self._settle_s)


class HomingXY(SteppedXY):
    """The same with home switches."""

    def home(self) -> None:
        """Find the zero of x and y again. Raises InstrumentError if a switch is not found."""
        self._motors.home("xy")


class SteppedZ:
    """A z stage. It reports the step at which its motor was found, which is read back after every move.

    Args:
        motors: homed.
        z: its axis.
        settle_s: pause after a move, in s.
    """

    def __init__(self, motors: Stepper, z: SteppedAxis, settle_s: float) -> None:
        self._motors = motors
        self._z = z
        self._settle_s = settle_s

    @property
    def position_um(self) -> float:
        """Position in µm, read back after the last move."""
        return self._z.um(self._motors.stands[2])

    @property
    def limits_um(self) -> tuple[float, float]:
        """(lowest, highest) position in µm."""
        return self._z.reach_um

    def move_to(self, z_um: float) -> None:
        """Move to the nearest step and settle. Raises LimitError before any motion, InstrumentError if it fails."""
        target: dict[AxisName, int] = {"z": self._z.steps(z_um)}
        self._motors.check_position_known()
        if self._motors.stands_at(target):
            return
        self._motors.move(target)
        if self._settle_s:  # even a pause of 0 s gives the processor away
            time.sleep(self._settle_s)


class HomingZ(SteppedZ):
    """The same with a home switch, which is away from the objective."""

    def home(self) -> None:
        """Find the zero of z again. Raises InstrumentError if the switch is not found."""
        self._motors.home("z")
