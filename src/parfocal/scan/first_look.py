"""The first look through an instrument: is there light, which way do the axes run, how large is a pixel?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.errors import InstrumentError
from parfocal.slide.registration.translation import measure_translation

_BLACK, _DIM, _WHITE, _MOST_WHITE = 3.0, 60.0, 254, 0.02
_LEAST_DEVIATION = 2.0
_MOVE_SHARE, _SEARCH_SHARE, _SLACK_SHARE = 0.35, 0.5, 1.0  # of the frame's shorter side
_LEAST_QUALITY = 0.5
_MOST_TURNED = 0.5  # of a move that may show along the other axis
_UNEQUAL = 1.3


def judge_light(frame: Frame) -> list[str]:
    """What is wrong with a frame's light, in words; nothing if it will do.

    Args:
        frame: uint8 (Y, X, 3), taken with the lamp lit and specimen under the lens.
    """
    mean = float(frame.mean())
    if mean < _BLACK:
        return [f"the picture is black (mean {mean:.1f} of 255): is the lamp lit, and the light path open?"]
    wrong = []
    if mean < _DIM:
        wrong.append(f"the picture is dim (mean {mean:.0f} of 255): raise the exposure or the lamp")
    white = float((frame >= _WHITE).any(axis=2).mean())
    if white > _MOST_WHITE:
        wrong.append(f"{white:.0%} of the pixels are saturated: lower the exposure or the lamp")
    deviation = float(frame[..., 1].std())
    if deviation < _LEAST_DEVIATION:
        wrong.append(
            f"there is hardly anything to see (standard deviation {deviation:.1f} grey levels): bring specimen under "
            "the lens, and focus roughly by hand"
        )
    return wrong


@dataclass(frozen=True)
class XYDirections:
    """How an x-y stage's axes lie against the picture's.

    Attributes:
        invert: of "x" and "y" in our sense, those that run the other way.
        swap_xy: whether the device's x moves what we call y.
        pixel_size_um: size of a pixel by the stage's own motion, in µm.
        turned_deg: angle from the stage's axes to the picture's that is left, in degrees.
    """

    invert: tuple[str, ...]
    swap_xy: bool
    pixel_size_um: float
    turned_deg: float


def measure_directions(microscope: Microscope) -> XYDirections:
    """Move a third of a frame along each of the device's axes and see where the picture goes. The lamp is lit.

    Each axis comes from a frame's side below first, so that the slack is closed. The picture need not be sharp.

    Args:
        microscope: camera and x-y stage, whose directions are not declared; its pixel size need only be about right.

    Raises:
        LimitError: if the moves, a frame's side around, would leave the stage's limits.
        InstrumentError: if the picture does not follow the stage.
    """
    start_um = microscope.xy.position_um
    shorter_um = min(microscope.camera.frame_shape) * microscope.camera.pixel_size_um
    columns = [_moved(microscope, axis, shorter_um) for axis in (0, 1)]
    microscope.xy.move_to(*start_um)
    return directions_of(np.array(columns).T)


def directions_of(matrix: NDArray[np.float64]) -> XYDirections:
    """Directions from the map picture_px = matrix · device_um, in px/µm.

    Raises:
        InstrumentError: if the axes are turned by 30° or more, or of unlike scale.
    """
    (xx, xy), (yx, yy) = matrix
    swapped = abs(xy) + abs(yx) > abs(xx) + abs(yy)
    along_x, along_y = (xy, yx) if swapped else (xx, yy)
    aside = (abs(xx), abs(yy)) if swapped else (abs(yx), abs(xy))
    if max(aside) > _MOST_TURNED * min(abs(along_x), abs(along_y)):
        raise InstrumentError("the camera is turned by 30° or more against the stage: turn it until rows run along x")
    scales = sorted((math.hypot(xx, yx), math.hypot(xy, yy)))
    if scales[1] > _UNEQUAL * scales[0]:
        raise InstrumentError(
            f"x and y move the picture by {scales[0]:.2f} and {scales[1]:.2f} px/µm: are steps per µm right for both?"
        )
    ours = matrix[:, ::-1] if swapped else matrix
    ours = ours * np.sign([along_x, along_y])
    turned = math.degrees(math.atan2(ours[1, 0] - ours[0, 1], ours[0, 0] + ours[1, 1]))
    invert = tuple(axis for axis, along in (("x", along_x), ("y", along_y)) if along < 0)
    return XYDirections(invert, bool(swapped), 1 / math.sqrt(scales[0] * scales[1]), turned)


def _moved(microscope: Microscope, axis: int, shorter_um: float) -> NDArray[np.float64]:
    """Motion (x, y) of the place in the picture for each µm of a device's axis, in px/µm."""
    start_um, way_um = microscope.xy.position_um, _MOVE_SHARE * shorter_um

    def go(offset_um: float) -> Frame:
        place_um = list(start_um)
        place_um[axis] += offset_um
        microscope.xy.move_to(place_um[0], place_um[1])
        return microscope.camera.snap()

    go(-_SLACK_SHARE * shorter_um)
    before, after = go(0.0), go(way_um)
    reach_px = _SEARCH_SHARE * min(microscope.camera.frame_shape)
    grey = [np.ascontiguousarray(frame[..., 1]) for frame in (before, after)]
    found = measure_translation(grey[0], grey[1], (0.0, 0.0), reach_px)
    if found is None or found.quality < _LEAST_QUALITY or math.hypot(found.dx, found.dy) < 1:
        raise InstrumentError(
            f"the picture does not follow the device's {'xy'[axis]} axis: a move of {way_um:.0f} µm was not seen; is "
            "there specimen under the lens, and the pixel size about right?"
        )
    return np.array([found.dx, found.dy]) / way_um
