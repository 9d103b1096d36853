"""Partially coherent transfer functions of a bright-field microscope, with defocus.

A weak object of absorbance μ (natural logarithm of the intensity transmission) and phase φ, at defocus d, gives

    ln I(f) = −H_A(f, d) · μ(f) + H_P(f, d) · φ(f)

H_A is even in d without aberrations and 1 at zero frequency (Beer–Lambert); H_P is odd in d. Both are real and radial
because source and pupil are: with A(f) = ∫ S(s) P(s + f) P*(s) ds / ∫ S(s) |P(s)|² ds they are Re A and −2 Im A.

Signs: d < 0 puts the focal plane on the objective's side of the specimen, so light travels on by −d to reach it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError
from parfocal.optics.objective import Objective

RGB_WAVELENGTHS_UM = (0.62, 0.54, 0.46)
"""Effective wavelengths of the red, green and blue channels under a white LED, in µm."""

_SOURCE_RADII = 24
_SOURCE_ANGLES = 40
_LINE_POINTS = 160
_BLOCK_RADIANS = 16.0
_BLOCK_DEGREE = 30
_DEGREES = np.arange(_BLOCK_DEGREE + 1)
_NODES = np.polynomial.chebyshev.chebpts1(_BLOCK_DEGREE + 1)
_TO_COEFFICIENTS = np.linalg.inv(np.polynomial.chebyshev.chebvander(_NODES, _BLOCK_DEGREE))


@dataclass(frozen=True)
class Illumination:
    """What lies between lamp and sensor, the specimen left out.

    Attributes:
        objective: the lens.
        condenser_ratio: condenser aperture over objective aperture, above 0 and at most 1.
        spherical_waves: primary spherical aberration in waves at the pupil's edge, balanced by defocus.
        focal_shift_um: (red, green, blue) stage z at which each channel is sharp, relative to the nominal, in µm.

    Raises:
        SettingsError: for a condenser ratio outside (0, 1].
    """

    objective: Objective
    condenser_ratio: float = 0.7
    spherical_waves: float = 0.0
    focal_shift_um: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not 0 < self.condenser_ratio <= 1:
            raise SettingsError(f"condenser ratio {self.condenser_ratio:g} is not above 0 and at most 1")

    def with_objective(self, objective: Objective) -> Illumination:
        """The same light through another lens."""
        return replace(self, objective=objective)


class TransferFunction:
    """H_A and H_P of one wavelength on a line of spatial frequencies, for any defocus.

    Args:
        illumination: aperture, condenser and aberration.
        wavelength_um: wavelength in µm.
        frequency_per_um: (F,) frequencies of the line in cycles/µm; 160 from 0 to the cutoff unless told.

    Attributes:
        cutoff_per_um: frequency beyond which nothing is transmitted, in cycles/µm.
        frequency_per_um: (F,) frequencies of the line.
        block_um: span of defocus over which one polynomial holds, in µm.
    """

    def __init__(
        self,
        illumination: Illumination,
        wavelength_um: float,
        frequency_per_um: NDArray[np.float64] | None = None,
    ) -> None:
        objective = illumination.objective
        n_per_um = objective.immersion_index / wavelength_um
        pupil = objective.na / wavelength_um
        self.cutoff_per_um = pupil * (1 + illumination.condenser_ratio)
        if frequency_per_um is None:
            frequency_per_um = np.linspace(0.0, self.cutoff_per_um, _LINE_POINTS)
        self.frequency_per_um = frequency_per_um

        source_x, source_y, weight = _half_disc(pupil * illumination.condenser_ratio)
        squared = (source_x + self.frequency_per_um[:, None]) ** 2 + source_y**2  # (F, S)
        source_squared = source_x**2 + source_y**2
        soft_edge = 0.5 * pupil * illumination.condenser_ratio / _SOURCE_RADII
        passed, undisturbed = (
            np.clip((pupil - np.sqrt(radius_squared)) / soft_edge + 0.5, 0.0, 1.0)
            for radius_squared in (squared, source_squared)
        )
        squared = np.minimum(squared, pupil**2)

        axial = np.sqrt(n_per_um**2 - squared) - np.sqrt(n_per_um**2 - source_squared)
        self._phase_per_um = (-2 * math.pi * axial).astype(np.float32)
        self.block_um = 2 * _BLOCK_RADIANS / float(np.abs(self._phase_per_um).max())
        self._blocks: dict[int, NDArray[np.float32]] = {}
        aberration = spherical(squared / pupil**2) - spherical(source_squared / pupil**2)
        self._aberration = (2 * math.pi * illumination.spherical_waves * aberration).astype(np.float32)
        # Over what the pupil passes with no specimen: empty glass is 1 for any condenser.
        self._weight = (passed * weight / (undisturbed * weight).sum()).astype(np.float32)

    def line(self, defocus_um: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(H_A, H_P), each (F,) on `frequency_per_um`, at this defocus in µm.

        Over a block of defocus in which no phase turns by more than `_BLOCK_RADIANS` either way, both are polynomials,
        as far as float32 can tell: worked out once, looked up many times.
        """
        block = math.floor(defocus_um / self.block_um)
        if block not in self._blocks:
            self._blocks[block] = self._series((block + 0.5) * self.block_um)
        within = 2 * (defocus_um / self.block_um - block) - 1
        polynomials = np.cos(_DEGREES * math.acos(max(-1.0, min(1.0, within)))).astype(np.float32)
        absorption, refraction = (polynomials @ self._blocks[block]).reshape(2, -1)
        return absorption, refraction

    def _series(self, middle_um: float) -> NDArray[np.float32]:
        """Chebyshev coefficients of H_A and H_P, (degree + 1, 2 F), of the block around this defocus."""
        both = [np.concatenate(self.exact_line(middle_um + 0.5 * self.block_um * x)) for x in _NODES]
        return (_TO_COEFFICIENTS @ both).astype(np.float32)

    def exact_line(self, defocus_um: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What `line` looks up, summed over the source."""
        phase = self._phase_per_um * np.float32(defocus_um) + self._aberration
        absorption = np.sum(self._weight * np.cos(phase), axis=1)
        refraction = -2 * np.sum(self._weight * np.sin(phase), axis=1)
        return absorption, refraction


@lru_cache(maxsize=12)
def transfer_function(illumination: Illumination, wavelength_um: float) -> TransferFunction:
    """The transfer function of a light and a wavelength in µm; those who ask for the same share one."""
    return TransferFunction(illumination, wavelength_um)


def spherical(rho_squared: NDArray[Any]) -> NDArray[Any]:
    """Zernike primary spherical aberration over the squared pupil radius."""
    return np.asarray(6 * rho_squared**2 - 6 * rho_squared + 1)


def _half_disc(radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Quadrature points (x, y) and weights of the upper half disc; the lower half is its mirror image."""
    nodes, node_weights = np.polynomial.legendre.leggauss(_SOURCE_RADII)
    radii = radius * (nodes + 1) / 2
    angles = (np.arange(_SOURCE_ANGLES) + 0.5) * math.pi / _SOURCE_ANGLES
    r, angle = (grid.ravel() for grid in np.meshgrid(radii, angles, indexing="ij"))
    weights = np.repeat(node_weights * radii, _SOURCE_ANGLES)
    return r * np.cos(angle), r * np.sin(angle), weights
