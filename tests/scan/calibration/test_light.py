"""What optics, illumination and noise come to."""

import numpy as np
import pytest

from parfocal.errors import SettingsError
from parfocal.focus.predictor import PairContrast, flattened_sd
from parfocal.optics.objective import Objective
from parfocal.scan.calibration.light import measure_illumination, measure_noise, optical_figures

SHAPE = (96, 128)


class Measuring:
    """A predictor that measures whole frames, and predicts nothing."""

    def measure(self, first, second):
        return PairContrast(flattened_sd(first), float((second.astype(float) - first).std()))

    def predict(self, first, second, delta_um):
        raise AssertionError("nothing is predicted here")


@pytest.mark.parametrize(
    ("objective", "depth_um", "delta_um"), [(Objective(20, 0.75), 1.21, 2.0), (Objective(40, 0.65), 1.43, 2.9)]
)
def test_depth_of_field_and_delta_follow_from_the_objective(objective, depth_um, delta_um):
    figures = optical_figures(objective, 3.45)
    assert figures.depth_of_field_um == pytest.approx(depth_um, abs=0.005)
    assert figures.delta_um == delta_um


def stained(count, white=(220.0, 210.0, 180.0), dark=0.8):
    """Frames of empty glass with a stained square somewhere, under light that falls to `dark` in the corners."""
    rng = np.random.default_rng(0)
    y, x = (np.linspace(-1, 1, n) for n in SHAPE)
    fall = 1 - (1 - dark) * (y[:, None] ** 2 + x[None, :] ** 2) / 2
    frames = []
    for _ in range(count):
        glass = np.ones((*SHAPE, 3)) * white
        top, left = rng.integers(0, 60), rng.integers(0, 90)
        glass[top : top + 36, left : left + 36] *= 0.5
        frames.append(np.rint(glass * fall[..., None]).astype(np.uint8))
    return frames


def test_illumination_and_white_are_told_from_the_specimen():
    light = measure_illumination(stained(12))
    assert light.corner == pytest.approx([0.84] * 3, abs=0.04)  # of the outermost of 6 × 8 places
    assert np.array(light.gains) == pytest.approx(np.array([1, 220 / 210, 220 / 180]), rel=0.01)
    assert light.saturated == 0
    assert np.shape(light.grid()) == (6, 8, 3)


def test_light_at_the_end_of_the_range_is_told():
    assert measure_illumination([np.full((*SHAPE, 3), 255, np.uint8)] * 9).saturated == 1


def test_too_few_frames_cannot_tell():
    with pytest.raises(SettingsError, match="8 frames are fewer than the 9"):
        measure_illumination(stained(8))


def test_noise_is_what_two_frames_of_one_place_differ_by():
    rng = np.random.default_rng(0)
    scene = rng.uniform(50, 200, (*SHAPE, 3))
    frames = [np.clip(np.rint(scene + rng.normal(0, 1.5, scene.shape)), 0, 255).astype(np.uint8) for _ in range(4)]
    noise = measure_noise([(frames[0], frames[1]), (frames[2], frames[3])], Measuring())
    assert noise.noise_sd == pytest.approx(1.53, abs=0.05)
    assert noise.empty_sd == pytest.approx(1.5 * 1.55, abs=0.1)
    assert noise.difference_floor == pytest.approx(1.15 * 1.53 * np.sqrt(2), rel=0.05)


def test_no_pair_is_no_noise():
    with pytest.raises(SettingsError):
        measure_noise([], Measuring())
