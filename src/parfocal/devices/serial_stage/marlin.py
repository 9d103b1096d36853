"""Marlin, as on 3D-printer boards: every line is acknowledged, M400 waits for motion, M114 counts steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from parfocal.devices.serial_stage.board import Board, Timeouts
from parfocal.devices.serial_stage.line import SerialLine
from parfocal.devices.stepped import AXES, AxisName, Steps
from parfocal.errors import InstrumentError

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)"
_COUNT = re.compile(rf"Count X:{_NUMBER}\s*Y:{_NUMBER}\s*Z:{_NUMBER}")
_STEPS = re.compile(rf"M92 X{_NUMBER}\s+Y{_NUMBER}\s+Z{_NUMBER}")


class MarlinBoard(Board):
    """A board with Marlin 1.1 or later, on a machine each of whose motors moves one axis.

    Args:
        line: the open port.
        timeouts: how long it may take.
        feed_per_min: speed of moves in mm of the board's a minute.
        home_axes: axes to be homed, of "xyz".
    """

    banner = "start"

    def __init__(self, line: SerialLine, timeouts: Timeouts, *, feed_per_min: float, home_axes: str) -> None:
        super().__init__(line, timeouts)
        self._feed = feed_per_min
        self._home_axes = home_axes
        self._steps_per_unit = (0.0, 0.0, 0.0)

    def wake(self) -> None:
        """Wait until it answers. Raises InstrumentError if it does not."""
        self._wait_for_first_answer("M114\n", lambda line: bool(_COUNT.search(line)), "Marlin")
        self._gather(0.2, _is_end)

    def learn(self) -> None:
        """Read its steps per mm. Raises InstrumentError if it does not tell them."""
        answer = "\n".join(self._command("M503", 5.0))
        found = _STEPS.search(answer)
        if found is None:
            raise InstrumentError(f"board on {self.port}: Marlin does not tell its steps per mm (M503)")
        self._steps_per_unit = (float(found[1]), float(found[2]), float(found[3]))

    def home_if_needed(self) -> None:
        """Home the axes that have switches, if the firmware does not trust its position. Raises InstrumentError."""
        self._command(f"G28 O {' '.join(self._home_axes.upper())}", self._timeouts.home_s)

    def home(self, axes: str) -> None:
        """Home those of the axes that have switches. Raises InstrumentError."""
        if wanted := [axis.upper() for axis in axes if axis in self._home_axes]:
            self._command(f"G28 {' '.join(wanted)}", self._timeouts.home_s)
            self.look()

    def steps_per_unit(self) -> tuple[float, float, float]:
        """Steps of each motor in a mm of the board's."""
        return self._steps_per_unit

    def position(self) -> Steps:
        """Where it stands, in steps."""
        for _ in range(3):  # an answer that noise has spoilt is asked for again
            answer = self._command_or_nothing("M114")
            if answer and (found := _COUNT.search("\n".join(answer))):
                return round(float(found[1])), round(float(found[2])), round(float(found[3]))
        raise InstrumentError(f"board on {self.port}: Marlin does not tell its position (M114)")

    def move(self, target: Mapping[AxisName, int]) -> None:
        """Drive the named axes to these steps, and return when they stand there. Raises InstrumentError."""
        self.check_position_known()
        with self._lock:
            per_unit = dict(zip(AXES, self._steps_per_unit, strict=True))
            words = "".join(f" {axis.upper()}{steps / per_unit[axis]:.5f}" for axis, steps in target.items())
            for _ in range(2):  # what was lost on the line is sent again
                self._command_or_nothing("G90")
                self._command_or_nothing(f"G0{words} F{self._feed:g}")
                if self._command_or_nothing("M400", self._timeouts.move_s) is None:
                    self._check_alive()
                stands = dict(zip(AXES, self.position(), strict=True))
                if all(abs(stands[axis] - steps) <= 1 for axis, steps in target.items()):
                    self.keep(target)
                    return
            self._lose(f"it stands at {stands} steps, away from where it was sent")

    def switch(self, command: str) -> None:
        """Carry out a command that switches an output. Raises InstrumentError."""
        self._command(command, self._timeouts.move_s)

    def put_out(self, command: str) -> None:
        """Switch an output off."""
        self._command(command, self._timeouts.move_s)

    def _check_alive(self) -> None:
        if self._command_or_nothing("M114") is None:
            raise InstrumentError(
                f"board on {self.port}: a move did not end within {self._timeouts.move_s:g} s, and the board does "
                "not answer any more"
            )

    def _command(self, command: str, timeout_s: float | None = None) -> list[str]:
        answer = self._command_or_nothing(command, timeout_s)
        if answer is None:
            raise InstrumentError(
                f"board on {self.port}: {command} was not acknowledged within "
                f"{timeout_s or self._timeouts.answer_s:g} s"
            )
        return answer

    def _command_or_nothing(self, command: str, timeout_s: float | None = None) -> list[str] | None:
        return self._ask(command + "\n", timeout_s or self._timeouts.answer_s, _is_end)

    def _is_busy(self, line: str) -> bool:
        return line.startswith("echo:busy")

    def _watch(self, line: str) -> None:
        if self._awake and not self._lost:
            if line.endswith(self.banner):
                self._lose("the board restarted, by itself or because its power failed")
            if "kill()" in line or "halted" in line.lower():
                self._halted(line)
            if "Unknown command" in line:
                raise InstrumentError(f"board on {self.port} does not know the command: {line}")

    def _halted(self, line: str) -> NoReturn:
        self._lose(f"it has halted itself ({line[:80]}); switch it off and on")
        raise AssertionError  # _lose raises


def _is_end(line: str) -> bool:
    return line == "ok" or line.startswith("ok ")
