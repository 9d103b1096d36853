"""Random specimens, kept as what light makes of them in bands of frequency: a matrix for each band, and no picture.

The logarithm of an image is linear in the specimen's layers (`optics.transfer`), so that its power in a band is hᵀ G h:
G holds the cross spectra of all layers' stains and phase, h what light of one colour does to each at one z. One G
serves any number of z, lights and stains, each some thousand times faster than a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from parfocal.focus.bands import BANDS, EDGES_PER_PX, FREQUENCY, MULTIPLICITY, PATCH_PX, WINDOW
from parfocal.optics.objective import Objective
from parfocal.optics.specimen import Layers
from parfocal.optics.texture import Window
from parfocal.training.synthesis import Textures, random_objective, random_specimen

PARTS = 3
"""Each band is cut into so many, since the transfer of a far plane changes within a band."""

_edges = np.interp(np.arange(BANDS * PARTS + 1) / PARTS, np.arange(BANDS + 1), EDGES_PER_PX)
_part = np.digitize(FREQUENCY, _edges).ravel() - 1
_inside = np.flatnonzero((_part >= 0) & (_part < BANDS * PARTS))
_order = _inside[np.argsort(_part[_inside], kind="stable")]
_first = np.searchsorted(_part[_order], np.arange(BANDS * PARTS + 1))
_weight = np.sqrt(MULTIPLICITY.ravel()[_order])

MODES = np.bincount(_part[_order], _weight**2, BANDS * PARTS)
"""(81,) Fourier modes of a patch in each part."""

_total = np.bincount(_part[_order], _weight**2 * FREQUENCY.ravel()[_order], MODES.size)
FREQUENCY_OF_PART = np.where(MODES > 0, _total / np.maximum(MODES, 1), (_edges[:-1] + _edges[1:]) / 2)
"""(81,) their mean frequency in cycles per canonical pixel."""

_MOST_LAYERS = 12
_LEAST_TO_SEE = 0.01


@dataclass(frozen=True)
class BandSpecimen:
    """A window of a specimen in bands.

    Attributes:
        matrix: (81, n, n) float32 cross spectra of n components: the stains and the phase of each layer.
        depth_u: (n,) stage z at which each is in focus, in units of u.
        stain: (n,) index of its stain; −1 for phase.
        absorption: (S, 3) absorbance of the stains in red, green, blue, per unit of density.
        is_photograph: whether it was made from a real image: its stains are then red, green and blue themselves.
        transmission: mean transmission of light.
    """

    matrix: NDArray[np.float32]
    depth_u: NDArray[np.float64]
    stain: NDArray[np.int64]
    absorption: NDArray[np.float32]
    is_photograph: bool
    transmission: float


def draw_specimen(rng: np.random.Generator, textures: Textures, objectives: tuple[Objective, ...]) -> BandSpecimen:
    """A random specimen that shows something, drawn as those of the rendered pairs are (`synthesis`)."""
    while True:
        objective = random_objective(rng, objectives)
        unit_um, pixel_um = objective.canonical_z_um, objective.canonical_pixel_um * rng.uniform(0.85, 1.18)
        x_um, y_um, specimen, is_photograph = random_specimen(rng, objective, textures)
        window = Window.centred(x_um, y_um, (PATCH_PX, PATCH_PX), pixel_um)
        layers = specimen.layers(window, unit_um)
        if len(layers.focus_z_um) > _MOST_LAYERS:
            continue
        density = np.einsum("lsyx,s->yx", layers.density, np.abs(layers.absorption).mean(axis=1))
        if density.std() + 0.3 * layers.phase.sum(axis=0).std() >= _LEAST_TO_SEE:
            return _in_bands(layers, unit_um, is_photograph, float(np.mean(10**-density)))


def _in_bands(layers: Layers, unit_um: float, is_photograph: bool, transmission: float) -> BandSpecimen:
    count, stains = layers.density.shape[:2]
    images = np.concatenate([layers.density, layers.phase[:, None]], axis=1).reshape(-1, PATCH_PX, PATCH_PX)
    stain = np.tile([*range(stains), -1], count)
    depth_u = np.repeat(layers.focus_z_um / unit_um, stains + 1)
    there = np.flatnonzero(np.abs(images).max(axis=(1, 2)) > 1e-6)
    images = images[there] - images[there].mean(axis=(1, 2), keepdims=True)
    spectra = scipy.fft.rfft2(images * WINDOW).reshape(there.size, -1)[:, _order] * (_weight / PATCH_PX)
    matrix = np.zeros((MODES.size, there.size, there.size), dtype=np.float32)
    for part in range(MODES.size):
        modes = spectra[:, _first[part] : _first[part + 1]]
        matrix[part] = (modes.real @ modes.real.T + modes.imag @ modes.imag.T) / max(MODES[part], 1)
    return BandSpecimen(matrix, depth_u[there], stain[there], layers.absorption, is_photograph, transmission)
