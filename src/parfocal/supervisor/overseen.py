"""The scan's side: a supervisor is started, and hears of every call of a device and of every switch of the lamp."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from parfocal.config import Instrument
from parfocal.devices.line import Patience
from parfocal.devices.microscope import Microscope
from parfocal.devices.watched import Reopening, watched
from parfocal.errors import InstrumentError
from parfocal.supervisor.words import BEAT, DARK, LIT, READY

HANGS_AFTER_S = 90.0
"""Without a call of a device for so long, its lamp lit, a scan hangs: no call may take that long (`Patience`)."""

_BEAT_EVERY_S = 0.2
_ENDS_WITHIN_S = 5.0
_STARTS_AT_MOST = 3
_READY_WITHIN_S = 60.0


@contextmanager
def overseen(
    instrument: Instrument, patience: Patience | None = None, hangs_after_s: float = HANGS_AFTER_S
) -> Iterator[Instrument]:
    """The same instrument with its devices under watch, for a block; while it lasts, a supervisor looks after the lamp.

    Where the lamp ends with this process (`Instrument.lamp_name` is None) none is needed, and none started.

    Args:
        instrument: an opened instrument.
        patience: time and tries of every call of a device.
        hangs_after_s: after so long without a call of a device, while the lamp is lit, this process is ended, in s.

    Raises:
        InstrumentError: if the supervisor cannot be started.
    """
    if instrument.lamp_name is None:
        yield replace(instrument, microscope=watched(instrument.microscope, patience, reopening=instrument.reopening))
        return
    with oversee(
        instrument.microscope, instrument.lamp_name, patience, hangs_after_s, instrument.reopening
    ) as microscope:
        yield replace(instrument, microscope=microscope)


@contextmanager
def oversee(
    microscope: Microscope,
    lamp_name: str,
    patience: Patience | None = None,
    hangs_after_s: float = HANGS_AFTER_S,
    reopening: Reopening | None = None,
) -> Iterator[Microscope]:
    """The same for devices whose lamp can be opened by a name. Arguments and errors as `overseen`."""
    supervisor = Supervisor(lamp_name, hangs_after_s)
    try:
        yield watched(microscope, patience, beat=supervisor.beat, lamp_told=supervisor.lamp_told, reopening=reopening)
    finally:
        supervisor.dismiss()


class Supervisor:
    """A supervisor's process, seen from the scan. It is in a session of its own: Ctrl-C and signals to the scan's group
    do not reach it. One that is gone is started again.

    Args:
        lamp_name: what `config.open_lamp` takes.
        hangs_after_s: as `overseen`.
    """

    def __init__(self, lamp_name: str, hangs_after_s: float) -> None:
        self._command = [
            sys.executable, "-P", "-m", "parfocal.supervisor", str(os.getpid()), lamp_name, str(hangs_after_s)
        ]  # fmt: skip
        self._is_lit = False
        self._starts = 0
        self._told_s = 0.0
        self._pipe = -1
        self._failure = ""
        self._start()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def beat(self) -> None:
        """The scan is alive. Raises InstrumentError, each time, once there can be no supervisor any more."""
        self._check_there_is_one()
        if time.monotonic() - self._told_s >= _BEAT_EVERY_S:
            self._tell(BEAT)

    def lamp_told(self, is_lit: bool) -> None:
        """The lamp is about to be lit, or was put out. Waits before the first light until somebody can put it out.

        Raises:
            InstrumentError: if the supervisor cannot do its work.
        """
        if not is_lit:
            self._is_lit = False
            with suppress(InstrumentError):  # the lamp is off, which was all that mattered; the next beat says it
                self._tell(DARK)
            return
        self._check_there_is_one()
        if not self._is_ready:
            self._await_ready()
        self._is_lit = True
        self._tell(LIT)

    def dismiss(self) -> None:
        """The scan has ended. The supervisor ends too; first it puts out the lamp, if that is still lit."""
        self._hang_up()
        with suppress(subprocess.TimeoutExpired):  # a lamp that does not go out keeps it longer
            self._process.wait(_ENDS_WITHIN_S)
            self._close_answers()

    def _check_there_is_one(self) -> None:
        if self._failure:
            raise InstrumentError(self._failure)

    def _start(self) -> None:
        self._starts += 1
        if self._starts > _STARTS_AT_MOST:
            self._failure = f"the supervisor of the lamp ended {_STARTS_AT_MOST} times; the scan goes no further"
            raise InstrumentError(self._failure)
        self._is_ready = False
        reading, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        try:
            self._process = subprocess.Popen(
                self._command, stdin=reading, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            self._hang_up()
            self._failure = f"the supervisor of the lamp cannot be started: {error.strerror}"
            raise InstrumentError(self._failure) from error
        finally:
            os.close(reading)

    def _await_ready(self) -> None:
        answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        stdout = self._process.stdout
        assert stdout is not None
        threading.Thread(target=lambda: answers.put(stdout.read(1)), daemon=True).start()
        try:
            self._is_ready = answers.get(timeout=_READY_WITHIN_S) == READY
        except queue.Empty as error:
            raise InstrumentError(f"the supervisor of the lamp was not ready within {_READY_WITHIN_S:g} s") from error
        if not self._is_ready:
            raise InstrumentError("the supervisor of the lamp ended before it was ready")

    def _hang_up(self) -> None:
        pipe, self._pipe = self._pipe, -1  # its number may be another file's next
        if pipe >= 0:
            os.close(pipe)

    def _close_answers(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _tell(self, word: bytes) -> None:
        self._check_there_is_one()
        self._told_s = time.monotonic()
        try:
            os.write(self._pipe, word)
        except BlockingIOError:  # it was stopped and is behind; what it has not read yet are signs of life
            return
        except BrokenPipeError:
            self._hang_up()
            self._process.wait()
            self._close_answers()
            self._start()
            self._tell(LIT if self._is_lit else DARK)
