"""An emulated board with Marlin 2: every line acknowledged, M400 waits, busy reports, it stops when it is killed."""

from __future__ import annotations

import re
import time

from parfocal.emulators.firmware import Faults, Firmware, Motors, Steps
from parfocal.emulators.stand import Stand

STEPS_PER_MM = (400.0, 400.0, 10_000.0)
LARGEST_MM_PER_S = (20.0, 20.0, 2.0)
LIFT_STEPS = 500
_WORD = re.compile(r"([A-Z])\s*(-?\d*\.?\d+)?")
_BUSY_S = 2.0


class MarlinFirmware(Firmware):
    """Marlin on a stage whose home is in its middle.

    Args:
        stand: what it moves.
        faults: what goes wrong.
    """

    def __init__(self, stand: Stand, faults: Faults) -> None:
        super().__init__(Motors.of_machine(stand, STEPS_PER_MM, LARGEST_MM_PER_S), faults)
        self._planned: Steps = (0, 0, 0)
        self._homed: set[str] = set()
        self._is_halted = False
        self._waits: list[str] = []
        self._held: list[str] = []
        self._said_busy_s = 0.0

    def boot(self) -> None:
        """Greet."""
        self._homed.clear()
        self._is_halted = False
        self._planned = self.motors.steps
        self._waits.clear()
        self._held.clear()
        self.say("start")
        self.say("echo:Marlin 2.1.2")
        self.say("echo:  G21    ; (mm)")

    def carry_out(self, line: str) -> None:
        """One command; while one waits for motion to end, those after it are held."""
        if self._is_halted:
            return
        if self._waits:
            self._held.append(line)
        elif line:
            self._command(line.partition(";")[0].upper())

    def advance(self) -> None:
        """While something waits, say now and then that it does."""
        super().advance()
        if self._waits and time.monotonic() - self._said_busy_s > _BUSY_S:
            self._said_busy_s = time.monotonic()
            self.say("echo:busy: processing")

    def alarm(self) -> None:
        """It halts itself."""
        self.stop()
        self.stand.switch(False)
        self._is_halted = True
        self.say("Error:Printer halted. kill() called!")

    def when_idle(self) -> None:
        """What waited for the end of motion is acknowledged, and what was held is carried out."""
        waited, self._waits = self._waits, []
        for command in waited:
            self._output(command)
            self.acknowledge()
        held, self._held = self._held, []
        for line in held:
            self.carry_out(line)

    def _command(self, line: str) -> None:
        words = _WORD.findall(line)
        code = f"{words[0][0]}{float(words[0][1] or 0):g}" if words else ""
        axes = {letter: float(number) for letter, number in words[1:] if letter in "XYZ" and number}
        if code in ("G0", "G1"):
            self._plan(axes)
            self.acknowledge()
        elif code == "G28":
            self._home({letter for letter, _ in words[1:]}, dict(words[1:]).get("R") != "0")
        elif code in ("M400", "M106", "M107", "M3", "M5", "M42"):
            self._wait(line)
        elif code == "M114":
            self._say_position()
        elif code == "M410":
            self.stop()
            self._planned = self.motors.steps
            self.acknowledge()
        elif code == "M211":
            self.say("echo:Soft endstops: On  Min:  X-12.00 Y-12.00 Z-0.40   Max:  X12.00 Y12.00 Z0.40")
            self.acknowledge()
        elif code == "M503":
            x, y, z = STEPS_PER_MM
            self.say(f"echo:  M92 X{x:.2f} Y{y:.2f} Z{z:.2f} E93.00")
            self.acknowledge()
        elif code in ("G90", "G21", "M92"):
            self.acknowledge()
        else:
            self.say(f'echo:Unknown command: "{line}"')
            self.acknowledge()

    def _say_position(self) -> None:
        parts = zip("XYZ", self._planned, STEPS_PER_MM, strict=True)
        planned = " ".join(f"{letter}:{steps / per_mm:.2f}" for letter, steps, per_mm in parts)
        counts = " ".join(f"{letter}:{steps}" for letter, steps in zip("XYZ", self.motors.steps, strict=True))
        self.say(f"{planned} E:0.00 Count {counts}")
        self.acknowledge()

    def _plan(self, axes: dict[str, float]) -> None:
        parts = zip("XYZ", self._planned, STEPS_PER_MM, strict=True)
        x, y, z = (round(axes[letter] * per_mm) if letter in axes else steps for letter, steps, per_mm in parts)
        self._planned = (x, y, z)
        self.queue(self._planned)

    def _home(self, letters: set[str], lifts: bool) -> None:
        """Home the axes named; before x and y are, z is lifted if it may."""
        if "O" in letters and self._homed >= letters & set("XYZ"):
            self.acknowledge()
            return
        homed = letters & set("XYZ") or set("XYZ")
        parts = zip("XYZ", self.motors.origin_um, strict=True)
        x, y, z = (0.0 if letter in homed else origin_um for letter, origin_um in parts)
        self.motors.origin_um = x, y, z
        ends = list(self.motors.steps)
        self._wait_with("G28")
        if lifts and homed & set("XY"):
            ends[2] += LIFT_STEPS
            self.queue((ends[0], ends[1], ends[2]))
        self._homed |= homed
        x_steps, y_steps, z_steps = (0 if letter in homed else end for letter, end in zip("XYZ", ends, strict=True))
        self._planned = x_steps, y_steps, z_steps
        self.queue(self._planned)

    def _wait(self, line: str) -> None:
        if self.is_busy:
            self._wait_with(line)
            return
        self._output(line)
        self.acknowledge()

    def _wait_with(self, line: str) -> None:
        self._waits.append(line)
        self._said_busy_s = time.monotonic()

    def _output(self, line: str) -> None:
        words = _WORD.findall(line)
        code, values = "".join(words[0]), dict(words[1:])
        if code in ("M106", "M3", "M42"):
            self.stand.switch(float(values.get("S") or 255) > 0)
        elif code in ("M107", "M5"):
            self.stand.switch(False)
