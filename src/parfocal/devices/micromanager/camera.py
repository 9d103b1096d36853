"""A camera that Micro-Manager drives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parfocal.devices.base import Frame
from parfocal.devices.micromanager.session import speaking
from parfocal.devices.pixels import BayerPattern, rgb_bytes
from parfocal.errors import InstrumentError

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus


class CameraOfCore:
    """A camera; one exposure each time, begun after the call.

    Args:
        session: the core; the camera becomes its current one.
        label: the camera's.
        pixel_size_um: size of a pixel in the specimen plane, in µm.
        bayer: of a raw colour camera.
    """

    def __init__(self, session: CMMCorePlus, label: str, pixel_size_um: float, bayer: BayerPattern = "") -> None:
        self._session = session
        self._label = label
        self._pixel_size_um = pixel_size_um
        self._bayer = bayer
        with speaking(label):
            session.setCameraDevice(label)
            self._frame_shape = session.getImageHeight(), session.getImageWidth()
            self._bits = session.getImageBitDepth()

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return self._frame_shape

    @property
    def pixel_size_um(self) -> float:
        """Size of a frame's pixel in the specimen plane, in µm."""
        return self._pixel_size_um

    def snap(self) -> Frame:
        """Expose one frame, uint8 (Y, X, 3). Raises InstrumentError if none comes."""
        with speaking(self._label):
            self._session.snapImage()
            image = self._session.getImage()
        frame = rgb_bytes(image, self._bits, self._bayer)
        if frame.shape[:2] != self._frame_shape:
            raise InstrumentError(
                f"Micro-Manager, {self._label}: a frame of {frame.shape[:2]} px, not {self._frame_shape}"
            )
        return frame
