"""A camera that gives one picture a request."""

from __future__ import annotations

import time
from collections.abc import Callable

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

_AGAIN_S = 0.01


class SnapshotCamera:
    """Asks for pictures until one of them was surely exposed after the call.

    Args:
        fetch: gets a picture file.
        name: of where it comes from, for messages.
        pixel_size_um: of a frame's pixel in the specimen plane, in µm.
        stale_frames: how many pictures after the call may still be older ones, which cameras keep ready.
        timeout_s: how long a new picture may take.

    Raises:
        InstrumentError: if no picture comes.
    """

    def __init__(
        self, fetch: Callable[[], bytes], name: str, pixel_size_um: float, stale_frames: int, timeout_s: float
    ) -> None:
        self._fetch = fetch
        self._name = name
        self._pixel_size_um = pixel_size_um
        self._stale_frames = stale_frames
        self._timeout_s = timeout_s
        self._last: bytes | None = None
        self._shape = self.snap().shape[:2]

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return self._shape[0], self._shape[1]

    @property
    def pixel_size_um(self) -> float:
        """Size of a frame's pixel in the specimen plane, in µm."""
        return self._pixel_size_um

    def snap(self) -> Frame:
        """A frame exposed after the call, uint8 (Y, X, 3). Raises InstrumentError if none comes, or always the same."""
        until_s = time.monotonic() + self._timeout_s
        picture = self._next(until_s)
        for _ in range(self._stale_frames):
            picture = self._next(until_s)
        return decode_picture(picture, self._name)

    def _next(self, until_s: float) -> bytes:
        """A picture that differs from the last one: no two exposures that show something are equal to the last bit."""
        while (picture := self._fetch()) == self._last and tells_apart(decode_picture(picture, self._name)):
            if time.monotonic() > until_s:
                raise InstrumentError(
                    f"{self._name} gives the same picture again and again for {self._timeout_s:g} s: "
                    "the camera is frozen, or this is the address of a file"
                )
            time.sleep(_AGAIN_S)
        self._last = picture
        return picture


class PictureUrl:
    """A URL that gives a picture, over one connection that is kept open.

    Args:
        url: of a picture.
        timeout_s: how long an answer may take.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._headers = credentials(url)
        self._connections = connections(timeout_s)
        self._is_closed = False

    def fetch(self) -> bytes:
        """The picture file. Raises InstrumentError if none comes, or it was let go of."""
        if self._is_closed:
            raise InstrumentError(f"{self.name} was let go of: open it again")
        try:
            response = self._connections.request("GET", self._url, headers=self._headers)
        except HTTPError as error:
            raise http_in_words(self._url, error) from error
        checked(self._url, response.status)
        return response.data

    @property
    def name(self) -> str:
        """The URL as it can be shown."""
        return without_password(self._url)

    def close(self) -> None:
        """Let go of the connection."""
        self._is_closed = True
        self._connections.clear()
