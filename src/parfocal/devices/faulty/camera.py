"""A camera that goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

import numpy as np

from parfocal.devices.base import Camera, Frame
from parfocal.devices.faulty.strike import LineFault, Strikes, When

CameraFault = LineFault | Literal["repeat", "black", "saturated", "cut", "torn", "wrong-shape", "wrong-type", "stripes"]
"""repeat: the frame before comes once more, as from a camera that froze. black, saturated: all over. cut: the lower
half never came, and is black. torn: the lower half is the frame before's. wrong-shape: rows are missing. wrong-type: 16
bits a channel. stripes: every other row is random, as on a bad cable."""


class FaultyCamera:
    """A camera one of whose faults strikes now and then.

    Args:
        camera: a sound one.
        kind: of the fault.
        when: it strikes, in calls of `snap`.
        wait: takes so many seconds.
    """

    def __init__(self, camera: Camera, kind: CameraFault, when: When, wait: Callable[[float], None]) -> None:
        self._camera = camera
        self._kind = kind
        self.strikes = Strikes("camera", kind, when, wait)
        self._rng = np.random.default_rng(when.seed)
        self._before: Frame | None = None

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return self._camera.frame_shape

    @property
    def pixel_size_um(self) -> float:
        """Size of a frame's pixel in the specimen plane, in µm."""
        return self._camera.pixel_size_um

    def reopen(self) -> Self:
        """Itself, on a line that works again. Raises DisconnectedError if it is gone."""
        self.strikes.reopen()
        return self

    def snap(self) -> Frame:
        """Expose one frame, uint8 (Y, X, 3), unless the fault strikes."""
        strikes, frame = self.strikes.now(), self._camera.snap()
        if strikes:
            frame = self._spoilt(frame, frame if self._before is None else self._before)
        self._before = frame.copy()
        return frame

    def _spoilt(self, frame: Frame, before: Frame) -> Frame:
        half = len(frame) // 2
        match self._kind:
            case "repeat":
                return before.copy()
            case "black":
                return np.zeros_like(frame)
            case "saturated":
                return np.full_like(frame, 255)
            case "cut":
                frame[half:] = 0
            case "torn":
                frame[half:] = before[half:]
            case "wrong-shape":
                return frame[:-8]
            case "wrong-type":
                return frame.astype(np.uint16)
            case "stripes":
                frame[::2] = self._rng.integers(0, 256, frame[::2].shape, dtype=np.uint8)
        return frame
