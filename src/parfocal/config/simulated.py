"""A simulated instrument from its file: specimen, light path, errors of its stages, all from one seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from parfocal.config.tables import InstrumentFile
from parfocal.devices.base import Truth
from parfocal.devices.microscope import Microscope
from parfocal.devices.simulated import (
    CameraSettings,
    SimulatedSettings,
    XYSettings,
    ZSettings,
    simulated_microscope,
)
from parfocal.optics.imaging import SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.photograph import read_photograph
from parfocal.optics.samples import SAMPLES, Appearance, make_sample
from parfocal.optics.sensor import Sensor
from parfocal.optics.specimen import Specimen, Topography
from parfocal.optics.transfer import Illumination

IMAGE_PREFIX = "image:"
"""Begins the name of a specimen that is a picture; its path follows."""


def specimen_names() -> list[str]:
    """Names of the drawn specimens."""
    return list(SAMPLES)


def simulated_instrument(file: InstrumentFile, specimen: str, seed: int) -> tuple[Microscope, Truth]:
    """The microscope over a specimen, and the truth about it. Raises FileError if its image cannot be read."""
    world, objective = file.simulated, Objective(**file.objective.model_dump())
    relief = _relief(seed, world.tilt_um_per_mm)
    illumination = Illumination(
        objective,
        condenser_ratio=world.condenser_ratio,
        spherical_waves=world.spherical_waves,
        focal_shift_um=(world.focal_shift_um, 0.0, -0.7 * world.focal_shift_um),
    )
    settings = SimulatedSettings(
        name=file.name,
        objective=objective,
        sensor_pixel_um=file.camera.sensor_pixel_um,
        decision_time_s=file.decision_time_s,
        camera=CameraSettings(
            frame_shape=file.camera.frame_shape,
            pixel_size_um=file.camera.pixel_size_um,
            shift_sigma_px=world.shift_sigma_px,
            flicker=world.flicker,
        ),
        xy=XYSettings(
            limits_um=world.stage_limits_um,
            backlash_um=world.xy_backlash_um,
            screw_um=world.xy_screw_um,
            error_um=world.xy_error_um,
            homes=world.stages_home,
        ),
        z=ZSettings(
            backlash_um=world.z_backlash_um,
            error_um=world.z_error_um,
            screw_um=world.z_screw_um,
            homes=world.stages_home,
        ),
        lamp_file=world.lamp_file,
    )
    optics = SlideOptics(_specimen(specimen, file.camera.pixel_size_um, seed, relief), illumination)
    return simulated_microscope(optics, Sensor(seed=seed), settings, _surface(relief), seed)


def _relief(seed: int, tilt_um_per_mm: tuple[float, float] | None) -> Topography:
    """How this slide lies: some 2 µm/mm of tilt, a little bow and roughness, somewhere within ±15 µm of z = 0."""
    rng = np.random.default_rng((seed, 1))
    tilt = tilt_um_per_mm or tuple(float(t) for t in np.clip(rng.normal(0.0, 1.5, 2), -4.0, 4.0))
    return Topography(
        seed=seed,
        base_um=float(rng.uniform(-15.0, 15.0)),
        tilt_um_per_mm=(tilt[0], tilt[1]),
        bow_um_per_mm2=float(rng.uniform(-0.5, 0.5)),
        roughness_um=0.5,
    )


def _surface(relief: Topography) -> Callable[[float, float], float]:
    return lambda x_um, y_um: float(relief.focus_z_um(np.array([x_um]), np.array([y_um]))[0])


def _specimen(name: str, pixel_size_um: float, seed: int, relief: Topography) -> Specimen:
    if name.startswith(IMAGE_PREFIX):
        return read_photograph(Path(name.removeprefix(IMAGE_PREFIX)), pixel_size_um, relief)
    return make_sample(name, seed, relief, Appearance())
