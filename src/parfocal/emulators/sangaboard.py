"""An emulated Sangaboard with firmware 1: relative moves in steps, and an LED."""

from __future__ import annotations

from parfocal.emulators.firmware import Faults, Firmware, Motors
from parfocal.emulators.stand import Stand

UM_PER_STEP = (0.1, 0.1, 0.05)
STEP_DELAY_US = 100


class SangaboardFirmware(Firmware):
    """The board of an OpenFlexure microscope.

    Args:
        stand: what it moves.
        faults: what goes wrong.
        blocking: whether it is of the older kind, which answers a move when it has ended and knows no LED.
    """

    def __init__(self, stand: Stand, faults: Faults, *, blocking: bool = False) -> None:
        rate = 1e6 / STEP_DELAY_US
        super().__init__(Motors(stand, UM_PER_STEP, (rate, rate, rate)), faults)
        self._is_old = blocking
        self._blocks = True
        self._led = "0.00"

    def boot(self) -> None:
        """Greet."""
        self._blocks = True
        self._led = "0.00"
        self.say("Sangaboard v0.5.1" if self._is_old else "Sangaboard Firmware v1.0.4")

    def carry_out(self, line: str) -> None:
        """One command."""
        word, _, rest = line.partition(" ")
        if word == "version":
            self.say("Sangaboard v0.5.1" if self._is_old else "Sangaboard Firmware v1.0.4")
        elif word in ("p", "p?"):
            self.say(" ".join(map(str, self.motors.steps)))
        elif word in ("mr", "mrx", "mry", "mrz"):
            self._move(word, [int(number) for number in rest.split()])
        elif word == "zero":
            self.motors.origin_um = self.stand.place_um
            self.say("position reset to 0 0 0")
        elif word in ("dt?", "dt"):
            self.say(f"minimum step delay {STEP_DELAY_US}")
        elif self._is_old or not self._new(word, rest):
            self.say("Type 'help' for a list of commands.")

    def alarm(self) -> None:
        """It has no alarms: it just stops."""
        self.stop()
        if self._blocks:
            self.say("stopped")

    def when_idle(self) -> None:
        """A blocking move has ended."""
        if self._blocks:
            self.acknowledge("done.")

    def _new(self, word: str, rest: str) -> bool:
        if word == "blocking_moves":
            self._blocks = not rest.startswith("f")
            self.say("done.")
        elif word == "moving?":
            self.say("true" if self.is_busy else "false")
        elif word == "stop":
            self.stop()
            self.say("Move aborted")
        elif word == "led_cc?":
            self.say(f"CC LED:{self._led}")
        elif word == "led_cc":
            self._led = rest
            self.stand.switch(float(rest) > 0)
            self.say("done.")
        else:
            return False
        return True

    def _move(self, word: str, ways: list[int]) -> None:
        if word != "mr":
            ways = [ways[0] if word[2] == axis else 0 for axis in "xyz"]
        x, y, z = (steps + way for steps, way in zip(self.motors.steps, ways, strict=True))
        if not self.stand.fits(self.motors.place((x, y, z))):
            self.alarm()
            return
        self.queue((x, y, z))
        if not self._blocks:
            self.acknowledge("done.")
