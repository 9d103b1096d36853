"""Where a simulated stage truly stood at each frame: only written down, for reports and tests."""

from __future__ import annotations

from parfocal.devices.base import Camera, Frame, Truth


class Witness:
    """A simulated instrument's camera that remembers where the stage truly stood at each frame.

    The frame that is kept need not be the last one.
    """

    def __init__(self, camera: Camera, truth: Truth) -> None:
        self._camera = camera
        self._truth = truth
        self._seen: list[tuple[Frame, tuple[float, float, float]]] = []

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return self._camera.frame_shape

    @property
    def pixel_size_um(self) -> float:
        """Size of a frame's pixel in the specimen plane, in µm."""
        return self._camera.pixel_size_um

    def snap(self) -> Frame:
        """Expose one frame, uint8 (Y, X, 3), and remember where."""
        frame = self._camera.snap()
        self._seen.append((frame, self._truth.stage_position_um))
        return frame

    def forget(self) -> None:
        """A new field begins."""
        self._seen.clear()

    def position_um(self, frame: Frame) -> tuple[float, float, float]:
        """True (x, y, z) in µm at which one of the field's frames was taken."""
        return next(position_um for seen, position_um in self._seen if seen is frame)
