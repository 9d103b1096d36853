"""A serial port as lines of text. What goes wrong with it is said in words."""

from __future__ import annotations

import errno
import re
import time

import serial

from parfocal.errors import DisconnectedError, InstrumentError

_LONGEST_LINE = 1024
_BUSY_S, _TRY_AGAIN_S = 20.0, 0.1
"""A port that is in use is waited for: whoever puts out the lamp after a scan broke off may hold it for 15 s."""
_NUMBER = re.compile(r"\((\d+), '")
_WORDS = {
    errno.ENOENT: "there is no such port: is the board plugged in, and the name right? `parfocal devices` lists ports",
    errno.ENXIO: "there is no device behind this port",
    errno.EACCES: "no permission: add yourself to the group that owns the port (often dialout), and log in again",
    errno.EPERM: "no permission: add yourself to the group that owns the port (often dialout), and log in again",
    errno.EBUSY: "another program is using it",
    errno.EAGAIN: "another program is using it",
    errno.ENOTTY: "this is not a serial port",
    errno.EINVAL: "this is not a serial port",
    errno.EISDIR: "this is a folder, not a serial port",
    errno.EIO: "the device behind it is gone",
}


class SerialLine:
    """An open serial port, ours alone.

    Args:
        port: its name, such as /dev/ttyUSB0 or COM3.
        baud: bits a second.

    Raises:
        InstrumentError: if it cannot be opened, with the reason in words.
    """

    def __init__(self, port: str, baud: int) -> None:
        self.port = port
        self._buffer = b""
        self.is_gone = self._is_closed = False
        self._serial = _opened(port, baud)

    def send(self, text: str) -> None:
        """Send characters as they are. Raises DisconnectedError if the port is gone."""
        if self.is_gone:
            raise self._gone()
        try:
            self._serial.write(text.encode("ascii"))
        except (serial.SerialException, OSError) as error:
            raise self._gone() from error

    def read(self, timeout_s: float) -> str | None:
        """The next line without its end, what is not ASCII replaced; None if none ends within timeout_s.

        Raises:
            DisconnectedError: if the port is gone.
        """
        if self.is_gone:
            raise self._gone()
        until_s = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left_s = until_s - time.monotonic()
            if left_s <= 0 and not self._waiting():
                return None
            self._receive(max(left_s, 0.0))
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("ascii", errors="replace").strip()

    def close(self) -> None:
        """Let go of the port; may be called twice."""
        self._is_closed = self.is_gone = True
        self._serial.close()

    def _waiting(self) -> bool:
        try:
            return bool(self._serial.in_waiting)
        except (serial.SerialException, OSError, TypeError) as error:  # TypeError: closed by another thread
            raise self._gone() from error

    def _receive(self, timeout_s: float) -> None:
        try:
            wait_s = max(round(timeout_s, 2), 0.01)
            if wait_s != self._serial.timeout:  # each setting of it sets up the port anew
                self._serial.timeout = wait_s
            self._buffer += self._serial.read(1)
            if self._serial.in_waiting:
                self._buffer += self._serial.read(self._serial.in_waiting)
        except (serial.SerialException, OSError, TypeError) as error:  # TypeError: closed by another thread
            raise self._gone() from error
        if len(self._buffer) > _LONGEST_LINE and b"\n" not in self._buffer:
            self._buffer = self._buffer[-_LONGEST_LINE:]  # noise without an end; not kept without bound

    def _gone(self) -> DisconnectedError:
        self.is_gone = True
        if self._is_closed:
            return DisconnectedError(f"serial port {self.port} was let go of: open it again")
        return DisconnectedError(f"serial port {self.port} is gone: was the board unplugged or switched off?")


def _opened(port: str, baud: int) -> serial.Serial:
    until_s = time.monotonic() + _BUSY_S
    while True:
        try:
            return serial.Serial(port, baud, timeout=0.05, write_timeout=2.0, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as error:
            if _number(error) not in (errno.EBUSY, errno.EAGAIN) or time.monotonic() > until_s:
                raise InstrumentError(f"serial port {port}: {_WORDS.get(_number(error), str(error))}") from error
        time.sleep(_TRY_AGAIN_S)


def _number(error: Exception) -> int:
    number = getattr(error, "errno", None)
    if number is None and (found := _NUMBER.search(str(error))):  # pyserial tells some in its text only
        number = int(found[1])
    return number or 0
