"""What emulated firmwares have in common: lines in, lines out, moves one after the other, and faults on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from parfocal.emulators.stand import Place, Stand

Steps = tuple[int, int, int]


@dataclass
class Faults:
    """What goes wrong, and when. Each happens once; moves are counted from the start.

    Attributes:
        reset_in_move: number of the move in the middle of which the board restarts.
        alarm_in_move: number of the move in the middle of which it stops with an alarm.
        unplug_in_move: number of the move in the middle of which its cable is pulled.
        lost_answers: how many of the next acknowledgements do not arrive.
        garbage: how many of the next lines come after some noise.
    """

    reset_in_move: int | None = None
    alarm_in_move: int | None = None
    unplug_in_move: int | None = None
    lost_answers: int = 0
    garbage: int = 0


@dataclass
class Motors:
    """Steps of a stage's motors.

    Attributes:
        stand: what they move.
        um_per_step: µm of a step of x, y and z.
        steps_per_s: fastest rate of each.
    """

    stand: Stand
    um_per_step: tuple[float, float, float]
    steps_per_s: tuple[float, float, float]
    origin_um: Place = field(init=False)

    def __post_init__(self) -> None:
        self.origin_um = self.stand.place_um

    @classmethod
    def of_machine(
        cls, stand: Stand, steps_per_mm: tuple[float, float, float], mm_per_s: tuple[float, float, float]
    ) -> Motors:
        """Motors as the settings of a machine give them."""
        um_x, um_y, um_z = (1000 / steps for steps in steps_per_mm)
        x, y, z = (steps * speed for steps, speed in zip(steps_per_mm, mm_per_s, strict=True))
        return cls(stand, (um_x, um_y, um_z), (x, y, z))

    @property
    def steps(self) -> Steps:
        """Where they are, counted from where the board was switched on."""
        place = zip(self.stand.place_um, self.origin_um, self.um_per_step, strict=True)
        x, y, z = (round((um - origin) / per_step) for um, origin, per_step in place)
        return x, y, z

    def place(self, steps: Steps) -> Place:
        """The place in µm that lies so many steps away."""
        parts = zip(steps, self.origin_um, self.um_per_step, strict=True)
        x, y, z = (count * per_step + origin for count, origin, per_step in parts)
        return x, y, z

    def go(self, target: Steps) -> None:
        """Begin a move."""
        ways = (abs(b - a) / rate for a, b, rate in zip(self.steps, target, self.steps_per_s, strict=True))
        self.stand.start(self.place(target), max(ways))


class Firmware(ABC):
    """A firmware that is spoken to in lines.

    Args:
        motors: what it moves.
        faults: what goes wrong.
    """

    def __init__(self, motors: Motors, faults: Faults) -> None:
        self.motors = motors
        self.faults = faults
        self.stand = motors.stand
        self.write: Callable[[str], None] = lambda _: None
        self.unplug: Callable[[], None] = lambda: None
        self._waiting: deque[Steps] = deque()
        self._text = ""
        self._moves = 0
        self._is_under_way = False
        self._breaks_down: Callable[[], None] | None = None

    @abstractmethod
    def boot(self) -> None:
        """Start: outputs off, and a greeting."""

    @abstractmethod
    def carry_out(self, line: str) -> None:
        """Carry out a command."""

    @abstractmethod
    def alarm(self) -> None:
        """Stop for a reason of its own."""

    @abstractmethod
    def when_idle(self) -> None:
        """The last move has ended."""

    def receive(self, text: str) -> None:
        """Take characters from the line."""
        self._text += text
        while "\n" in self._text:
            line, _, self._text = self._text.partition("\n")
            self.carry_out(line.strip())

    def advance(self) -> None:
        """Time has passed: end moves, begin waiting ones."""
        if self._breaks_down is not None:
            breaks_down, self._breaks_down = self._breaks_down, None
            breaks_down()
            return
        if self.stand.is_moving:
            return
        if self._waiting:
            self._begin(self._waiting.popleft())
        elif self._is_under_way:
            self._is_under_way = False
            self.when_idle()

    @property
    def is_busy(self) -> bool:
        """Whether it moves, or is about to."""
        return self._is_under_way or bool(self._waiting)

    def queue(self, target: Steps) -> None:
        """A move after those that wait already."""
        self._waiting.append(target)
        self.advance()

    def reset(self) -> None:
        """Restart, as after a power failure: motion stops, where it was is forgotten, the lamp goes off."""
        self.stop()
        self.stand.switch(False)
        self.motors.origin_um = self.stand.place_um
        self.boot()

    def stop(self) -> None:
        """Stop at once; what waited is forgotten."""
        self._waiting.clear()
        self._is_under_way = False
        self.stand.halt()

    def say(self, line: str) -> None:
        """Send a line."""
        if self.faults.garbage > 0:
            self.faults.garbage -= 1
            self.write("\x7f\\%~ x>\r\n")
        self.write(line + "\r\n")

    def acknowledge(self, line: str = "ok") -> None:
        """Send an answer that may get lost."""
        if self.faults.lost_answers > 0:
            self.faults.lost_answers -= 1
            return
        self.say(line)

    def _begin(self, target: Steps) -> None:
        self._moves += 1
        self._is_under_way = True
        happens = {
            self.faults.reset_in_move: self.reset,
            self.faults.alarm_in_move: self.alarm,
            self.faults.unplug_in_move: self.unplug,
        }.get(self._moves)
        if happens is None:
            self.motors.go(target)
            return
        steps = zip(self.motors.steps, target, strict=True)
        x, y, z = (round((a + b) / 2) for a, b in steps)
        self.motors.go((x, y, z))
        self._breaks_down = happens
