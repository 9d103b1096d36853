"""Pictures as they come over HTTP, and errors in words. A password in a URL is not repeated."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np
from urllib3 import HTTPConnectionPool, PoolManager, connection_from_url
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    TimeoutError,
)
from urllib3.util import Retry, Timeout, make_headers, parse_url

from parfocal.devices.base import Frame
from parfocal.errors import InstrumentError

_PLAIN_SD = 3.0
_RETRIES = Retry(connect=0, read=1, other=0, status=0, redirect=3)


def decode_picture(encoded: bytes, where: str) -> Frame:
    """A picture file (JPEG, PNG, BMP, PPM, …) as a frame, uint8 (Y, X, 3), RGB; grey ones become RGB.

    Raises:
        InstrumentError: if it is not a picture, or cut off.
    """
    if encoded.startswith(b"\xff\xd8") and b"\xff\xd9" not in encoded[-64:]:
        raise InstrumentError(f"{where}: the picture is cut off after {len(encoded)} bytes")
    found = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB) if encoded else None
    if found is None:
        raise InstrumentError(f"{where}: {len(encoded)} bytes came that are not a picture, {encoded[:20]!r}")
    return np.asarray(found, dtype=np.uint8)


def tells_apart(frame: Frame) -> bool:
    """Whether a frame shows enough that the next exposure cannot be equal to it: it is neither dark nor white."""
    return float(frame.std()) > _PLAIN_SD


def without_password(url: str) -> str:
    """A URL as it can be shown: some cameras take their password after the ?, so that goes too."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def checked(url: str, status: int) -> None:
    """Raise InstrumentError unless an answer is a good one."""
    if not 200 <= status < 300:
        hint = {401: ": it wants a password", 403: ": it refuses", 404: ": there is no such address on it"}
        raise InstrumentError(f"{without_password(url)} answers with HTTP {status}{hint.get(status, '')}")


def http_in_words(url: str, error: HTTPError) -> InstrumentError:
    """What went wrong with a request, as an error of the instrument."""
    where = without_password(url)
    reason = error.reason if isinstance(error, MaxRetryError) and error.reason is not None else error
    if isinstance(reason, NewConnectionError | NameResolutionError | ConnectTimeoutError):
        return InstrumentError(f"{where} cannot be reached: is it switched on, and the address right?")
    if isinstance(reason, TimeoutError):
        return InstrumentError(f"{where} does not answer in time")
    return InstrumentError(f"{where}: the connection broke off ({type(reason).__name__})")


def connections(timeout_s: float) -> PoolManager:
    """HTTP connections that are kept open; one that the other side closed meanwhile is opened again, once."""
    return PoolManager(timeout=Timeout(timeout_s), retries=_RETRIES)


def connections_to(url: str, timeout_s: float) -> HTTPConnectionPool:
    """The same to one server, which is asked for paths: a request takes less time."""
    return connection_from_url(url, timeout=Timeout(timeout_s), retries=_RETRIES, maxsize=4)


def credentials(url: str) -> dict[str, str]:
    """The header that a user name and password in a URL ask for."""
    auth = parse_url(url).auth
    return make_headers(basic_auth=auth) if auth else {}
