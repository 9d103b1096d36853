"""A simulated low-cost microscope: play, errors and times of a cheap instrument (paper, section 4.1).

Stage and camera do not know each other. The slide lies on the stages (`SlideOnStage`) and the camera looks at it. What
is true and not reported is on the classes here, and reaches reports through `SimulatedTruth` only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from parfocal.devices.microscope import Microscope
from parfocal.devices.simulated.camera import CameraSettings, Sensor, SimulatedCamera, SimulatedLamp, VirtualClock
from parfocal.devices.simulated.slide import Light, Optics, SimulatedTruth, SlideOnStage, shows_tissue
from parfocal.devices.simulated.stages import PlayAxis, SimulatedXYStage, SimulatedZStage, XYSettings, ZSettings
from parfocal.optics.objective import Objective

__all__ = [
    "CameraSettings", "Light", "Optics", "PlayAxis", "Sensor", "SimulatedCamera", "SimulatedLamp", "SimulatedSettings",
    "SimulatedTruth", "SimulatedXYStage", "SimulatedZStage", "SlideOnStage", "VirtualClock", "XYSettings", "ZSettings",
    "shows_tissue", "simulated_microscope",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SimulatedSettings:
    """A simulated instrument.

    Attributes:
        name: the instrument's name.
        objective: its lens.
        sensor_pixel_um: unbinned sensor pixel in µm.
        decision_time_s: modelled time of one focus prediction.
        camera: its camera.
        xy: its x-y stage.
        z: its z stage.
        lamp_file: where its lamp keeps its state; None to keep it in memory.
    """

    name: str = "simulated-20x"
    objective: Objective = field(default_factory=lambda: Objective(20, 0.75))
    sensor_pixel_um: float = 3.45
    decision_time_s: float = 0.015
    camera: CameraSettings = field(default_factory=CameraSettings)
    xy: XYSettings = field(default_factory=XYSettings)
    z: ZSettings = field(default_factory=ZSettings)
    lamp_file: Path | None = None


def simulated_microscope(
    optics: Optics,
    sensor: Sensor,
    settings: SimulatedSettings,
    surface_um: Callable[[float, float], float],
    seed: int = 0,
) -> tuple[Microscope, SimulatedTruth]:
    """A microscope over a simulated slide, and the truth about it.

    Args:
        optics: specimen and light path.
        sensor: the camera's sensor.
        settings: the instrument.
        surface_um: mean depth of the specimen at (x_um, y_um), in µm, such as a topography's; only the truth sees it.
        seed: of everything random in the instrument.

    Raises:
        SettingsError: if the settings are out of range.
    """
    z_rng, xy_rng, camera_rng = np.random.default_rng(seed).spawn(3)
    clock, lamp = VirtualClock(), SimulatedLamp(settings.lamp_file)
    z = SimulatedZStage(settings.z, clock, z_rng)
    xy = SimulatedXYStage(settings.xy, clock, xy_rng)
    slide = SlideOnStage(optics, xy, z, settings.camera.frame_shape, settings.camera.pixel_size_um)
    microscope = Microscope(
        name=settings.name,
        camera=SimulatedCamera(settings.camera, slide.light, sensor, lamp, clock, camera_rng),
        xy=xy,
        z=z,
        lamp=lamp,
        clock=clock,
        objective=settings.objective,
        sensor_pixel_um=settings.sensor_pixel_um,
        decision_time_s=settings.decision_time_s,
    )
    return microscope, SimulatedTruth(slide, settings.objective, microscope.depth_of_field_um, surface_um)
