"""The latest frame, for everybody who watches."""

from __future__ import annotations

from threading import Condition

import cv2
import numpy as np

from parfocal.devices.base import Frame
from parfocal.slide.pyramid import encode_jpeg

_WIDTH_PX = 720


class Viewfinder:
    """Holds one frame as JPEG, and counts how many there were. Safe in several threads."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._jpeg = b""
        self._number = 0

    def see(self, frame: Frame) -> None:
        """Show a frame, uint8 (Y, X, 3) RGB, at most 720 px wide."""
        scale = _WIDTH_PX / frame.shape[1]
        if scale < 1:
            frame = np.asarray(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        jpeg = encode_jpeg(np.ascontiguousarray(frame))
        with self._changed:
            self._jpeg, self._number = jpeg, self._number + 1
            self._changed.notify_all()

    def next(self, after: int, timeout_s: float) -> tuple[int, bytes]:
        """The latest frame once it is another than number `after`, or as it is when the time is up.

        Returns:
            (its number, the JPEG); number 0 and nothing before the first.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number != after, timeout_s)
            return self._number, self._jpeg
