"""An emulated web camera, with the addresses of mjpg-streamer, on the loopback interface only."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import cv2
import numpy as np

from parfocal.devices.base import Frame
from parfocal.emulators.stand import Stand

_BOUNDARY = "picture"
_STREAM_S = 1 / 30
_JPEG_QUALITY = 95
LOOPBACK = "127.0.0.1"


class _Server(ThreadingHTTPServer):
    """Ends its connections when it is stopped, as a device that is switched off does."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], answering: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, answering)
        self._connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection, remembered."""
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """A connection has ended."""
        if isinstance(request, socket.socket):
            self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """End all of them."""
        super().server_close()
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, _request: object, _address: object) -> None:
        """A client went away in the middle of an answer: nothing to be told."""


class LoopbackServer:
    """An HTTP server on the loopback interface, for the length of a `with` block.

    Args:
        answering: makes what answers a request.
        port: 0 for any that is free.
    """

    def __init__(self, answering: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        self._server = _Server((LOOPBACK, port), answering)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class Answering(BaseHTTPRequestHandler):
    """One connection, kept open between requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""

    def answer(self, body: bytes, kind: str, status: int = 200) -> None:
        """Send a whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def answer_without_loss(self, frame: Frame) -> None:
        """Send a frame as it is, in the format PPM, without a copy of it."""
        head = f"P6 {frame.shape[1]} {frame.shape[0]} 255\n".encode("ascii")
        self.send_response(200)
        self.send_header("Content-Type", "image/x-portable-pixmap")
        self.send_header("Content-Length", str(len(head) + frame.nbytes))
        self.end_headers()
        self.wfile.write(head)
        self.wfile.write(np.ascontiguousarray(frame).data.cast("B"))
        self.wfile.flush()

    def stream(self, snap: Callable[[], Frame]) -> None:
        """Send pictures one after the other until nobody takes them."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.end_headers()
        try:
            while True:
                picture = encoded(snap(), ".jpg")
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode("ascii") + picture + b"\r\n")
                self.wfile.flush()
                time.sleep(_STREAM_S)
        except (ConnectionError, ValueError):  # ValueError: the server was closed meanwhile
            return


def encoded(frame: Frame, suffix: str) -> bytes:
    """A frame as a picture file: .jpg or .png."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    done, picture = cv2.imencode(suffix, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), settings)
    if not done:
        raise ValueError(f"no picture can be written as {suffix}")
    return bytes(np.asarray(picture).tobytes())


def web_camera(stand: Stand, port: int = 0) -> LoopbackServer:
    """A camera at `/?action=snapshot` (JPEG), `/?action=stream` (MJPEG) and, without any loss, `/snapshot.ppm`."""

    class Camera(Answering):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/snapshot.ppm":
                self.answer_without_loss(stand.snap())
            elif parts.query == "action=snapshot":
                with stand.at_work():
                    picture = encoded(stand.snap(), ".jpg")
                self.answer(picture, "image/jpeg")
            elif parts.query == "action=stream":
                self.stream(stand.snap)
            else:
                self.answer(b"there is no such picture\n", "text/plain", 404)

    return LoopbackServer(Camera, port)
