"""x-y, z and lamp of a board: µm outside, whole steps inside."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from parfocal.devices.approach import check_limits
from parfocal.devices.serial_stage.board import AxisName, Board
from parfocal.errors import InstrumentError, SettingsError

_ROUNDING = 1e-6


@dataclass(frozen=True)
class SteppedAxis:
    """An axis that stands at whole steps.

    Attributes:
        name: which of the board's axes.
        um_per_step: µm of one step; never negative (directions are declared by `invert`).
        origin_um: where our 0 µm is in the board's coordinates, in µm.
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


class SerialXY:
    """An x-y stage on a board. It reports the steps at which the board says that it stands, read back after every move.

    Args:
        board: homed.
        x: first axis.
        y: second axis.
        settle_s: pause after a move, in s.
    """

    def __init__(self, board: Board, x: SteppedAxis, y: SteppedAxis, settle_s: float) -> None:
        self._board = board
        self._x = x
        self._y = y
        self._settle_s = settle_s

    @property
    def position_um(self) -> tuple[float, float]:
        """Position (x_um, y_um), as the board reported it after the last move."""
        x, y, _ = self._board.stands
        return self._x.um(x), self._y.um(y)

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x_min, x_max), (y_min, y_max)) in µm."""
        return self._x.reach_um, self._y.reach_um

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move to the nearest steps and settle. Raises LimitError before any motion, InstrumentError if it fails."""
        target = (self._x.steps(x_um), self._y.steps(y_um))
        self._board.check_position_known()
        if target == self._board.stands[:2]:
            return
        self._board.move({"x": target[0], "y": target[1]})
        time.sleep(self._settle_s)


class HomingXY(SerialXY):
    """The same with home switches."""

    def home(self) -> None:
        """Find the zero of x and y again. Raises InstrumentError if a switch is not found."""
        self._board.home("xy")


class SerialZ:
    """A z stage on a board. It reports the step at which the board says that it stands, read back after every move.

    Args:
        board: homed.
        z: its axis.
        settle_s: pause after a move, in s.
    """

    def __init__(self, board: Board, z: SteppedAxis, settle_s: float) -> None:
        self._board = board
        self._z = z
        self._settle_s = settle_s

    @property
    def position_um(self) -> float:
        """Position in µm, as the board reported it after the last move."""
        return self._z.um(self._board.stands[2])

    @property
    def limits_um(self) -> tuple[float, float]:
        """(lowest, highest) position in µm."""
        return self._z.reach_um

    def move_to(self, z_um: float) -> None:
        """Move to the nearest step and settle. Raises LimitError before any motion, InstrumentError if it fails."""
        target = self._z.steps(z_um)
        self._board.check_position_known()
        if target == self._board.stands[2]:
            return
        self._board.move({"z": target})
        time.sleep(self._settle_s)


class HomingZ(SerialZ):
    """The same with a home switch, which is away from the objective."""

    def home(self) -> None:
        """Find the zero of z again. Raises InstrumentError if the switch is not found."""
        self._board.home("z")


class SerialLamp:
    """A lamp that two commands of a board switch.

    Args:
        board: awake.
        on: command that lights it.
        off: command that puts it out.
    """

    def __init__(self, board: Board, on: str, off: str) -> None:
        self._board = board
        self._on = on
        self._off = off
        self._is_on = False

    @property
    def is_on(self) -> bool:
        """What it was told last."""
        return self._is_on

    def on(self) -> None:
        """Light it. Raises InstrumentError if the board does not take the command."""
        self._is_on = True
        self._board.switch(self._on)

    def off(self) -> None:
        """Put it out, in any state of the board. Raises InstrumentError if it may still be lit."""
        try:
            self._board.put_out(self._off)
        except InstrumentError as error:
            raise InstrumentError(f"the lamp may still be lit: {error}") from error
        self._is_on = False
