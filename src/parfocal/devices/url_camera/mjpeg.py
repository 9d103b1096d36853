"""A camera that streams: pictures one after the other in one HTTP answer (multipart, "MJPEG")."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

from urllib3.exceptions import HTTPError

from parfocal.devices.base import Frame
from parfocal.devices.url_camera.pictures import (
    checked,
    connections,
    credentials,
    decode_picture,
    http_in_words,
    tells_apart,
    without_password,
)
from parfocal.errors import InstrumentError

_LARGEST_BYTES = 64_000_000
_CHUNK_BYTES = 65_536


class StreamCamera:
    """Reads a stream on a thread of its own, so that nothing old waits in it; gives pictures that came after a call.

    Args:
        url: of the stream.
        pixel_size_um: of a frame's pixel in the specimen plane, in µm.
        stale_frames: how many pictures that arrive after the call may have been exposed before it.
        timeout_s: how long a picture may take.

    Raises:
        InstrumentError: if no picture comes.
    """

    def __init__(self, url: str, pixel_size_um: float, stale_frames: int, timeout_s: float) -> None:
        self._url = url
        self._name = without_password(url)
        self._pixel_size_um = pixel_size_um
        self._stale_frames = stale_frames
        self._timeout_s = timeout_s
        self._arrival = threading.Condition()
        self._arrived = 0
        self._newest = self._taken = b""
        self._failure: InstrumentError | None = None
        self._is_closing = False
        self._thread = self._start()
        try:
            self._shape = self.snap().shape[:2]
        except InstrumentError:
            self.close()
            raise

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return self._shape[0], self._shape[1]

    @property
    def pixel_size_um(self) -> float:
        """Size of a frame's pixel in the specimen plane, in µm."""
        return self._pixel_size_um

    def snap(self) -> Frame:
        """A frame exposed after the call, uint8 (Y, X, 3). Raises InstrumentError if none comes."""
        if self._is_closing:
            raise InstrumentError(f"{self._name} was let go of: open it again")
        if not self._thread.is_alive():  # broken off since: try once more
            self._failure = None
            self._thread = self._start()
        until_s = time.monotonic() + self._timeout_s
        with self._arrival:
            wanted = self._arrived + self._stale_frames + 1
            while True:
                encoded = self._wait_for(wanted, until_s)
                frame = decode_picture(encoded, self._name)
                if encoded != self._taken or not tells_apart(frame):
                    self._taken = encoded
                    return frame
                wanted = self._arrived + 1

    def close(self) -> None:
        """End the stream."""
        self._is_closing = True
        self._thread.join(self._timeout_s + 1)

    def _wait_for(self, wanted: int, until_s: float) -> bytes:
        self._arrival.wait_for(
            lambda: self._arrived >= wanted or self._failure is not None, timeout=until_s - time.monotonic()
        )
        if self._arrived >= wanted:
            return self._newest
        if self._failure is not None:
            raise self._failure
        what = "only the same picture" if self._newest else "no picture"
        raise InstrumentError(f"{self._name}: {what} came in {self._timeout_s:g} s")

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._read, name="camera-stream", daemon=True)
        thread.start()
        return thread

    def _read(self) -> None:
        open_ones = connections(self._timeout_s)
        try:
            response = open_ones.request(
                "GET", self._url, headers=credentials(self._url), preload_content=False, decode_content=False
            )
            checked(self._url, response.status)
            for picture in parts_of(iter(lambda: response.read1(_CHUNK_BYTES), b"")):
                if self._is_closing:
                    return
                self._arrive(picture)
            self._fail(InstrumentError(f"{self._name}: the stream has ended"))
        except HTTPError as error:
            self._fail(http_in_words(self._url, error))
        except InstrumentError as error:
            self._fail(error)
        finally:
            open_ones.clear()

    def _arrive(self, picture: bytes) -> None:
        with self._arrival:
            self._newest = picture
            self._arrived += 1
            self._arrival.notify_all()

    def _fail(self, failure: InstrumentError) -> None:
        with self._arrival:
            self._failure = failure
            self._arrival.notify_all()


def parts_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The pictures of a multipart stream, as they become complete.

    A part says how long it is, or ends where the next boundary begins.

    Raises:
        InstrumentError: if what comes is no such stream.
    """
    text, length = b"", None
    in_head = True
    boundary = b""
    for chunk in chunks:
        text += chunk
        while True:
            if in_head:
                head, found, rest = text.lstrip(b"\r\n").partition(b"\r\n\r\n")
                if not found:
                    break
                boundary = boundary or head.split(b"\r\n", 1)[0]
                length, text, in_head = _length(head), rest, False
            end = length if length is not None else text.find(b"\r\n" + boundary)
            if end < 0 or len(text) < end:
                break
            yield text[:end]
            text, in_head = text[end:], True
        if len(text) > _LARGEST_BYTES:
            raise InstrumentError(f"{len(text)} bytes came without a whole picture: this is not an MJPEG stream")


def _length(head: bytes) -> int | None:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None
