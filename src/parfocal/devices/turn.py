"""Calls that share one board: who waits for another one's move does not use up its own time, and what nobody waits for
any more does not begin, or is stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from parfocal.errors import DeviceTimeoutError, InstrumentError

_LOOK_S = 0.05
_here = threading.local()


class Call:
    """One call of a device, between the thread that waits for it and the one that it runs on."""

    def __init__(self) -> None:
        self.given_up = threading.Event()
        """Set once nobody waits for it any more."""
        self._queued_s = 0.0
        self._queues_since_s: float | None = None

    @property
    def queued_s(self) -> float:
        """How long it has waited for its turn, in s; that is not the device's fault."""
        since_s = self._queues_since_s
        return self._queued_s + (0.0 if since_s is None else time.monotonic() - since_s)

    @contextmanager
    def here(self) -> Iterator[None]:
        """What runs in the block, on this thread, is this call."""
        _here.call = self
        try:
            yield
        finally:
            _here.call = None

    @contextmanager
    def queued(self) -> Iterator[None]:
        """It waits for its turn in the block."""
        self._queues_since_s = time.monotonic()
        try:
            yield
        finally:
            self._queued_s, self._queues_since_s = self.queued_s, None


def check_wanted() -> None:
    """Raise DeviceTimeoutError if nobody waits any more for the call that runs on this thread."""
    call: Call | None = getattr(_here, "call", None)
    if call is not None and call.given_up.is_set():
        raise DeviceTimeoutError("the call was given up")


@contextmanager
def turn(lock: threading.Lock, timeout_s: float, name: str) -> Iterator[None]:
    """Hold a lock for the block, once whoever holds it now has finished.

    Args:
        lock: to be held.
        timeout_s: how long it is waited for.
        name: of what it guards, for the message.

    Raises:
        DeviceTimeoutError: if nobody waits any more for the call that runs on this thread.
        InstrumentError: if the lock was not free in time; the block was not begun.
    """
    _wait_for(lock, timeout_s, name)
    try:
        check_wanted()
        yield
    finally:
        lock.release()


def _wait_for(lock: threading.Lock, timeout_s: float, name: str) -> None:
    call: Call = getattr(_here, "call", None) or Call()
    until_s = time.monotonic() + timeout_s
    with call.queued():
        while not lock.acquire(timeout=_LOOK_S):
            check_wanted()
            if time.monotonic() > until_s:
                raise InstrumentError(f"{name}: another move did not end within {timeout_s:g} s; nothing was begun")
