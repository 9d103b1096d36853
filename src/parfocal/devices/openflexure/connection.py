"""Requests to an OpenFlexure server, and actions that are waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from parfocal.devices.url_camera.pictures import connections_to, credentials, http_in_words, without_password
from parfocal.errors import InstrumentError

_FIRST_POLL_S = 0.002
_SLOWEST_POLL_S = 0.05
_OK = 200
_IN_USE = (409, 423)
_UNDER_WAY = ("idle", "pending", "running")
_REDIRECTS_AT_MOST = 3
_SAME_METHOD = (307, 308)  # a POST that is redirected so was not carried out, and is to be sent again


class Connection:
    """A server of either version.

    Args:
        url: of the server, such as http://microscope.local:5000.
        timeout_s: how long an answer may take.
        action_s: how long an action, such as a move, may take.
    """

    def __init__(self, url: str, timeout_s: float, action_s: float) -> None:
        self._url = url.rstrip("/") + "/"
        self._action_s = action_s
        self._headers = credentials(url)
        self._headers_of_json = {**self._headers, "Content-Type": "application/json"}
        self._connections = connections_to(url, timeout_s)
        self._is_closed = False

    @property
    def name(self) -> str:
        """The URL as it can be shown."""
        return without_password(self._url).rstrip("/")

    @property
    def is_closed(self) -> bool:
        """Whether it was let go of."""
        return self._is_closed

    def has(self, path: str) -> bool:
        """Whether there is something at a path. Raises InstrumentError if the server cannot be reached."""
        return self._request("GET", path, None).status == _OK

    def read(self, path: str) -> Any:
        """A value. Raises InstrumentError if it cannot be had."""
        return self._json(self._checked(self._request("GET", path, None)))

    def bytes_at(self, path: str) -> bytes:
        """What is at a path, as it is. Raises InstrumentError if it cannot be had."""
        return self._checked(self._request("GET", path, None)).data

    def act(self, path: str, values: Mapping[str, Any]) -> Any:
        """Do an action and wait until it is done.

        Returns:
            Its output.

        Raises:
            InstrumentError: if it fails, is cancelled by somebody else, or takes too long.
        """
        action = self._json(self._checked(self._request("POST", path, values)))
        until_s, pause_s = time.monotonic() + self._action_s, _FIRST_POLL_S
        while action.get("status") in _UNDER_WAY:
            if time.monotonic() > until_s:
                raise InstrumentError(f"{self.name}: {path} did not end within {self._action_s:g} s")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _SLOWEST_POLL_S)
            action = self._json(self._checked(self._request("GET", self._place_of(action), None)))
        if action.get("status") not in ("completed", "success"):
            raise InstrumentError(f"{self.name}: {path} ended as {action.get('status')!r}{_reason(action)}")
        return action.get("output")

    def close(self) -> None:
        """Let go of the connection."""
        self._is_closed = True
        self._connections.close()

    def _place_of(self, action: Mapping[str, Any]) -> str:
        links = action.get("links", {})
        if isinstance(links, Mapping):
            link = links.get("self", {})
        else:
            link = next((one for one in links if one.get("rel") == "self"), {})
        place = link.get("href") or action.get("href")
        if not place:
            raise InstrumentError(f"{self.name}: an action does not say where it can be watched")
        return str(place)

    def _request(self, method: str, path: str, values: Mapping[str, Any] | None) -> BaseHTTPResponse:
        if self._is_closed:
            raise InstrumentError(f"{self.name} was let go of: open it again")
        url = urljoin(self._url, path)
        body = None if values is None else json.dumps(values).encode()
        headers = self._headers if values is None else self._headers_of_json
        try:
            return self._followed(method, url, body, headers)
        except HTTPError as error:
            raise http_in_words(url, error) from error

    def _followed(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> BaseHTTPResponse:
        """The answer, redirects followed: always on this server, by whichever name it calls itself."""
        asked = url
        for _ in range(1 + _REDIRECTS_AT_MOST):
            place = parse_url(url).request_uri
            response = self._connections.urlopen(method, place, body=body, headers=headers, redirect=False)
            there = response.get_redirect_location()
            if not there:
                return response
            url = urljoin(url, there)
            if method != "GET" and response.status not in _SAME_METHOD:
                break
        raise InstrumentError(f"{without_password(asked)} redirects to {without_password(url)}: is the url right?")

    def _checked(self, response: BaseHTTPResponse) -> BaseHTTPResponse:
        if 200 <= response.status < 300:
            return response
        if response.status in _IN_USE:
            raise InstrumentError(f"{self.name} is in use by somebody else: {_detail(response)}")
        where = urljoin(self.name, response.url or "")
        raise InstrumentError(f"{where} answers with HTTP {response.status}: {_detail(response)}")

    def _json(self, response: BaseHTTPResponse) -> Any:
        try:
            return json.loads(response.data)
        except ValueError as error:
            raise InstrumentError(f"{self.name}: what came from {response.url} is not JSON") from error


def _detail(response: BaseHTTPResponse) -> str:
    return " ".join(response.data.decode("utf-8", errors="replace").split())[:200] or "without a reason"


def _reason(action: Mapping[str, Any]) -> str:
    log = action.get("log") or []
    last = log[-1].get("message", "") if log and isinstance(log[-1], Mapping) else ""
    text = str(last or action.get("output") or "")
    return f": {' '.join(text.split())[:200]}" if text else ""
