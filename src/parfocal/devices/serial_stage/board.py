"""What all boards have in common: commands and answers, a restart that is noticed, moves in whole steps."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from parfocal.devices.serial_stage.line import SerialLine
from parfocal.devices.stepped import AXES, AxisName, Steps
from parfocal.errors import DisconnectedError, InstrumentError


@dataclass(frozen=True)
class Timeouts:
    """How long a board may take, in s.

    Attributes:
        wake_s: from opening the port to the first answer; boards restart when their port is opened.
        answer_s: to acknowledge a command.
        move_s: for one move.
        home_s: to find its home switches.
    """

    wake_s: float = 6.0
    answer_s: float = 1.0
    move_s: float = 30.0
    home_s: float = 120.0


class Board(ABC):
    """A motion board at the end of a serial line. Its methods may be called from several threads.

    Args:
        line: the open port.
        timeouts: how long it may take.
    """

    banner: str
    """What the firmware says when it starts; anywhere in a line, as noise may precede it."""

    def __init__(self, line: SerialLine, timeouts: Timeouts) -> None:
        self._line = line
        self._timeouts = timeouts
        self._lock = threading.RLock()
        self._lost = ""
        self._awake = False
        self._owed: tuple[float, Callable[[str], bool]] | None = None
        self._stands: Steps = (0, 0, 0)

    @property
    def port(self) -> str:
        """Name of the port."""
        return self._line.port

    @property
    def stands(self) -> Steps:
        """Where it stood when that was last read: after opening, homing and every move."""
        return self._stands

    @property
    def is_gone(self) -> bool:
        """Whether the port was unplugged."""
        return self._line.is_gone

    @abstractmethod
    def wake(self) -> None:
        """Wait until it answers. Raises InstrumentError if it does not, or speaks another language."""

    @abstractmethod
    def learn(self) -> None:
        """Read of its settings what moves need; it may have to stand still for that. Raises InstrumentError."""

    @abstractmethod
    def home_if_needed(self) -> None:
        """Drive to the home switches, where that is needed to know the position. Raises InstrumentError."""

    @abstractmethod
    def home(self, axes: str) -> None:
        """Drive to the home switches of these axes at least, and count from there. Raises InstrumentError."""

    @abstractmethod
    def steps_per_unit(self) -> tuple[float, float, float]:
        """Steps of each motor in one unit of the board's coordinates."""

    @abstractmethod
    def position(self) -> Steps:
        """Where it stands, in steps, as the board says. Raises InstrumentError if it does not."""

    @abstractmethod
    def move(self, target: Mapping[AxisName, int]) -> None:
        """Drive the named axes to these steps, and return when they stand there. Raises InstrumentError."""

    @abstractmethod
    def switch(self, command: str) -> None:
        """Carry out a command that switches an output. Raises InstrumentError."""

    @abstractmethod
    def put_out(self, command: str) -> None:
        """The same for a command that puts the lamp out, in any state of the board in which that can be done."""

    def look(self) -> None:
        """Ask where it stands, and keep that. Raises InstrumentError if it does not say."""
        self._stands = self.position()

    def keep(self, target: Mapping[AxisName, int]) -> None:
        """It was found to stand there."""
        x, y, z = (target.get(axis, stands) for axis, stands in zip(AXES, self._stands, strict=True))
        self._stands = x, y, z

    def close(self) -> None:
        """Let go of the port."""
        self._line.close()

    # What follows is for the boards.

    def _ask(self, command: str, timeout_s: float, ends: Callable[[str], bool]) -> list[str] | None:
        """Send a line and gather what comes up to and with a line that ends the answer; None if none comes."""
        with self._lock:
            self._await_owed()
            self._discard()
            self._line.send(command)
            self._owed = (timeout_s, ends)  # stays so if the wait is interrupted by Ctrl-C
            try:
                answer = self._gather(timeout_s, ends)
            except InstrumentError:
                self._owed = None
                raise
            self._owed = None
            return answer

    def _await_owed(self) -> None:
        """An interrupted command is still answered: that answer is not taken for the next one's."""
        owed, self._owed = self._owed, None
        if owed is not None:
            self._gather(*owed)

    def _gather(self, timeout_s: float, ends: Callable[[str], bool]) -> list[str] | None:
        until_s = time.monotonic() + timeout_s
        lines: list[str] = []
        while (left_s := until_s - time.monotonic()) > 0:
            line = self._line.read(left_s)
            if line is None:
                break
            self._watch(line)
            lines.append(line)
            if ends(line):
                return lines
            if self._is_busy(line):
                until_s = time.monotonic() + timeout_s
        return None

    def _discard(self) -> None:
        """Read what came unasked, such as the answer to a command that was interrupted."""
        while (line := self._line.read(0.0)) is not None:
            self._watch(line)

    def _watch(self, line: str) -> None:
        """Notice in any line that the board restarted, or stopped for a reason of its own."""
        if self._awake and not self._lost and self.banner in line:
            self._lose("the board restarted, by itself or because its power failed")

    def _is_busy(self, _line: str) -> bool:
        """Whether a line says that the board is still at it."""
        return False

    def _lose(self, why: str) -> None:
        self._lost = why
        raise self._lost_error()

    def _lost_error(self) -> DisconnectedError:
        return DisconnectedError(
            f"board on {self.port}: {self._lost}; its position is not known any more: open the instrument again, "
            "which homes it, or set its zero where it cannot home"
        )

    def check_position_known(self) -> None:
        """Raise DisconnectedError if the board restarted or stopped, so that it does not stand where it says."""
        if self._lost:
            raise self._lost_error()

    def _wait_for_first_answer(self, question: str, ends: Callable[[str], bool], speaks: str) -> list[str]:
        """Ask again and again until the board, which may have restarted with the opening of its port, answers."""
        until_s = time.monotonic() + self._timeouts.wake_s
        heard: list[str] = []

        def listen(line: str) -> bool:
            heard.append(line)
            return ends(line)

        while time.monotonic() < until_s:
            answer = self._ask(question, min(0.5, self._timeouts.wake_s), listen)
            if answer is not None:
                self._discard()
                self._awake = True
                return answer
        said = f"it said {heard[-1][:60]!r}" if any(heard) else "nothing came"
        raise InstrumentError(
            f"serial port {self.port}: no {speaks} answers within {self._timeouts.wake_s:g} s, {said}: "
            "is it this board, its baud rate right, and its power on?"
        )
