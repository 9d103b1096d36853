"""GRBL 1.1, as on CNC boards: real-time status reports, alarms, positions in machine coordinates."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from parfocal.devices.serial_stage.board import Board, Timeouts
from parfocal.devices.serial_stage.line import SerialLine
from parfocal.devices.stepped import AXES, AxisName, Steps
from parfocal.errors import InstrumentError

_STATUS = re.compile(r"<(?P<state>[A-Za-z]+)(?::\d+)?\|(?P<fields>[^<>]*)>")
_SETTING = re.compile(r"^\$(\d+)=(-?[\d.]+)")
_RESET = "\x18"
_POLL_S = 0.005
_STANDING_S = 0.5
_ALARMS = {
    1: "a limit switch was hit",
    2: "the target lies outside the firmware's soft limits",
    3: "it was reset while it moved",
    6: "homing was interrupted by a reset",
    7: "homing was interrupted by a door",
    8: "homing: a limit switch did not open again",
    9: "homing: no limit switch was found",
}
_ERRORS = {
    2: "a number is malformed",
    5: "homing is switched off in the firmware ($22=0)",
    8: "it does not stand still",
    9: "it is locked by an alarm",
    15: "the target lies outside the firmware's soft limits",
    20: "it does not know the command",
}


@dataclass(frozen=True)
class _Status:
    state: str
    machine_units: tuple[float, float, float]


class GrblBoard(Board):
    """A board with GRBL 1.1.

    Args:
        line: the open port.
        timeouts: how long it may take.
        unlock: whether a locked board is unlocked rather than homed: its position may then be wrong.
    """

    banner = "Grbl 1.1"

    def __init__(self, line: SerialLine, timeouts: Timeouts, *, unlock: bool = False) -> None:
        super().__init__(line, timeouts)
        self._unlock = unlock
        self._settings: dict[int, float] = {}

    def wake(self) -> None:
        """Wait until it answers. Raises InstrumentError if it does not."""
        answer = self._wait_for_first_answer("?", lambda line: bool(_STATUS.search(line)), "GRBL 1.1")
        if _parse_status(answer[-1]).state == "Alarm":
            self._restart_alarm()

    def learn(self) -> None:
        """Wait until it stands still, and read its settings, which it does not tell before. Raises InstrumentError."""
        until_s = time.monotonic() + self._timeouts.move_s
        while self._status().state not in ("Idle", "Alarm") and time.monotonic() < until_s:
            time.sleep(_POLL_S)
        for line in self._command("$$"):
            if found := _SETTING.match(line):
                self._settings[int(found[1])] = float(found[2])
        if not {100, 101, 102} <= self._settings.keys():
            raise InstrumentError(f"board on {self.port}: GRBL does not tell its steps per mm ($100 to $102)")
        if self._settings.get(13) == 1:
            raise InstrumentError(f"board on {self.port}: GRBL reports in inches; set $13=0")

    def home_if_needed(self) -> None:
        """Home if it is locked, as it is after a start with homing switched on. Raises InstrumentError."""
        if self._status().state != "Alarm":
            return
        if self._unlock:
            self._command("$X")
        elif self._settings.get(22) == 1:
            self.home("xyz")
        else:
            raise InstrumentError(
                f"board on {self.port} is in alarm, and homing is switched off ($22=0): look why it stopped, "
                "then set unlock = true"
            )

    def home(self, axes: str) -> None:  # noqa: ARG002
        """Run the firmware's homing cycle, which takes all axes. Raises InstrumentError."""
        self._command("$H", self._timeouts.home_s)
        self.look()

    def check_unlocked(self) -> None:
        """Raise InstrumentError if it is locked, where it is not to be homed."""
        if self._status().state == "Alarm":
            raise InstrumentError(f"board on {self.port} is in alarm and locked: set home = true, or unlock = true")

    def steps_per_unit(self) -> tuple[float, float, float]:
        """Steps of each motor in a mm of the board's."""
        return self._settings[100], self._settings[101], self._settings[102]

    def position(self) -> Steps:
        """Where it stands, in steps."""
        return self._in_steps(self._status().machine_units)

    def move(self, target: Mapping[AxisName, int]) -> None:
        """Drive the named axes to these steps, and return when they stand there. Raises InstrumentError."""
        self.check_position_known()
        with self._lock:
            per_unit = dict(zip(AXES, self.steps_per_unit(), strict=True))
            words = "".join(f"{axis.upper()}{steps / per_unit[axis]:.5f}" for axis, steps in target.items())
            command = f"G21G90G53G0{words}"
            if self._command_or_nothing(command) is None and self._status().state == "Idle" and not self._is_at(target):
                self._command(command)  # neither acknowledged nor carried out: it was lost on the line
            self._wait_until_at(target)
            self.keep(target)

    def switch(self, command: str) -> None:
        """Carry out a command that switches an output. Raises InstrumentError."""
        self._command(command, self._timeouts.move_s)

    def put_out(self, command: str) -> None:
        """Switch an output off; on a locked board by a reset, which switches off all of them."""
        with self._lock:
            if self._lost or self._status().state == "Alarm":
                self._lost = self._lost or "it was locked by an alarm"
                self._restart()
            else:
                self.switch(command)

    def _wait_until_at(self, target: Mapping[AxisName, int]) -> None:
        until_s = time.monotonic() + self._timeouts.move_s
        standing_since_s: float | None = None
        while time.monotonic() < until_s:
            status = self._status()
            if status.state == "Alarm":
                self._lose("it is in alarm")
            if status.state == "Idle":
                if self._reached(status, target):
                    return
                standing_since_s = standing_since_s or time.monotonic()
                if time.monotonic() - standing_since_s > _STANDING_S:
                    self._lose(f"it stopped at {_in_units(status)}, away from where it was sent")
            else:
                standing_since_s = None
            time.sleep(_POLL_S)
        raise InstrumentError(f"board on {self.port}: a move did not end within {self._timeouts.move_s:g} s")

    def _is_at(self, target: Mapping[AxisName, int]) -> bool:
        return self._reached(self._status(), target)

    def _reached(self, status: _Status, target: Mapping[AxisName, int]) -> bool:
        """Whether the report, rounded to 0.001 units, is that of the target."""
        found = dict(zip(AXES, zip(status.machine_units, self.steps_per_unit(), strict=True), strict=True))
        return all(abs(found[axis][0] - steps / found[axis][1]) < 0.00151 for axis, steps in target.items())

    def _in_steps(self, units: tuple[float, float, float]) -> Steps:
        x, y, z = (round(unit * per_unit) for unit, per_unit in zip(units, self.steps_per_unit(), strict=True))
        return x, y, z

    def _status(self) -> _Status:
        for _ in range(3):  # a report that noise has spoilt is asked for again
            answer = self._ask("?", self._timeouts.answer_s, lambda line: bool(_STATUS.search(line)))
            if answer is not None:
                try:
                    return _parse_status(answer[-1])
                except ValueError:
                    continue
        raise InstrumentError(f"board on {self.port}: no status report came in {3 * self._timeouts.answer_s:g} s")

    def _command(self, command: str, timeout_s: float | None = None) -> list[str]:
        answer = self._command_or_nothing(command, timeout_s)
        if answer is None:
            raise InstrumentError(
                f"board on {self.port}: {command} was not acknowledged within "
                f"{timeout_s or self._timeouts.answer_s:g} s"
            )
        return answer

    def _command_or_nothing(self, command: str, timeout_s: float | None = None) -> list[str] | None:
        answer = self._ask(
            command + "\n", timeout_s or self._timeouts.answer_s, lambda line: line == "ok" or line.startswith("error:")
        )
        if answer and answer[-1] != "ok":
            raise InstrumentError(f"board on {self.port} refuses {command}: {_meaning(answer[-1], _ERRORS)}")
        return answer

    def _watch(self, line: str) -> None:
        super()._watch(line)
        if line.startswith("ALARM:") and not self._lost:
            self._lose(f"it stopped with an alarm, {_meaning(line, _ALARMS)}")

    def _restart_alarm(self) -> None:
        """A board in alarm may take nothing but a reset, which makes it greet and stay locked."""
        self._awake = False
        self._restart()
        self._awake = True

    def _restart(self) -> None:
        if self._ask(_RESET, self._timeouts.answer_s, lambda line: self.banner in line) is None:
            raise InstrumentError(f"board on {self.port} does not answer a reset")
        self._gather(0.05, lambda _: False)


def _parse_status(line: str) -> _Status:
    """Raises ValueError if its position is malformed, InstrumentError if it reports none in machine coordinates."""
    found = _STATUS.search(line)
    if found is None:
        raise ValueError(line)
    fields = dict(part.partition(":")[::2] for part in found["fields"].split("|"))
    if "MPos" not in fields:
        if "WPos" in fields:
            raise InstrumentError("GRBL reports work positions only; set $10=1")
        raise ValueError(line)
    x, y, z = (float(number) for number in fields["MPos"].split(",")[:3])
    return _Status(found["state"], (x, y, z))


def _in_units(status: _Status) -> str:
    x, y, z = status.machine_units
    return f"x {x:.3f}, y {y:.3f}, z {z:.3f} mm of its own"


def _meaning(line: str, words: Mapping[int, str]) -> str:
    number = line.partition(":")[2]
    return words.get(int(number) if number.isdecimal() else -1, line)
