"""How preparations and cameras differ, drawn at random: what training draws, and the test set of the same protocol."""

from __future__ import annotations

import numpy as np

from parfocal.optics.samples import SAMPLES, Appearance
from parfocal.optics.sensor import Sensor


def random_appearance(rng: np.random.Generator, kind: str, unit_um: float) -> Appearance:
    """How a preparation of this kind of sample looks; lengths in units of u, `unit_um`."""
    standard = np.array(SAMPLES[kind][1])
    stains = np.clip(standard * rng.uniform(0.6, 1.4, (2, 1)) + rng.uniform(-0.2, 0.2, (2, 3)), 0.02, 1.3)
    if rng.random() < 0.2:
        stains = np.repeat(stains.mean(axis=1, keepdims=True), 3, axis=1)
    thick = rng.random() < 0.25 or kind == "unstained"
    return Appearance(
        stains=(tuple(stains[0].tolist()), tuple(stains[1].tolist())),
        strength=float(rng.uniform(0.5, 1.3)),
        phase=float(rng.uniform(0.1, 1.6)),
        size=float(np.exp(rng.uniform(np.log(0.6), np.log(1.8)))),
        density=float(np.exp(rng.uniform(np.log(0.35), np.log(1.5)))),
        thickness_um=float(rng.uniform(0.5, 7.0 if thick else 3.0) * unit_um),
        edge_um=float(rng.uniform(0.3, 1.4)),
        cover=float(rng.choice([0.6, 0.8, 0.99])),
        dust_per_mm2=float(rng.choice([0.0, 5.0, 40.0])),
    )


def random_sensor(rng: np.random.Generator) -> Sensor:
    """A camera's sensor."""
    return Sensor(
        full_well_e=float(np.exp(rng.uniform(np.log(8_000), np.log(60_000)))),
        dark_noise_e=float(rng.uniform(3, 15)),
        prnu=float(rng.uniform(0.001, 0.008)),
        white_level=float(rng.uniform(190, 240)),
        vignetting=float(rng.uniform(0, 0.1)),
        seed=int(rng.integers(2**31)),
    )
