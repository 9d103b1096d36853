"""A microscope: a frozen record of devices that belong together."""

from __future__ import annotations

from dataclasses import dataclass

from parfocal.devices.base import Camera, Clock, Lamp, XYStage, ZStage
from parfocal.optics.objective import Objective


@dataclass(frozen=True)
class Microscope:
    """The devices of one instrument and what is fixed about it.

    Attributes:
        name: the instrument's name, written into every result.
        objective: the lens in use.
        sensor_pixel_um: unbinned sensor pixel in µm, which sets the depth of field.
        decision_time_s: modelled time that one focus prediction takes on the instrument's computer.
        lamp_by_hand: whether only a hand can switch the lamp, which then says of itself what it was told last.
    """

    name: str
    camera: Camera
    xy: XYStage
    z: ZStage
    lamp: Lamp
    clock: Clock
    objective: Objective
    sensor_pixel_um: float
    decision_time_s: float = 0.0
    lamp_by_hand: bool = False

    @property
    def depth_of_field_um(self) -> float:
        """Total depth of field in µm."""
        return self.objective.depth_of_field_um(self.sensor_pixel_um)
