"""An instrument without optics: frames carry the true z of the stage, and a predictor reads it from them.

Red and blue hold z in steps of 0.01 µm; green holds stripes that fade away from the focus, for figures of merit.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from parfocal.devices.approach import ApproachSettings, GuardedZ, GuardLimits
from parfocal.devices.simulated import CameraSettings, SimulatedSettings, XYSettings, ZSettings, simulated_microscope
from parfocal.focus.predictor import FocusPrediction, PairContrast
from parfocal.optics.objective import Objective

SHAPE = (16, 16)
_Z_STEP_UM = 0.01
_Z_ZERO = 32768


class Stripes:
    """Light of a specimen whose focus is at `focus_um` everywhere; `contrast` 0 makes it empty glass."""

    def __init__(self, focus_um, contrast=100.0):
        self.focus_um = focus_um
        self.contrast = contrast

    def field(self, x_um, y_um, shape, pixel_um, /):
        return self

    def plane(self, z_um, channels=(0, 1, 2), shift_px=(0.0, 0.0)):
        encoded = round(z_um / _Z_STEP_UM) + _Z_ZERO
        light = np.empty((*SHAPE, 3), dtype=np.float32)
        light[..., 0], light[..., 2] = divmod(encoded, 256)
        stripes = (np.arange(SHAPE[1]) // 4 % 2) * 2 - 1
        light[..., 1] = 120 + stripes * self.contrast / (1 + abs(z_um - self.focus_um) / 4)
        return light[..., list(channels)]


class Numbers:
    """A sensor without noise, for light that is grey levels already."""

    def expose(self, light, rng):
        return np.clip(np.rint(light), 0, 255).astype(np.uint8)


class Noisy:
    """A camera whose frames are grey, with noise."""

    frame_shape = SHAPE
    pixel_size_um = 0.345

    def __init__(self):
        self._rng = np.random.default_rng(0)

    def snap(self):
        return self._rng.integers(98, 103, (*SHAPE, 3), dtype=np.uint8)


def true_z_um(frame):
    """The true z in µm at which a frame was taken."""
    return (int(frame[0, 0, 0]) * 256 + int(frame[0, 0, 2]) - _Z_ZERO) * _Z_STEP_UM


@dataclass
class Oracle:
    """A predictor that knows the focus, with an error of its own, and remembers every pair it was asked about.

    The difference of a pair grows with the distance of its images; symmetric specimens show none when straddled.
    """

    focus_um: float
    sigma_um: float = 0.0
    spread_um: float | list[float] = 0.3
    image_sd: float = 20.0
    straddles: bool = False
    seed: int = 0
    pairs: list[tuple[float, float]] = field(default_factory=list)
    asked_delta_um: list[float] = field(default_factory=list)

    def __post_init__(self):
        self._rng = np.random.default_rng(self.seed)

    def measure(self, first, second):
        z1, z2 = true_z_um(first), true_z_um(second)
        if self.straddles:
            return PairContrast(self.image_sd, 3 * abs(abs(z2 - self.focus_um) - abs(z1 - self.focus_um)))
        return PairContrast(self.image_sd, 3 * abs(z2 - z1))

    def predict(self, first, second, delta_um):
        self.pairs.append((true_z_um(first), true_z_um(second)))
        self.asked_delta_um.append(delta_um)
        defocus_um = true_z_um(second) - self.focus_um + self._rng.normal(0.0, self.sigma_um)
        spread_um = self.spread_um
        if isinstance(spread_um, list):
            spread_um = spread_um[min(len(self.pairs), len(spread_um)) - 1]
        contrast = self.measure(first, second)
        patches = 1 if math.isnan(spread_um) else 4
        return FocusPrediction(
            defocus_um, spread_um, (defocus_um,) * patches, (20.0,) * patches, contrast.image_sd, contrast.difference_sd
        )


def instrument(light, *, backlash_um=20.0, error_um=0.0, start_um=0.0, decision_time_s=0.015, seed=0):
    """(microscope, truth) over a specimen; the lamp is lit."""
    settings = SimulatedSettings(
        objective=Objective(40, 0.65),
        decision_time_s=decision_time_s,
        camera=CameraSettings(frame_shape=SHAPE, shift_sigma_px=0.0, flicker=0.0),
        xy=XYSettings(screw_um=0.0, error_um=0.0),
        z=ZSettings(backlash_um=backlash_um, error_um=error_um, start_um=start_um, limits_um=(-300.0, 300.0)),
    )
    microscope, truth = simulated_microscope(light, Numbers(), settings, lambda x_um, y_um: light.focus_um, seed)
    microscope.lamp.on()
    return microscope, truth


def guard(microscope, *, backlash_um=20.0, start_below_um=8.0, take_up_um=None, delta_um=3.0, enforce=True, **limits):
    """A guard over the microscope's z stage, its settings right for the backlash unless told otherwise."""
    approach = ApproachSettings(
        backlash_um=backlash_um,
        start_below_um=start_below_um,
        take_up_um=backlash_um + 2.0 if take_up_um is None else take_up_um,
        delta_um=delta_um,
        enforce=enforce,
    )
    limits = {"lowest_um": -200.0, "highest_um": 200.0} | limits
    return GuardedZ(microscope.z, microscope.clock, approach, GuardLimits(**limits))
