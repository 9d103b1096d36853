"""An emulated board with GRBL 1.1: status reports, locked until it is homed, alarms, soft limits."""

from __future__ import annotations

import re

from parfocal.emulators.firmware import Faults, Firmware, Motors, Steps
from parfocal.emulators.stand import Stand

STEPS_PER_MM = (400.0, 400.0, 10_000.0)
TRAVEL_MM = (24.0, 24.0, 0.8)
RATE_MM_PER_MIN = (1200.0, 1200.0, 120.0)
_WORD = re.compile(r"([A-Z])\s*(-?\d*\.?\d+)")
_REAL_TIME = "?!~\x18"


class GrblFirmware(Firmware):
    """GRBL on a stage of 24 × 24 × 0.8 mm, homed in its middle.

    Args:
        stand: what it moves.
        faults: what goes wrong.
    """

    def __init__(self, stand: Stand, faults: Faults) -> None:
        mm_per_s = (RATE_MM_PER_MIN[0] / 60, RATE_MM_PER_MIN[1] / 60, RATE_MM_PER_MIN[2] / 60)
        super().__init__(Motors.of_machine(stand, STEPS_PER_MM, mm_per_s), faults)
        self._is_locked = True
        self._planned: Steps = (0, 0, 0)
        self._after_motion: list[str] = []
        self.is_held = False
        self.settings: dict[int, float] = {10: 1.0, 13: 0.0, 20: 1.0, 21: 1.0, 22: 1.0, 32: 0.0}

    def boot(self) -> None:
        """Greet; with homing switched on a board is locked until it is homed."""
        self._is_locked = self.settings[22] == 1
        self.is_held = False
        self._planned = self.motors.steps
        self._after_motion.clear()
        self.say("")
        self.say("Grbl 1.1h ['$' for help]")
        self.say("[MSG:'$H'|'$X' to unlock]")

    def receive(self, text: str) -> None:
        """Characters of real-time commands act at once, wherever they stand."""
        for character in text:
            if character == "?":
                self.say(self._status())
            elif character == "\x18":
                self._soft_reset()
            elif character == "!":
                self._hold()
            elif character not in _REAL_TIME:
                super().receive(character.replace("\r", "\n"))

    def carry_out(self, line: str) -> None:
        """One line of G-code or a `$` command."""
        if self.is_held:
            return  # kept for when it is let go on
        if line.startswith("$"):
            self._system(line)
        elif self._is_locked and line:
            self.acknowledge("error:9")
        else:
            self._gcode(line)

    def alarm(self) -> None:
        """A limit switch was hit."""
        self.stop()
        self._is_locked = True
        self.stand.switch(False)
        self.say("ALARM:1")
        self.say("[MSG:Reset to continue]")

    def when_idle(self) -> None:
        """Commands that wait for the end of motion are acknowledged."""
        for command in self._after_motion:
            self._output(command)
            self.acknowledge()
        self._after_motion.clear()

    def _hold(self) -> None:
        """Stand still, and keep the position."""
        self.stop()
        self.is_held = not self._is_locked

    def _soft_reset(self) -> None:
        was_busy = self.is_busy
        self.is_held = False
        self.stop()
        self.stand.switch(False)
        if was_busy:
            self.say("ALARM:3")
        locked = self._is_locked or was_busy
        self._planned = self.motors.steps
        self.say("Grbl 1.1h ['$' for help]")
        self._is_locked = locked
        if locked:
            self.say("[MSG:'$H'|'$X' to unlock]")

    def _system(self, line: str) -> None:
        if self.is_busy:
            self.acknowledge("error:8")
        elif line == "$H":
            self.motors.origin_um = (0.0, 0.0, 0.0)
            self._is_locked = False
            self._planned = (0, 0, 0)
            self._after_motion.append("")
            self.queue((0, 0, 0))
        elif line == "$X":
            self._is_locked = False
            self.say("[MSG:Caution: Unlocked]")
            self.acknowledge()
        elif line == "$$":
            for number, value in self._settings().items():
                self.say(f"${number}={value:.3f}" if number >= 100 else f"${number}={value:g}")
            self.acknowledge()
        elif line == "$I":
            self.say("[VER:1.1h.20190825:]")
            self.acknowledge()
        else:
            self.acknowledge("error:3")

    def _settings(self) -> dict[int, float]:
        settings = dict(self.settings)
        for first, values in ((100, STEPS_PER_MM), (110, RATE_MM_PER_MIN), (130, TRAVEL_MM)):
            settings |= {first + axis: value for axis, value in enumerate(values)}
        return settings

    def _gcode(self, line: str) -> None:
        words = _WORD.findall(line.upper())
        codes = {f"{letter}{float(number):g}" for letter, number in words if letter in "GM"}
        if not codes <= {"G0", "G1", "G4", "G21", "G53", "G90", "M3", "M4", "M5", "M7", "M8", "M9"}:
            self.acknowledge("error:20")
            return
        axes = {letter: float(number) for letter, number in words if letter in "XYZ"}
        if axes and not self._plan(axes):
            return
        outputs = [code for code in ("M3", "M4", "M5", "M7", "M8", "M9") if code in codes]
        if (outputs or "G4" in codes) and self.is_busy:
            self._after_motion.append(outputs[0] if outputs else "")
            return
        if outputs:
            self._output(outputs[0])
        self.acknowledge()

    def _plan(self, axes: dict[str, float]) -> bool:
        """Queue a move; False if it leaves the soft limits, which is an alarm."""
        parts = zip("XYZ", self._planned, STEPS_PER_MM, TRAVEL_MM, strict=True)
        target: list[int] = []
        for letter, steps, per_mm, travel_mm in parts:
            mm = axes.get(letter, steps / per_mm)
            if abs(mm) > travel_mm / 2:
                self._is_locked = True
                self.say("ALARM:2")
                return False
            target.append(round(mm * per_mm))
        self._planned = (target[0], target[1], target[2])
        self.queue(self._planned)
        return True

    def _output(self, command: str) -> None:
        if command:
            self.stand.switch(command not in ("M5", "M9"))

    def _status(self) -> str:
        state = "Alarm" if self._is_locked else "Hold:0" if self.is_held else "Run" if self.is_busy else "Idle"
        x, y, z = (steps / per_mm for steps, per_mm in zip(self.motors.steps, STEPS_PER_MM, strict=True))
        return f"<{state}|MPos:{x:.3f},{y:.3f},{z:.3f}|FS:0,0>"
