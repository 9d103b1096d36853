"""The camera's sensor: from light to 8-bit numbers, after EMVA 1288."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sensor:
    """An 8-bit colour sensor.

    Attributes:
        full_well_e: electrons at 255 grey, over all the photosites that make one output pixel.
        dark_noise_e: read noise in electrons.
        prnu: relative standard deviation of the pixels' gain, fixed for one sensor (its seed).
        white_level: grey value of empty glass.
        vignetting: relative loss of light in the corners.
        seed: chooses the fixed pattern.
    """

    full_well_e: float = 40_000.0
    dark_noise_e: float = 12.0
    prnu: float = 0.003
    white_level: float = 225.0
    vignetting: float = 0.15
    seed: int = 0

    def expose(self, light: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
        """One frame, uint8 (Y, X, C), of light (Y, X, C), 1.0 = empty glass; noise var = K²(σ_d² + µ_e) + 1/12."""
        grey = light * _gain(self, light.shape[:2])[..., None] * np.float32(self.white_level)
        grey_per_electron = np.float32(255.0 / self.full_well_e)
        variance = grey_per_electron**2 * (self.dark_noise_e**2 + np.maximum(grey, 0) / grey_per_electron)
        noisy = grey + np.sqrt(variance) * rng.standard_normal(grey.shape, dtype=np.float32)
        return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)


@lru_cache(maxsize=4)
def _gain(sensor: Sensor, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Vignetting times pixel response, (Y, X)."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    falloff = 1 - np.float32(sensor.vignetting) * (x * x + y * y) / 2
    pattern = np.random.default_rng(sensor.seed).standard_normal(shape, dtype=np.float32)
    return falloff * (1 + np.float32(sensor.prnu) * pattern)
