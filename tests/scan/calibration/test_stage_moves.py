"""Stage against camera on a microscope without optics: a random pattern that the camera may see turned."""

import math
from dataclasses import replace

import numpy as np
import pytest

from geometric import Numbers
from parfocal.devices.simulated import CameraSettings, SimulatedSettings, XYSettings, ZSettings, simulated_microscope
from parfocal.errors import InstrumentError, LimitError
from parfocal.scan.calibration.stage_moves import StagePlan, measure_stage

PIXEL_UM = 2.0
SHAPE = (96, 128)
PLAN = StagePlan(length_um=3000.0)


class Pattern:
    """Grey waves in all directions, seen by a camera that is turned by some degrees; `contrast` 0 is empty glass."""

    def __init__(self, turned_deg=0.0, contrast=10.0):
        rng = np.random.default_rng(0)
        angle, length_um = rng.uniform(0, 2 * math.pi, 60), rng.uniform(12.0, 90.0, 60)
        self._wave = 2 * math.pi / length_um * np.array([np.cos(angle), np.sin(angle)])
        self._phase = rng.uniform(0, 2 * math.pi, 60)
        self._turn = math.radians(turned_deg)
        self._contrast = contrast

    def field(self, x_um, y_um, shape, pixel_um, /):
        v, u = ((np.arange(n) - (n - 1) / 2) * pixel_um for n in shape)
        along_u = self._wave[0] * math.cos(self._turn) + self._wave[1] * math.sin(self._turn)
        along_v = self._wave[1] * math.cos(self._turn) - self._wave[0] * math.sin(self._turn)
        start = np.exp(1j * (self._wave[0] * x_um + self._wave[1] * y_um + self._phase))
        waves = ((np.exp(1j * np.outer(v, along_v)) * start) @ np.exp(1j * np.outer(along_u, u))).imag
        grey = np.clip(120 + self._contrast * waves, 0, 255).astype(np.float32)
        return _Plane(np.repeat(grey[..., None], 3, axis=2))


class _Plane:
    def __init__(self, light):
        self._light = light

    def plane(self, z_um, channels=(0, 1, 2), shift_px=(0.0, 0.0)):
        return self._light[..., list(channels)]


def microscope_over(pattern, seed=0, **xy):
    settings = SimulatedSettings(
        camera=CameraSettings(frame_shape=SHAPE, pixel_size_um=PIXEL_UM, shift_sigma_px=0.0, flicker=0.0),
        xy=XYSettings(**({"screw_um": 0.0, "backlash_um": 40.0} | xy)),
        z=ZSettings(),
    )
    microscope, _ = simulated_microscope(pattern, Numbers(), settings, lambda x_um, y_um: 0.0, seed)
    microscope.lamp.on()
    return microscope


@pytest.mark.parametrize(("seed", "turned_deg"), [(0, 0.0), (1, 3.0), (2, -6.0)])
def test_pixel_size_and_rotation_are_right_to_a_thousandth_with_2_um_that_do_not_repeat(seed, turned_deg):
    found = measure_stage(microscope_over(Pattern(turned_deg), seed), (0.0, 0.0), PLAN)
    assert found.stage_map.pixel_size_um == pytest.approx(PIXEL_UM, rel=1e-3)
    assert found.stage_map.rotation_deg == pytest.approx(-turned_deg, abs=0.06)
    assert found.stage_map.stage_error_um == pytest.approx(2.0, rel=0.4)
    assert found.neighbour_error_um == pytest.approx(2.0 * math.sqrt(2), rel=0.4)
    for slack in found.backlash:
        assert slack.mean_um == pytest.approx(40.0, abs=3.5)


SHORT = replace(PLAN, length_um=800.0, passes=1, reversals=2)


@pytest.mark.parametrize("backlash_um", [0.0, 80.0])
def test_little_and_much_backlash_of_x_and_y(backlash_um):
    found = measure_stage(microscope_over(Pattern(), error_um=0.0, backlash_um=backlash_um), (100.0, -50.0), SHORT)
    for slack in found.backlash:
        assert slack.mean_um == pytest.approx(backlash_um, abs=0.2)
    assert found.stage_map.pixel_size_um == pytest.approx(PIXEL_UM, rel=1e-3)


def test_every_exposure_is_counted_and_told():
    told = []
    found = measure_stage(microscope_over(Pattern()), (0.0, 0.0), SHORT, lambda done, total: told.append((done, total)))
    assert told[-1] == (found.images, found.images)
    assert len(told) == found.images


def test_empty_glass_is_refused():
    with pytest.raises(InstrumentError, match="both axes"):
        measure_stage(microscope_over(Pattern(contrast=0.0)), (0.0, 0.0), SHORT)


def test_lines_beyond_the_stage_are_refused():
    with pytest.raises(LimitError):
        measure_stage(microscope_over(Pattern(), limits_um=((-300.0, 300.0), (-300.0, 300.0))), (0.0, 0.0), SHORT)
