"""Our devices as Micro-Manager's: whatever drives its core drives them (pymmcore-plus' UniMMCore).

A device is reached when it is first used, so that one written into a configuration file can be told what it is before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pymmcore_plus import FocusDirection
from pymmcore_plus.experimental.unicore import (
    ShutterDevice,
    SimpleCameraDevice,
    StageDevice,
    UniMMCore,
    XYStageDevice,
)

from parfocal.devices.base import Camera, Lamp, XYStage, ZStage
from parfocal.devices.microscope import Microscope

CAMERA, XY, Z, LAMP = "Camera", "XY", "Z", "Lamp"
"""Labels that `offer` gives."""


class OfferedCamera(SimpleCameraDevice):
    """A camera of Parfocal. It exposes as its own instrument is set up; the exposure told here is only kept."""

    def __init__(self, reach: Callable[[], Camera]) -> None:
        super().__init__()
        self._reach = reach
        self._exposure_ms = 10.0

    def sensor_shape(self) -> tuple[int, int, int]:
        """(Y, X, 3): frames are RGB."""
        return (*self._reach().frame_shape, 3)

    def dtype(self) -> DTypeLike:
        """Of the frames."""
        return np.uint8

    def get_exposure(self) -> float:
        """What was told last, in ms."""
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        """Keep it, in ms."""
        self._exposure_ms = exposure

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, Any]:
        """Expose one frame into the buffer."""
        buffer[:] = self._reach().snap()
        return {}


class OfferedXYStage(XYStageDevice):
    """An x-y stage of Parfocal. Moves block, and are refused outside its limits."""

    def __init__(self, reach: Callable[[], XYStage]) -> None:
        super().__init__()
        self._reach = reach

    def set_position_um(self, x: float, y: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""
        self._reach().move_to(x, y)
        self.core.events.XYStagePositionChanged.emit(self.get_label(), *self.get_position_um())

    def get_position_um(self) -> tuple[float, float]:
        """Position (x_um, y_um) as the stage reports it."""
        return self._reach().position_um

    def home(self) -> None:
        """Not offered."""
        raise NotImplementedError("this stage is not homed through Micro-Manager")

    def stop(self) -> None:
        """Nothing: a move has ended when it returns."""

    def set_origin_x(self) -> None:
        """Not offered: the instrument's coordinates are its own."""
        raise NotImplementedError("the origin of this stage is its instrument's")

    def set_origin_y(self) -> None:
        """Not offered: the instrument's coordinates are its own."""
        raise NotImplementedError("the origin of this stage is its instrument's")


class OfferedZStage(StageDevice):
    """A z stage of Parfocal, its backlash not hidden; its positive direction leads the specimen to the objective."""

    def __init__(self, reach: Callable[[], ZStage]) -> None:
        super().__init__()
        self._reach = reach

    def set_position_um(self, val: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""
        self._reach().move_to(val)
        self.core.events.stagePositionChanged.emit(self.get_label(), self.get_position_um())

    def get_position_um(self) -> float:
        """Position in µm as the stage reports it."""
        return self._reach().position_um

    def get_focus_direction(self) -> FocusDirection:
        """Towards each other."""
        return FocusDirection.TowardSample

    def home(self) -> None:
        """Not offered."""
        raise NotImplementedError("this stage is not homed through Micro-Manager")

    def stop(self) -> None:
        """Nothing: a move has ended when it returns."""

    def set_origin(self) -> None:
        """Not offered: the instrument's coordinates are its own."""
        raise NotImplementedError("the origin of this stage is its instrument's")


class OfferedLamp(ShutterDevice):
    """A lamp of Parfocal, as a shutter that is open while it is lit."""

    def __init__(self, reach: Callable[[], Lamp]) -> None:
        super().__init__()
        self._reach = reach

    def get_open(self) -> bool:
        """Whether the lamp is lit."""
        return self._reach().is_on

    def set_open(self, open: bool) -> None:  # the base class calls it so
        """Light it, or put it out."""
        lamp = self._reach()
        if open:
            lamp.on()
        else:
            lamp.off()


def offer(microscope: Microscope) -> UniMMCore:
    """A core of Micro-Manager whose camera, stages and shutter are a microscope's."""
    session = UniMMCore()
    session.loadPyDevice(CAMERA, OfferedCamera(lambda: microscope.camera))
    session.loadPyDevice(XY, OfferedXYStage(lambda: microscope.xy))
    session.loadPyDevice(Z, OfferedZStage(lambda: microscope.z))
    session.loadPyDevice(LAMP, OfferedLamp(lambda: microscope.lamp))
    session.initializeAllDevices()
    session.setCameraDevice(CAMERA)
    session.setXYStageDevice(XY)
    session.setFocusDevice(Z)
    session.setShutterDevice(LAMP)
    session.setAutoShutter(False)
    return session
