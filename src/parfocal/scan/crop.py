"""What of a frame is kept for training: the paper's central crop at the network's scale, or all of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.errors import SettingsError
from parfocal.focus.bands import PATCH_PX

PATCHES = 2
"""Patches of 224² along each side of the crop (paper, section 4.2: four of them)."""

_SAME_SCALE = 0.02


@dataclass(frozen=True)
class Crop:
    """The centre of a frame.

    Attributes:
        shape: (Y, X) of what is cut out, in the camera's pixels.
        size: (Y, X) of what it becomes, in pixels.
        pixel_size_um: of the result, in µm.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    pixel_size_um: float

    def cut(self, frame: Frame) -> Frame:
        """The centre of a frame uint8 (Y, X, 3), down-sampled by area."""
        top, left = ((n - wanted) // 2 for n, wanted in zip(frame.shape[:2], self.shape, strict=True))
        centre = frame[top : top + self.shape[0], left : left + self.shape[1]]
        if self.size == self.shape:
            return np.ascontiguousarray(centre)
        return np.asarray(cv2.resize(centre, self.size[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)


def crop_of(microscope: Microscope, *, full_frame: bool = False) -> Crop:
    """What is kept of a microscope's frames (paper, section 4.2: the centre, down-sampled 4X, in patches of 224²).

    The centre holds 2 × 2 patches and is brought to the network's scale where the camera's pixels are finer: that is
    the picture that a network is shown and best focus is defined on, at a sixteenth of the size on the paper's camera.

    Args:
        microscope: camera and objective.
        full_frame: all of the frame at the camera's resolution instead.

    Raises:
        SettingsError: if the frame holds no patch at the network's scale.
    """
    camera, canonical_um = microscope.camera, microscope.objective.canonical_pixel_um
    scale = camera.pixel_size_um / canonical_um
    rows, columns = camera.frame_shape
    if min(rows, columns) * scale < PATCH_PX:
        raise SettingsError(
            f"a frame of {columns} × {rows} px of {camera.pixel_size_um:g} µm is {columns * scale:.0f} × "
            f"{rows * scale:.0f} px at the network's scale, less than one patch of {PATCH_PX} × {PATCH_PX} px"
        )
    if full_frame:
        return Crop((rows, columns), (rows, columns), camera.pixel_size_um)
    side = round(PATCHES * PATCH_PX / scale)
    shape = (min(rows, side), min(columns, side))
    if scale > 1 - _SAME_SCALE:
        return Crop(shape, shape, camera.pixel_size_um)
    size = (round(shape[0] * scale), round(shape[1] * scale))
    return Crop(shape, size, camera.pixel_size_um * shape[0] / size[0])
