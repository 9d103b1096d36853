"""A serial port that is none: a pseudo-terminal with an emulated board at its other end."""

from __future__ import annotations

import os
import select
import threading
import tty
from contextlib import suppress
from types import TracebackType
from typing import Self

from parfocal.emulators.firmware import Firmware

_LOOK_S = 0.002


class PtyPort:
    """Runs a firmware on a thread behind a pseudo-terminal; a `with` block switches it on and off.

    Args:
        firmware: what answers.
    """

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.name = os.ttyname(self._theirs)
        self._ends = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="emulated-board", daemon=True)

    def __enter__(self) -> Self:
        self._firmware.write = self._write
        self._firmware.unplug = self._pull
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Pull the cable: the port is gone, the drives stand still and the lamp is off, as without power."""
        self._ends.set()
        self._thread.join(5.0)
        self._pull()

    def _pull(self) -> None:
        self._ends.set()
        if self._closed:
            return
        self._closed = True
        self._firmware.stop()
        self._firmware.stand.switch(False)
        os.close(self._theirs)
        os.close(self._ours)

    def _run(self) -> None:
        self._firmware.boot()
        while not self._ends.is_set():
            readable, _, _ = select.select([self._ours], [], [], _LOOK_S)
            if readable:
                with self._firmware.stand.at_work():
                    self._firmware.receive(os.read(self._ours, 4096).decode("ascii", errors="replace"))
            if not self._ends.is_set():
                self._firmware.advance()

    def _write(self, text: str) -> None:
        if not self._closed:
            with suppress(BlockingIOError):  # nobody reads: a real line would drop it too
                os.write(self._ours, text.encode("ascii", errors="replace"))
