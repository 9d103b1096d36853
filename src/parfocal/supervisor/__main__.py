"""The supervisor's own process: `python -m parfocal.supervisor PID LAMP TIMEOUT_S`, told on stdin what the scan does.

It listens at once. What can open a lamp takes a second or more to import; when that is done it says so, and the scan
lights its lamp no sooner. It never moves a stage.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from parfocal.supervisor.words import DARK, LIT, READY

if TYPE_CHECKING:
    from parfocal.devices.base import Lamp

EXIT_LAMP_LIT = 3

_LOOK_EVERY_S = 0.2
_TRY_AGAIN_S = 0.2
_ANSWERS_WITHIN_S = 15.0  # a board may need ten after its port is opened
_GIVE_UP_S = 60.0
_ENDS_WITHIN_S = 5.0
_LONGEST_READ = 4096


def main() -> int:
    """Watch a scan to its end. Returns the exit code: 0 if its lamp is off."""
    pid, name, timeout_s = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.SIG_IGN)  # whoever ends the scan by these lets it put out its lamp itself
    threading.Thread(target=_import_what_opens_lamps, daemon=True).start()
    watch = Watch(pid, timeout_s)
    if not watch.to_the_end():
        return 0
    if watch.is_hung:
        _tell(f"the scan gave no sign of life for {timeout_s:g} s with the lamp lit: it is ended")
        end(pid)
    try:
        put_out(lambda: _open_lamp(name), _GIVE_UP_S)
    except TimeoutError as error:
        _tell(f"THE LAMP MAY STILL BE LIT: {error}")
        return EXIT_LAMP_LIT
    _tell("the scan ended with its lamp lit: it is off now")
    return 0


class Watch:
    """What is known of a scan: whether its lamp is lit, and when it last gave a sign of life.

    Args:
        pid: of the scan's process, our parent.
        timeout_s: without a sign of life for so long, and its lamp lit, it counts as hung.
    """

    def __init__(self, pid: int, timeout_s: float) -> None:
        self._pid = pid
        self._timeout_s = timeout_s
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.is_lit = False
        self.is_hung = False

    def to_the_end(self) -> bool:
        """Return when the scan has ended or hangs: whether its lamp is lit."""
        threading.Thread(target=self._listen, daemon=True).start()
        last_s = time.monotonic()
        while True:
            with suppress(queue.Empty):
                words = self._heard.get(timeout=_LOOK_EVERY_S)
                if not words:
                    return self.is_lit
                self._understand(words)
                last_s = time.monotonic()
            if self._is_orphan():
                self._understand(self._rest())
                return self.is_lit
            if self.is_lit and time.monotonic() - last_s > self._timeout_s:
                self.is_hung = True
                return True

    def _listen(self) -> None:
        while words := os.read(sys.stdin.fileno(), _LONGEST_READ):
            self._heard.put(words)
        self._heard.put(b"")

    def _rest(self) -> bytes:
        """What was said before the end and not heard yet."""
        words = b""
        with suppress(queue.Empty):
            while True:
                words += self._heard.get(timeout=_LOOK_EVERY_S)
        return words

    def _understand(self, words: bytes) -> None:
        self.is_lit = {LIT: True, DARK: False}.get(words.replace(b".", b"")[-1:], self.is_lit)

    def _is_orphan(self) -> bool:
        """Whether the scan is gone, though another process holds its end of the pipe open."""
        return os.name == "posix" and os.getppid() != self._pid


def end(pid: int) -> None:
    """End a process that hangs, and wait until it is gone and holds no port any more."""
    if os.name == "posix" and os.getppid() != pid:
        return  # it is gone, and its number may be another's by now
    with suppress(ProcessLookupError):
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    until_s = time.monotonic() + _ENDS_WITHIN_S
    while os.name == "posix" and os.getppid() == pid and time.monotonic() < until_s:
        time.sleep(0.01)


def put_out(open_lamp: Callable[[], AbstractContextManager[Lamp]], give_up_s: float) -> None:
    """Open a lamp and put it out, trying again while its port is not free, it does not answer, or it stays lit.

    Raises:
        TimeoutError: if it is not off after give_up_s, with the reason.
    """
    until_s = time.monotonic() + give_up_s
    reasons: queue.SimpleQueue[str] = queue.SimpleQueue()
    while True:
        threading.Thread(target=lambda: reasons.put(_why_still_lit(open_lamp)), daemon=True).start()
        try:
            reason = reasons.get(timeout=_ANSWERS_WITHIN_S)  # a late answer of an earlier try is as good
        except queue.Empty:
            reason = f"it did not answer within {_ANSWERS_WITHIN_S:g} s"
        if not reason:
            return
        if time.monotonic() > until_s:
            raise TimeoutError(reason)
        time.sleep(_TRY_AGAIN_S)


def _why_still_lit(open_lamp: Callable[[], AbstractContextManager[Lamp]]) -> str:
    """Try to put it out. Nothing if it is off."""
    try:
        with open_lamp() as lamp:
            lamp.off()
            return "it stays lit" if lamp.is_on else ""
    except Exception as error:  # noqa: BLE001 - drivers raise what they like, and the next try may work
        return str(error) or type(error).__name__


def _open_lamp(name: str) -> AbstractContextManager[Lamp]:
    from parfocal.config import open_lamp

    return open_lamp(name)


def _import_what_opens_lamps() -> None:
    import parfocal.config  # noqa: F401

    with suppress(OSError):
        os.write(sys.stdout.fileno(), READY)


def _tell(message: str) -> None:
    with suppress(OSError):  # whoever read it may be gone with the scan
        sys.stderr.write(f"parfocal: {message}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
