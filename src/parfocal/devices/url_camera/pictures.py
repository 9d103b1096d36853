"""Pictures as they come over HTTP, and errors in words. A password in a URL is not repeated."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import cv2
import httpx
import numpy as np

from parfocal.devices.base import Frame
from parfocal.errors import InstrumentError

_PLAIN_SD = 3.0


def decode_picture(encoded: bytes, where: str) -> Frame:
    """A picture file (JPEG, PNG, BMP, …) as a frame, uint8 (Y, X, 3), RGB; grey ones become RGB.

    Raises:
        InstrumentError: if it is not a picture, or cut off.
    """
    if encoded.startswith(b"\xff\xd8") and b"\xff\xd9" not in encoded[-64:]:
        raise InstrumentError(f"{where}: the picture is cut off after {len(encoded)} bytes")
    found = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None
    if found is None:
        raise InstrumentError(f"{where}: {len(encoded)} bytes came that are not a picture, {encoded[:20]!r}")
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def tells_apart(frame: Frame) -> bool:
    """Whether a frame shows enough that the next exposure cannot be equal to it: it is neither dark nor white."""
    return float(frame.std()) > _PLAIN_SD


def without_password(url: str) -> str:
    """A URL as it can be shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, parts.query, ""))


def http_in_words(url: str, error: Exception) -> InstrumentError:
    """What went wrong with a request, as an error of the instrument."""
    where = without_password(url)
    if isinstance(error, httpx.HTTPStatusError):
        code = error.response.status_code
        hint = {401: ": it wants a password", 403: ": it refuses", 404: ": there is no such address on it"}
        return InstrumentError(f"{where} answers with HTTP {code}{hint.get(code, '')}")
    if isinstance(error, httpx.ConnectError):
        return InstrumentError(f"{where} cannot be reached: is it switched on, and the address right? ({error})")
    if isinstance(error, httpx.TimeoutException):
        return InstrumentError(f"{where} does not answer in time")
    return InstrumentError(f"{where}: the connection broke off ({error or type(error).__name__})")
