"""Marlin, as on 3D-printer boards: every line is acknowledged, M114 counts steps."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping

from parfocal.devices.serial_stage.board import RESTARTED, Board, Timeouts
from parfocal.devices.serial_stage.line import SerialLine
from parfocal.devices.stepped import AXES, AxisName, Steps
from parfocal.errors import InstrumentError, SettingsError

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)"
_COUNT = re.compile(rf"Count X:{_NUMBER}\s*Y:{_NUMBER}\s*Z:{_NUMBER}")
_STEPS = re.compile(rf"M92 X{_NUMBER}\s+Y{_NUMBER}\s+Z{_NUMBER}")
_XYZ = rf"\s*X{_NUMBER}\s+Y{_NUMBER}\s+Z{_NUMBER}"
_LEAST, _MOST = re.compile(rf"Min:{_XYZ}"), re.compile(rf"Max:{_XYZ}")
_OFF = re.compile(r"endstops:\s*off|M211 S0", re.IGNORECASE)
_STANDING_S, _LATE_S = 0.5, 0.05
_REPORTED_WITHIN = 0.00501


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
        self._ends: dict[AxisName, tuple[float, float]] = {}

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
        self._ends = _software_endstops("\n".join(self._command_or_nothing("M211") or []))

    def homes(self, axis: AxisName) -> bool:
        """Whether it has a home switch there."""
        return axis in self._home_axes

    def home_if_needed(self) -> None:
        """Home the axes that have switches, if the firmware does not trust its position. Raises InstrumentError."""
        with self._moving():
            self._home(self._home_axes, "O ")

    def home(self, axes: str) -> None:
        """Home those of the axes that have switches; all of them where the position of all was lost.

        Raises:
            InstrumentError: if it is not acknowledged, or the position was lost of an axis that has no switch.
        """
        with self._moving():
            if self._lost and set(self._home_axes) != set(AXES):
                self.check_position_known()
            wanted = self._home_axes if self._lost else "".join(axis for axis in axes if axis in self._home_axes)
            self._lost = ""
            self._home(wanted)
            self.look()

    def _home(self, axes: str, option: str = "") -> None:
        """z first, away from the objective; without R0 the firmware lifts it before it homes x and y."""
        self._sets_out(AXES)
        for together in (["z"], ["x", "y"]):
            if wanted := " ".join(axis.upper() for axis in together if axis in axes):
                self._command(f"G28 {option}R0 {wanted}", self._timeouts.home_s)

    def check_reach(self, axis: AxisName, units: tuple[float, float]) -> None:
        """Raise SettingsError if the firmware would cut a move short of these, in mm of its own."""
        lowest, highest = self._ends.get(axis, (-math.inf, math.inf))
        if units[0] < lowest - _REPORTED_WITHIN or units[1] > highest + _REPORTED_WITHIN:
            raise SettingsError(
                f"{axis}_limits_um are {units[0]:g} … {units[1]:g} mm of the board's, Marlin's software endstops "
                f"are at {lowest:g} … {highest:g} mm (M211)"
            )

    def steps_per_unit(self) -> tuple[float, float, float]:
        """Steps of each motor in a mm of the board's."""
        return self._steps_per_unit

    def position(self) -> Steps:
        """Where it stands, in steps."""
        for _ in range(3):  # an answer that noise has spoilt is asked for again
            if (stands := self._position(self._timeouts.answer_s)) is not None:
                return stands
        raise InstrumentError(f"board on {self.port}: Marlin does not tell its position (M114)")

    def _position(self, timeout_s: float) -> Steps | None:
        answer = self._command_or_nothing("M114", timeout_s)
        found = _COUNT.search("\n".join(answer)) if answer else None
        return found and (round(float(found[1])), round(float(found[2])), round(float(found[3])))

    def _check_left_alone(self) -> None:
        stands = self.position()
        if not _is_at(stands, dict(zip(AXES, self.stands, strict=True))):
            self._lose(f"it stands at {stands} steps, it was left at {self.stands}")

    def _drive(self, target: Mapping[AxisName, int]) -> None:
        per_unit = dict(zip(AXES, self._steps_per_unit, strict=True))
        words = "".join(f" {axis.upper()}{steps / per_unit[axis]:.5f}" for axis, steps in target.items())
        if self._command_or_nothing("G90") is None:
            self._command("G90")
        self._sets_out(target)
        for _ in range(2):  # what was lost on the line is sent again
            self._command_or_nothing(f"G0{words} F{self._feed:g}")
            if self._arrives(target):
                return
        self._lose(f"it stands at {self.stands} steps, away from where it was sent")

    def _arrives(self, target: Mapping[AxisName, int]) -> bool:
        """Look until it stands still; whether it is there. To wait by M400 alone could not be broken off."""
        began_s = still_since_s = time.monotonic()
        before, answer_s = self.stands, self._timeouts.answer_s
        while time.monotonic() < began_s + self._timeouts.move_s:
            stands = self._position(answer_s)
            if stands is None:
                answer_s *= 2  # older firmwares answer only when the move has ended
            elif _is_at(stands, target):
                self._command_or_nothing("M400")
                self.look()
                return _is_at(self.stands, target)
            elif stands != before:
                before, still_since_s = stands, time.monotonic()
            elif time.monotonic() - still_since_s > _STANDING_S:
                return False
            self._pause(began_s)
        raise self._too_long()

    def _halt(self) -> None:
        with self._lock:
            self._discard(_LATE_S)
            self._command("M410")
            self._discard(_LATE_S)

    def switch(self, command: str) -> None:
        """Carry out a command that switches an output. Raises InstrumentError."""
        self._command(command, self._timeouts.move_s)

    def put_out(self, command: str) -> None:
        """Switch an output off; a move, after which the firmware would do so, is stopped first."""
        with self._lock:
            if self._moves_now():
                self._note_lost("its motion was stopped")
                self._halt()
            self._command(command, self._timeouts.move_s)

    def _moves_now(self) -> bool:
        """Whether it is elsewhere a moment later; one that does not say may be moving."""
        before = self._position(self._timeouts.answer_s)
        time.sleep(_LATE_S)
        return before is None or before != self._position(self._timeouts.answer_s)

    def _command(self, command: str, timeout_s: float | None = None) -> list[str]:
        answer = self._command_or_nothing(command, timeout_s)
        if answer is None:
            raise InstrumentError(
                f"board on {self.port}: {command} was not acknowledged within "
                f"{timeout_s or self._timeouts.answer_s:g} s"
            )
        if unknown := [line for line in answer if "Unknown command" in line]:
            raise InstrumentError(f"board on {self.port} does not know the command: {unknown[0]}")
        return answer

    def _command_or_nothing(self, command: str, timeout_s: float | None = None) -> list[str] | None:
        return self._ask(command + "\n", timeout_s or self._timeouts.answer_s, _is_end)

    def _is_busy(self, line: str) -> bool:
        return line.startswith("echo:busy")

    def _watch(self, line: str) -> None:
        if self._awake:
            if line.endswith(self.banner):
                self._note_lost(RESTARTED)
            if "kill()" in line or "halted" in line.lower():
                self._note_lost(f"it has halted itself ({line[:80]}); switch it off and on")


def _is_at(stands: Steps, target: Mapping[AxisName, int]) -> bool:
    """To a step, as the firmware rounds."""
    found = dict(zip(AXES, stands, strict=True))
    return all(abs(found[axis] - steps) <= 1 for axis, steps in target.items())


def _software_endstops(answer: str) -> dict[AxisName, tuple[float, float]]:
    """Of each axis, in mm; none where they are switched off, or not told."""
    lowest, highest = _LEAST.search(answer), _MOST.search(answer)
    if lowest is None or highest is None or _OFF.search(answer):
        return {}
    return {axis: (float(lowest[n]), float(highest[n])) for n, axis in enumerate(AXES, 1)}


def _is_end(line: str) -> bool:
    return line == "ok" or line.startswith("ok ")
