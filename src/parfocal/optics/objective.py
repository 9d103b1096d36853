"""The objective: what its aperture fixes for resolution, depth of field and the network's scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

from parfocal.errors import SettingsError

WAVELENGTH_UM = 0.55
"""Wavelength in µm at which depth of field and the canonical scale are stated."""


@dataclass(frozen=True)
class Objective:
    """An objective lens.

    Attributes:
        magnification: lateral magnification onto the sensor, for example 20.
        na: numerical aperture, less than `immersion_index`.
        immersion_index: refractive index between specimen and lens: 1.0 dry, 1.515 oil.

    Raises:
        SettingsError: if the magnification is not positive or the aperture does not fit the medium.
    """

    magnification: float
    na: float
    immersion_index: float = 1.0

    def __post_init__(self) -> None:
        if not self.magnification > 0:
            raise SettingsError(f"magnification {self.magnification:g} is not above 0")
        if not 0 < self.na < self.immersion_index:
            raise SettingsError(
                f"numerical aperture {self.na:g} is not between 0 and the immersion index {self.immersion_index:g}"
            )

    def depth_of_field_um(self, sensor_pixel_um: float) -> float:
        """Total depth of field in µm: λn/NA² + n·e/(M·NA), with e the unbinned sensor pixel in µm."""
        n = self.immersion_index
        return WAVELENGTH_UM * n / self.na**2 + n * sensor_pixel_um / (self.magnification * self.na)

    @property
    def resolution_um(self) -> float:
        """Rayleigh resolution in µm, 0.61 λ/NA."""
        return 0.61 * WAVELENGTH_UM / self.na

    @property
    def canonical_pixel_um(self) -> float:
        """Pixel of the network's scale in µm: 0.47 λ/NA (0.345 at NA 0.75)."""
        return 0.47 * WAVELENGTH_UM / self.na

    @property
    def canonical_z_um(self) -> float:
        """Unit u of defocus in the network's scale, in µm: λ / (2 (n − √(n² − NA²))) (0.81 at NA 0.75, dry)."""
        n = self.immersion_index
        return WAVELENGTH_UM / (2 * (n - math.sqrt(n * n - self.na * self.na)))
