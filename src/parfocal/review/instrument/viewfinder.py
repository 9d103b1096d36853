"""The latest frame, for everybody who watches."""

from __future__ import annotations

from threading import Lock

import cv2
import numpy as np

from parfocal.devices.base import Frame
from parfocal.slide.pyramid import encode_jpeg

_WIDTH_PX = 720


class Viewfinder:
    """Holds one frame as JPEG, and counts how many there were. Safe in several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._jpeg = b""
        self._number = 0

    def see(self, frame: Frame) -> None:
        """Show a frame, uint8 (Y, X, 3) RGB, at most 720 px wide."""
        scale = _WIDTH_PX / frame.shape[1]
        if scale < 1:
            frame = np.asarray(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        jpeg = encode_jpeg(np.ascontiguousarray(frame))
        with self._lock:
            self._jpeg, self._number = jpeg, self._number + 1

    @property
    def latest(self) -> tuple[int, bytes]:
        """(number of the latest frame, the JPEG); number 0 and nothing before the first."""
        with self._lock:
            return self._number, self._jpeg
