"""Random lenses and lamps as tables: what each does to stain and phase at any z, in parts of bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.optics.imaging import PHASE_WAVELENGTH_UM
from parfocal.optics.objective import Objective
from parfocal.optics.transfer import RGB_WAVELENGTHS_UM, TransferFunction
from parfocal.training.band_specimens import FREQUENCY_OF_PART
from parfocal.training.synthesis import random_illumination, random_objective

_LOWEST_U, _HIGHEST_U, _STEP_U = -30.0, 16.0, 0.125


@dataclass(frozen=True)
class BandLight:
    """An illumination in parts of bands.

    Attributes:
        table: (3, 2, Z, 81) float32: for red, green, blue, H_A and H_P at defocus −30 … 16 u, an eighth of u apart,
            times the response of a pixel; H_P also times 0.55 µm over the wavelength, since phase is stated at 0.55 µm.
        focal_shift_u: (3,) stage z at which each colour is sharp, in units of u.
    """

    table: NDArray[np.float32]
    focal_shift_u: NDArray[np.float64]

    def at(self, channel: int, defocus_u: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """H_A and H_P of a channel, each (…, 81), at defocus (…) in u, which is held within the table."""
        steps = np.clip((defocus_u - _LOWEST_U) / _STEP_U, 0, self.table.shape[2] - 1.001)
        below = steps.astype(int)
        share = (steps - below)[..., None].astype(np.float32)
        absorption, refraction = (line[below] * (1 - share) + line[below + 1] * share for line in self.table[channel])
        return absorption, refraction


def draw_light(rng: np.random.Generator, objectives: tuple[Objective, ...]) -> BandLight:
    """Random optics, drawn as those of the rendered pairs are (`synthesis`)."""
    objective = random_objective(rng, objectives)
    illumination, unit_um = random_illumination(rng, objective), objective.canonical_z_um
    frequency_per_um = FREQUENCY_OF_PART / (objective.canonical_pixel_um * rng.uniform(0.85, 1.18))
    pixel = np.sinc(FREQUENCY_OF_PART).astype(np.float32)
    defocus_um = np.arange(_LOWEST_U, _HIGHEST_U + _STEP_U / 2, _STEP_U) * unit_um
    table = np.empty((3, 2, defocus_um.size, pixel.size), dtype=np.float32)
    for channel, wavelength_um in enumerate(RGB_WAVELENGTHS_UM):
        transfer = TransferFunction(illumination, wavelength_um, frequency_per_um)
        for index, defocus in enumerate(defocus_um):
            absorption, refraction = transfer.line(float(defocus))
            table[channel, 0, index] = absorption * pixel
            table[channel, 1, index] = refraction * pixel * (PHASE_WAVELENGTH_UM / wavelength_um)
    return BandLight(table, np.array(illumination.focal_shift_um) / unit_um)
