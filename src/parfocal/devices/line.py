"""The line to one device: no call waits for ever, what may be is repeated, what dropped off is opened again."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from parfocal.devices.base import Clock
from parfocal.devices.simulated import VirtualClock
from parfocal.devices.turn import Call
from parfocal.errors import DeviceTimeoutError, DisconnectedError, InstrumentError, LimitError, SettingsError

_Device = TypeVar("_Device")
_Answer = TypeVar("_Answer")

Beat = Callable[[], None]

OPENS_WITHIN_S = 60.0
"""How long opening a device again may take, in s: longer than it is waited for to appear, shorter than a scan may be
silent."""


def no_beat() -> None:
    """Nobody listens for signs of life."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long calls of a device may take, and how often one that may be repeated is tried again.

    Attributes:
        snap_s: one exposure, in s.
        z_move_s: one move of z, in s.
        xy_move_s: one move of x and y, in s; a slow stage needs half a minute from one end to the other.
        lamp_s: switching the lamp, in s.
        repeats: further tries after the first.

    Raises:
        SettingsError: if a time is not above 0 s, or repeats is below 0.
    """

    snap_s: float = 10.0
    z_move_s: float = 20.0
    xy_move_s: float = 60.0
    lamp_s: float = 5.0
    repeats: int = 2

    def __post_init__(self) -> None:
        for name in ("snap_s", "z_move_s", "xy_move_s", "lamp_s"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} {getattr(self, name):g} s is not above 0 s")
        if self.repeats < 0:
            raise SettingsError(f"{self.repeats} repeats are fewer than 0")


class Line(Generic[_Device]):
    """Calls one device, each in its time.

    On a wall clock a call runs on the device's own thread, and one that does not come back is left behind on it. On a
    modelled clock calls take no time to wait for: what one has spent is compared with what it may.

    Args:
        name: of the device, for messages.
        device: the device.
        clock: instrument time.
        repeats: further tries of a call that may be repeated.
        beat: called before each try: a sign of life. What it raises ends the call, and is not tried again.
        reopen: opens the device again after it dropped off, and returns it; None if that cannot be done.
    """

    def __init__(
        self,
        name: str,
        device: _Device,
        clock: Clock,
        *,
        repeats: int = 2,
        beat: Beat = no_beat,
        reopen: Callable[[], _Device] | None = None,
    ) -> None:
        self.name = name
        self.device = device
        self.openings = 1
        """How often it was opened: after one more, what was known of it may no longer hold."""
        self._clock = clock
        self._repeats = repeats
        self._beat = beat
        self._reopen = reopen
        self._hand: _Hand | None = None if isinstance(clock, VirtualClock) else _Hand(name)

    def call(
        self, what: str, action: Callable[[_Device], _Answer], timeout_s: float, *, unheard: bool = False
    ) -> _Answer:
        """Do something with the device that may be done twice.

        Args:
            what: is done, for messages.
            action: does it. An InstrumentError means that it did not work; an OSError, that the device dropped off.
            timeout_s: how long one try may take.
            unheard: whether it is to be done also where nobody hears the sign of life any more.

        Raises:
            LimitError: if the device refuses a target; that is not repeated.
            DisconnectedError: if the device dropped off and cannot be opened again.
            DeviceTimeoutError: if it does not answer, and cannot be opened again.
            InstrumentError: if no try worked.
        """
        for _ in range(self._repeats):
            self._give_beat(unheard)
            try:
                return self._once(what, action, timeout_s)
            except LimitError:
                raise
            except (DisconnectedError, DeviceTimeoutError) as error:
                self._give_beat(unheard)
                self._open_again(error)
            except InstrumentError:
                continue
        self._give_beat(unheard)
        try:
            return self._once(what, action, timeout_s)
        except (LimitError, DisconnectedError, DeviceTimeoutError):
            raise
        except InstrumentError as error:
            raise InstrumentError(f"{self.name}: {what} failed {self._repeats + 1} times: {error}") from error

    def _give_beat(self, unheard: bool) -> None:
        with suppress(InstrumentError) if unheard else nullcontext():
            self._beat()

    def _once(self, what: str, action: Callable[[_Device], _Answer], timeout_s: float) -> _Answer:
        device = self.device
        try:
            if self._hand is not None:
                return self._hand.do(what, lambda: action(device), timeout_s)
            began_s = self._clock.now_s
            answer = action(device)
        except OSError as error:
            raise DisconnectedError(f"{self.name}: {what}: {error}") from error
        if self._clock.now_s - began_s > timeout_s:
            raise _too_late(self.name, what, timeout_s)
        return answer

    def _open_again(self, error: InstrumentError) -> None:
        if self._reopen is None:
            raise error
        hand = None if self._hand is None else _Hand(self.name)  # the old one may hang in a call, or in letting go
        try:
            self.device = self._reopen() if hand is None else hand.do("opening", self._reopen, OPENS_WITHIN_S)
        except (OSError, InstrumentError) as failure:
            raise DisconnectedError(f"{error}; and it cannot be opened again: {failure}") from failure
        self.openings += 1
        self._hand = hand


class _Hand:
    """A thread on which one device's calls run, one after the other. It does not keep the program from ending."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._last: Future[Any] | None = None
        threading.Thread(target=self._work, name=f"device {name}", daemon=True).start()

    def do(self, what: str, action: Callable[[], _Answer], timeout_s: float) -> _Answer:
        """Do it, and wait at most so long, beside the time that it waits for its turn on a board it shares.

        Once given up, be it by Ctrl-C, it is told so: a move that has not begun does not, one that has is stopped.
        """
        if self._last is not None and not self._last.done():
            raise DeviceTimeoutError(f"{self._name}: {what}: an earlier call has not come back yet")
        call = Call()
        self._last = job = Future[Any]()
        self._jobs.put((job, _as(call, action)))
        try:
            answer: _Answer = _result(job, call, timeout_s)
        except TimeoutError as error:
            if job.done():  # the driver's own
                raise
            raise _too_late(self._name, what, timeout_s) from error
        finally:
            call.given_up.set()
        return answer

    def _work(self) -> None:
        while True:
            job, action = self._jobs.get()
            try:
                job.set_result(action())
            except BaseException as error:  # noqa: BLE001 - goes to whoever waits for the answer
                job.set_exception(error)


def _as(call: Call, action: Callable[[], _Answer]) -> Callable[[], _Answer]:
    def run() -> _Answer:
        with call.here():
            return action()

    return run


def _result(job: Future[Any], call: Call, timeout_s: float) -> Any:
    """Raises TimeoutError if there is none within timeout_s of the call's own time."""
    until_s = time.monotonic() + timeout_s
    while not job.done() and (left_s := until_s + call.queued_s - time.monotonic()) > 0:
        wait([job], left_s)
    return job.result(0.0)


def _too_late(name: str, what: str, timeout_s: float) -> DeviceTimeoutError:
    return DeviceTimeoutError(f"{name}: {what} did not end within {timeout_s:g} s")
