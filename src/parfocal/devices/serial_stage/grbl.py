"""GRBL 1.1, as on CNC boards: real-time status reports, alarms, positions in machine coordinates."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from parfocal.devices.serial_stage.board import Board, Timeouts
from parfocal.devices.serial_stage.line import SerialLine
from parfocal.devices.stepped import AXES, AxisName, Steps
from parfocal.errors import DisconnectedError, InstrumentError, SettingsError

_STATUS = re.compile(r"<(?P<state>[A-Za-z]+(?::\d+)?)\|(?P<fields>[^<>]*)>")
_SETTING = re.compile(r"^\$(\d+)=(-?[\d.]+)")
_SPINDLE = re.compile(r"M0?[34](?!\d)")
_RESET, _HOLD = "\x18", "!"
_STANDING_S = 0.5
_REPORTED_WITHIN = 0.00051
"""Positions are reported in 0.001 units."""
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
    """Such as Idle or Hold:0."""
    machine_units: tuple[float, float, float]

    @property
    def is_locked(self) -> bool:
        """Whether it takes nothing but being unlocked or homed."""
        return self.state.startswith("Alarm")


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
        self._is_home = False

    def wake(self) -> None:
        """Wait until it answers. Raises InstrumentError if it does not."""
        answer = self._wait_for_first_answer("?", lambda line: bool(_STATUS.search(line)), "GRBL 1.1")
        if _parse_status(answer[-1]).is_locked:
            self._restart()

    def learn(self) -> None:
        """Wait until it stands still, and read its settings, which it does not tell before. Raises InstrumentError."""
        began_s = time.monotonic()
        while not _is_at_rest(self._status().state) and time.monotonic() < began_s + self._timeouts.move_s:
            self._pause(began_s)
        for line in self._command("$$"):
            if found := _SETTING.match(line):
                self._settings[int(found[1])] = float(found[2])
        if not {100, 101, 102} <= self._settings.keys():
            raise InstrumentError(f"board on {self.port}: GRBL does not tell its steps per mm ($100 to $102)")
        if self._settings.get(13) == 1:
            raise InstrumentError(f"board on {self.port}: GRBL reports in inches; set $13=0")

    def check_lamp(self, command: str) -> None:
        """Raise InstrumentError if the command that lights the lamp would not keep it lit."""
        if self._settings.get(32) == 1 and _SPINDLE.search(command.upper()):
            raise InstrumentError(
                f"board on {self.port}: {command} leaves the lamp dark while nothing moves, as GRBL is in laser mode; "
                'set $32=0, or switch the lamp by lamp_on = "M8" and lamp_off = "M9"'
            )

    def check_reach(self, axis: AxisName, units: tuple[float, float]) -> None:
        """Raise SettingsError if the firmware would not let the axis go so far, in mm of its own."""
        travel = self._settings.get(130 + AXES.index(axis))
        if self._settings.get(20) == 1 and travel is not None:
            lowest, highest = units
            if highest - lowest > travel + _REPORTED_WITHIN or max(-lowest, highest) > travel + _REPORTED_WITHIN:
                raise SettingsError(
                    f"{axis}_limits_um are {lowest:g} … {highest:g} mm of the board's, more than the {travel:g} mm "
                    f"that GRBL's own soft limits allow (${130 + AXES.index(axis)})"
                )

    def homes(self, axis: AxisName) -> bool:  # noqa: ARG002
        """Whether homing is switched on, which takes all axes."""
        return self._settings.get(22) == 1

    def home_if_needed(self) -> None:
        """Home if it is locked, as it is after a start with homing switched on. Raises InstrumentError."""
        if not self._status().is_locked:
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
        """Run the firmware's homing cycle, which takes all axes; not again if nothing has moved since.

        Raises:
            InstrumentError: if it is not acknowledged.
        """
        with self._moving():
            if self._is_home and not self._lost:
                return
            self._lost = ""
            self._sets_out(AXES)
            self._command("$H", self._timeouts.home_s)
            self.look()
            self._is_home = True

    def check_unlocked(self) -> None:
        """Raise InstrumentError if it is locked, where it is not to be homed."""
        if self._status().is_locked:
            raise InstrumentError(f"board on {self.port} is in alarm and locked: set home = true, or unlock = true")

    def steps_per_unit(self) -> tuple[float, float, float]:
        """Steps of each motor in a mm of the board's."""
        return self._settings[100], self._settings[101], self._settings[102]

    def position(self) -> Steps:
        """Where it stands, in steps."""
        return self._in_steps(self._status().machine_units)

    def look(self) -> None:
        """Ask where it stands, and keep that, which is rounded to 0.001 units. Raises InstrumentError likewise."""
        self._exact = frozenset()
        self._keep(self.position(), ())

    def _check_left_alone(self) -> None:
        status = self._status()
        if status.is_locked:
            self._lose("it is in alarm")
        if status.state != "Idle":
            raise InstrumentError(f"board on {self.port} does not stand idle, its state is {status.state}")
        if not self._reached(status, self._whole(), 2 * _REPORTED_WITHIN):  # what was left may have been rounded, too
            self._lose(f"it stands at {_in_units(status)}, away from where it was left")

    def _drive(self, target: Mapping[AxisName, int]) -> None:
        per_unit = dict(zip(AXES, self.steps_per_unit(), strict=True))
        words = "".join(f"{axis.upper()}{steps / per_unit[axis]:.5f}" for axis, steps in target.items())
        self._is_home = False
        self._sets_out(target)
        if not self._sent(f"G21G90G53G0{words}"):
            self._command_or_nothing(f"G21G90G53G0{words}")  # twice to the same place does no harm
        self._wait_until_at(target)
        x, y, z = ({**self._whole(), **target}[axis] for axis in AXES)
        self._keep((x, y, z), target)

    def _sent(self, command: str) -> bool:
        """Whether it was acknowledged; one that is refused moves nothing."""
        answer = self._answer(command)
        if answer and answer[-1] != "ok":
            self._is_under_way = False
            raise self._refused(command, answer[-1])
        return answer is not None

    def switch(self, command: str) -> None:
        """Carry out a command that switches an output. Raises InstrumentError."""
        self._command(command, self._timeouts.move_s)

    def put_out(self, command: str) -> None:
        """Switch an output off; where it does not stand idle by a stop and a reset, which switches off all of them."""
        with self._lock:
            if self._state() == "Idle":
                self.switch(command)
            else:
                self._halt()

    def _halt(self) -> None:
        with self._lock:
            state = self._state()
            if not _is_at_rest(state):
                self._line.send(_HOLD)
                self._wait_for_hold()
                self._note_lost("its motion was stopped")
            elif state.startswith("Alarm"):
                self._note_lost("it was locked by an alarm")
            self._restart()

    def _wait_for_hold(self) -> None:
        """Until it stands; if it does not, the reset stops it all the same, only less gently."""
        began_s = time.monotonic()
        while time.monotonic() < began_s + self._timeouts.answer_s:
            if (state := self._state()) == "Hold:0" or _is_at_rest(state):
                return
            self._pause(began_s)

    def _state(self) -> str:
        """Such as Idle or Hold:0; empty where it tells none, as while it homes and in some alarms."""
        try:
            return self._status().state
        except DisconnectedError:
            raise
        except InstrumentError:
            return ""

    def _wait_until_at(self, target: Mapping[AxisName, int]) -> None:
        began_s = time.monotonic()
        standing_since_s: float | None = None
        while time.monotonic() < began_s + self._timeouts.move_s:
            status = self._status()
            if status.is_locked:
                self._lose("it is in alarm")
            if status.state == "Idle":
                if self._reached(status, target, _REPORTED_WITHIN):
                    return
                standing_since_s = standing_since_s or time.monotonic()
                if time.monotonic() - standing_since_s > _STANDING_S:
                    self._lose(f"it stopped at {_in_units(status)}, away from where it was sent")
            else:
                standing_since_s = None
            self._pause(began_s)
        raise self._too_long()

    def _whole(self) -> dict[AxisName, int]:
        return dict(zip(AXES, self._stands, strict=True))

    def _reached(self, status: _Status, target: Mapping[AxisName, int], within_units: float) -> bool:
        """Whether the report is that of the target."""
        found = dict(zip(AXES, zip(status.machine_units, self.steps_per_unit(), strict=True), strict=True))
        return all(abs(found[axis][0] - steps / found[axis][1]) < within_units for axis, steps in target.items())

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
        answer = self._answer(command, timeout_s)
        if answer and answer[-1] != "ok":
            raise self._refused(command, answer[-1])
        return answer

    def _answer(self, command: str, timeout_s: float | None = None) -> list[str] | None:
        return self._ask(
            command + "\n", timeout_s or self._timeouts.answer_s, lambda line: line == "ok" or line.startswith("error:")
        )

    def _refused(self, command: str, answer: str) -> InstrumentError:
        return InstrumentError(f"board on {self.port} refuses {command}: {_meaning(answer, _ERRORS)}")

    def _watch(self, line: str) -> None:
        super()._watch(line)
        if line.startswith("ALARM:") and self._awake:
            self._note_lost(f"it stopped with an alarm, {_meaning(line, _ALARMS)}")

    def _restart(self) -> None:
        """Reset it; a board in alarm may take nothing else, and stays locked."""
        was_awake, self._awake, self._owed = self._awake, False, None  # its greeting is no surprise
        try:
            if self._ask(_RESET, self._timeouts.answer_s, lambda line: self.banner in line) is None:
                raise InstrumentError(f"board on {self.port} does not answer a reset")
            self._gather(0.05, lambda _: False)
        finally:
            self._awake = was_awake


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


def _is_at_rest(state: str) -> bool:
    return state in ("Idle", "Check", "Sleep") or state.startswith("Alarm")


def _in_units(status: _Status) -> str:
    x, y, z = status.machine_units
    return f"x {x:.3f}, y {y:.3f}, z {z:.3f} mm of its own"


def _meaning(line: str, words: Mapping[int, str]) -> str:
    number = line.partition(":")[2]
    return words.get(int(number) if number.isdecimal() else -1, line)
