"""The sensor behaves as EMVA 1288 says: noise variance K²(σ_d² + µ_e) + 1/12, fixed pattern, vignetting, 8 bits."""

import numpy as np
import pytest

from parfocal.optics.sensor import Sensor

FLAT = Sensor(full_well_e=10_000, dark_noise_e=20, prnu=0.0, vignetting=0.0, white_level=200)


def uniform(level: float, pixels: int = 200) -> np.ndarray:
    return np.full((pixels, pixels, 3), level, np.float32)


def test_noise_variance_rises_with_the_mean_by_the_gain():
    rng = np.random.default_rng(1)
    frames = [FLAT.expose(uniform(level), rng).astype(float) for level in np.linspace(0.1, 1.0, 8)]
    mean, variance = np.array([(frame.mean(), frame.var()) for frame in frames]).T
    slope, offset = np.polyfit(mean, variance, 1)
    gain = 255 / FLAT.full_well_e  # grey per electron
    assert slope == pytest.approx(gain, rel=0.03)
    assert offset == pytest.approx((gain * FLAT.dark_noise_e) ** 2 + 1 / 12, abs=0.05)


def test_frames_have_eight_bits_and_saturate():
    frame = FLAT.expose(uniform(5.0), np.random.default_rng(0))
    assert frame.dtype == np.uint8
    assert frame.min() == 255
    assert FLAT.expose(uniform(0.0), np.random.default_rng(0)).mean() < 2


def test_empty_glass_has_the_white_level():
    assert FLAT.expose(uniform(1.0), np.random.default_rng(0)).mean() == pytest.approx(200, abs=0.1)


def test_vignetting_takes_its_share_from_the_corners_and_nothing_from_the_centre():
    sensor = Sensor(full_well_e=1e7, dark_noise_e=0, prnu=0, vignetting=0.2, white_level=200)
    frame = sensor.expose(uniform(1.0, 201), np.random.default_rng(0))
    assert frame[100, 100, 1] == pytest.approx(200, abs=1)
    assert frame[0, 0, 1] == pytest.approx(160, abs=1)
    assert frame[100, 0, 1] == pytest.approx(180, abs=1)


def test_the_fixed_pattern_belongs_to_the_sensor_and_not_to_the_frame():
    def mean_frame(seed: int, noise_seed: int) -> np.ndarray:
        sensor = Sensor(full_well_e=1e7, dark_noise_e=0, prnu=0.02, vignetting=0, white_level=200, seed=seed)
        return sensor.expose(uniform(1.0), np.random.default_rng(noise_seed))[..., 1].astype(float).ravel()

    first, again, other = mean_frame(1, 1), mean_frame(1, 2), mean_frame(2, 1)
    assert np.corrcoef(first, again)[0, 1] > 0.95
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05
    assert first.std() / first.mean() == pytest.approx(0.02, rel=0.05)
