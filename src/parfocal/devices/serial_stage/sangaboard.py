"""Sangaboard, the board of OpenFlexure microscopes: relative moves in steps, and a lamp of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from parfocal.devices.serial_stage.board import RESTARTED, Board, Timeouts
from parfocal.devices.serial_stage.line import SerialLine
from parfocal.devices.stepped import AXES, AxisName, Steps
from parfocal.errors import InstrumentError

_POSITION = re.compile(r"^\s*(-?\d+)\s+(-?\d+)\s+(-?\d+)\s*$")
_LATE_S = 0.05


class SangaBoard(Board):
    """A Sangaboard with its firmware 0.5 or later; moves of firmware 1 can be watched while they last.

    Args:
        line: the open port.
        timeouts: how long it may take.
    """

    banner = "Board"

    def __init__(self, line: SerialLine, timeouts: Timeouts) -> None:
        super().__init__(line, timeouts)
        self._tells_when_moving = False

    def wake(self) -> None:
        """Wait until it answers. Raises InstrumentError if it does not."""
        self._wait_for_first_answer("version\n", _is_greeting, "Sangaboard")

    def learn(self) -> None:
        """Find out how its moves end."""
        answer = self._ask("blocking_moves false\n", self._timeouts.answer_s, bool)
        self._tells_when_moving = bool(answer and answer[-1].startswith("done"))

    def check_reach(self, axis: AxisName, units: tuple[float, float]) -> None:
        """Nothing: the firmware has no limits of its own."""

    def homes(self, axis: AxisName) -> bool:  # noqa: ARG002
        """It has no home switches."""
        return False

    def home_if_needed(self) -> None:
        """Nothing: the board has no home switches. It counts from where it was last set to zero."""

    def home(self, axes: str) -> None:
        """Raises InstrumentError: the board has no home switches."""
        raise InstrumentError(f"board on {self.port}: a Sangaboard has no home switches for {', '.join(axes)}")

    def set_zero(self) -> None:
        """Count from here on. Raises InstrumentError if the board does not."""
        self._command("zero")

    def steps_per_unit(self) -> tuple[float, float, float]:
        """The board's unit is the step."""
        return 1.0, 1.0, 1.0

    def position(self) -> Steps:
        """Where it stands, in steps."""
        answer = self._ask("p?\n", 3 * self._timeouts.answer_s, lambda line: bool(_POSITION.match(line)))
        found = _POSITION.match(answer[-1]) if answer else None
        if found is None:
            raise InstrumentError(f"board on {self.port} does not tell its position (p?)")
        return int(found[1]), int(found[2]), int(found[3])

    def _check_left_alone(self) -> None:
        if (stands := self.position()) != self.stands:
            self._lose(f"it stands at {stands} steps, it was left at {self.stands}")

    def _drive(self, target: Mapping[AxisName, int]) -> None:
        for _ in range(2):  # a move that was lost on the line is told again, from where it stands
            stands = dict(zip(AXES, self.stands, strict=True))
            ways = [target.get(axis, stands[axis]) - stands[axis] for axis in AXES]
            self._sets_out(target)
            self._move_by(ways)
            self.look()
            if self.stands_at(target):
                return
        self._lose(f"it stands at {self.stands} steps, away from where it was sent")

    def _halt(self) -> None:
        with self._lock:
            self._discard(_LATE_S)
            if self._ask("stop\n", self._timeouts.answer_s, bool) is None:
                raise InstrumentError(f"board on {self.port} does not answer a stop")
            self._discard(_LATE_S)

    def switch(self, command: str) -> None:
        """Carry out a command that switches an output. Raises InstrumentError."""
        self._command(command)

    def put_out(self, command: str) -> None:
        """Switch an output off."""
        self._command(command)

    def _move_by(self, ways: list[int]) -> None:
        command = f"mr {ways[0]} {ways[1]} {ways[2]}\n"
        if not self._tells_when_moving:
            if self._ask(command, self._timeouts.move_s, _ends_move) is None:
                raise self._too_long()
            return
        self._ask(command, self._timeouts.answer_s, _ends_move)
        began_s = time.monotonic()
        while self._is_moving():
            if time.monotonic() > began_s + self._timeouts.move_s:
                raise self._too_long()
            self._pause(began_s)

    def _is_moving(self) -> bool:
        answer = self._ask("moving?\n", 3 * self._timeouts.answer_s, lambda line: line in ("true", "false"))
        if answer is None:
            raise InstrumentError(f"board on {self.port} does not answer whether it moves")
        return answer[-1] == "true"

    def _command(self, command: str) -> None:
        answer = self._ask(command + "\n", self._timeouts.answer_s, bool)
        if answer is None:
            raise InstrumentError(
                f"board on {self.port}: {command} was not answered within {self._timeouts.answer_s:g} s"
            )
        if "help" in answer[-1].lower() or "invalid" in answer[-1].lower():
            raise InstrumentError(f"board on {self.port} does not know the command {command}: it said {answer[-1]!r}")

    def _watch(self, line: str) -> None:
        if self._awake and _is_greeting(line):
            self._note_lost(RESTARTED)


def _is_greeting(line: str) -> bool:
    return "sangaboard" in line.lower() or "motor board" in line.lower()


def _ends_move(line: str) -> bool:
    return line.startswith(("done", "stopped"))
