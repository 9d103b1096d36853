"""What all boards have in common: commands and answers, a restart that is noticed, moves in whole steps."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from parfocal.devices.serial_stage.line import SerialLine
from parfocal.devices.stepped import AXES, AxisName, Steps
from parfocal.devices.turn import check_wanted, turn
from parfocal.errors import DeviceTimeoutError, DisconnectedError, InstrumentError

_LISTEN_S = 0.05
_SILENCE_S = 0.3
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.05
RESTARTED = "the board restarted, by itself or because its power failed"


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

    One move at a time; between its questions the line is free for others, such as whoever puts the lamp out. A move
    that fails under way, takes too long or is given up is stopped, and the position is not believed any more.

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
        self._motion = threading.Lock()
        self._mover: int | None = None
        self._is_under_way = False
        self._lost = ""
        self._awake = False
        self._owed: tuple[float, Callable[[str], bool]] | None = None
        self._stands: Steps = (0, 0, 0)
        self._exact: frozenset[AxisName] = frozenset()

    @property
    def port(self) -> str:
        """Name of the port."""
        return self._line.port

    @property
    def stands(self) -> Steps:
        """Where it stood when that was last read: after opening, homing and every move."""
        return self._stands

    def stands_at(self, target: Mapping[AxisName, int]) -> bool:
        """Whether the named axes are known to stand at these steps, so that no move is needed."""
        stands = dict(zip(AXES, self._stands, strict=True))
        return all(axis in self._exact and stands[axis] == steps for axis, steps in target.items())

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
    def check_reach(self, axis: AxisName, units: tuple[float, float]) -> None:
        """Raise SettingsError if the firmware would not let an axis go so far.

        Args:
            axis: which.
            units: (lowest, highest) in its coordinates.
        """

    @abstractmethod
    def homes(self, axis: AxisName) -> bool:
        """Whether it has a home switch there."""

    @abstractmethod
    def position(self) -> Steps:
        """Where it stands, in steps, as the board says. Raises InstrumentError if it does not."""

    @abstractmethod
    def switch(self, command: str) -> None:
        """Carry out a command that switches an output. Raises InstrumentError."""

    @abstractmethod
    def put_out(self, command: str) -> None:
        """The same for a command that puts the lamp out, in any state of the board: a move under way is stopped."""

    @abstractmethod
    def _drive(self, target: Mapping[AxisName, int]) -> None:
        """Carry out a move: `_sets_out`, then wait until it has ended, and `_keep` where."""

    @abstractmethod
    def _check_left_alone(self) -> None:
        """Raise DisconnectedError if it stands elsewhere than it was left."""

    @abstractmethod
    def _halt(self) -> None:
        """Stop motion at once. Raises InstrumentError if the board does not answer."""

    def move(self, target: Mapping[AxisName, int]) -> None:
        """Drive the named axes to these steps, and return when they stand there.

        Raises:
            DisconnectedError: if it does not stand where it says, or did not arrive; the position is lost.
            DeviceTimeoutError: if it did not end in time and was stopped, or nobody waits for it any more.
            InstrumentError: if it was not begun; it may be tried again.
        """
        with self._moving():
            self.check_position_known()
            self._check_left_alone()
            self._drive(target)

    def look(self) -> None:
        """Ask where it stands, and keep that. Raises InstrumentError if it does not say."""
        self._keep(self.position(), AXES)

    def close(self) -> None:
        """Let go of the port."""
        self._line.close()

    # What follows is for the boards.

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """The turn of one move or homing."""
        with turn(self._motion, self._timeouts.move_s, f"board on {self.port}"):
            self._mover, self._is_under_way = threading.get_ident(), False
            try:
                yield
            except BaseException as error:
                self._break_off(error)
                raise
            finally:
                self._mover = None

    def _sets_out(self, axes: Iterable[AxisName]) -> None:
        """From here on these axes may move."""
        self._exact = self._exact - set(axes)
        self._is_under_way = True

    def _break_off(self, error: BaseException) -> None:
        """A move failed or was interrupted: stop it, and ask where that was."""
        self._mover = None
        if not self._is_under_way:
            return
        self._owed = None
        if not self._lost:
            self._lost = f"a move was broken off ({str(error) or type(error).__name__})"
            with suppress(InstrumentError):
                self._halt()
        with suppress(InstrumentError):
            self.look()
        self._exact = frozenset()

    def _keep(self, stands: Steps, exact: Iterable[AxisName]) -> None:
        """It was found to stand there; exact names the axes that were not just reported, rounded, but sent there."""
        self._stands, self._exact = stands, self._exact | set(exact)

    def _check_mover(self) -> None:
        """Raise in the thread that moves if the board has lost its place, or nobody waits for the move any more."""
        if self._mover == threading.get_ident():
            self.check_position_known()
            check_wanted()

    def _pause(self, began_s: float) -> None:
        """Between two questions about a move: short at first, longer in a long move."""
        time.sleep(min(max(0.2 * (time.monotonic() - began_s), _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S))
        self._check_mover()

    def _too_long(self) -> DeviceTimeoutError:
        return DeviceTimeoutError(
            f"board on {self.port}: a move did not end within {self._timeouts.move_s:g} s and was stopped"
        )

    def _ask(self, command: str, timeout_s: float, ends: Callable[[str], bool]) -> list[str] | None:
        """Send a line and gather what comes up to and with a line that ends the answer; None if none comes."""
        with self._lock:
            self._await_owed()
            self._discard()
            self._line.send(command)
            self._owed = (timeout_s, ends)  # stays so if the wait is broken off
            answer = self._gather(timeout_s, ends)
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
            line = self._line.read(min(left_s, _LISTEN_S))
            if line is not None:
                self._watch(line)
                lines.append(line)
            self._check_mover()
            if line is not None and ends(line):
                return lines
            if line is not None and self._is_busy(line):
                until_s = time.monotonic() + timeout_s
        return None

    def _discard(self, silence_s: float = 0.0) -> None:
        """Read what came unasked, such as a late answer, until nothing comes for so long."""
        while (line := self._line.read(silence_s)) is not None:
            self._watch(line)

    def _watch(self, line: str) -> None:
        """Notice in any line that the board restarted, or stopped for a reason of its own."""
        if self._awake and self.banner in line:
            self._note_lost(RESTARTED)

    def _is_busy(self, _line: str) -> bool:
        """Whether a line says that the board is still at it."""
        return False

    def _note_lost(self, why: str) -> None:
        """From here on the position is not believed; the thread that moves hears of it."""
        self._lost = self._lost or why

    def _lose(self, why: str) -> NoReturn:
        self._note_lost(why)
        raise self._lost_error()

    def _lost_error(self) -> DisconnectedError:
        return DisconnectedError(
            f"board on {self.port}: {self._lost}; its position is not known any more: open the instrument again, "
            "which homes it, or set its zero by hand where it cannot home"
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

        asked = 0
        while time.monotonic() < until_s:
            asked += 1
            answer = self._ask(question, min(0.5, self._timeouts.wake_s), listen)
            if answer is not None:
                self._discard(_SILENCE_S if asked > 1 else 0.0)  # the earlier questions may be answered yet
                self._awake = True
                return answer
        said = f"it said {heard[-1][:60]!r}" if any(heard) else "nothing came"
        raise InstrumentError(
            f"serial port {self.port}: no {speaks} answers within {self._timeouts.wake_s:g} s, {said}: "
            "is it this board, its baud rate right, and its power on?"
        )
