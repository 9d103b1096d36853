"""The slide on its stages: what light reaches the camera, and what is true about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.simulated.stages import SimulatedXYStage, SimulatedZStage
from parfocal.merit import find_best_focus
from parfocal.optics.objective import Objective

_GREEN = 1
_TISSUE_OD = 0.05
_TISSUE_SHARE = 0.01
_TRUTH_SHAPE = (448, 448)
_TRUTH_PLANES_PER_DOF = 4


class Light(Protocol):
    """One field's noise-free light at any z (`parfocal.optics.imaging.FieldLight`)."""

    def plane(
        self, z_um: float, channels: tuple[int, ...] = (0, 1, 2), shift_px: tuple[float, float] = (0.0, 0.0)
    ) -> NDArray[np.float32]:
        """Light float32 (Y, X, channels) at true stage z_um; 1.0 is empty glass."""


class Optics(Protocol):
    """A specimen and the light path (`parfocal.optics.imaging.SlideOptics`)."""

    def field(self, x_um: float, y_um: float, shape: tuple[int, int], pixel_um: float, /) -> Light:
        """The field of this shape (Y, X) in pixels, centred at true (x_um, y_um)."""


class SlideOnStage:
    """The slide on its stages: the light that a camera above them sees.

    Args:
        optics: specimen and light path.
        xy: stage that carries the slide.
        z: stage that carries it too.
        frame_shape: (Y, X) of the camera's frames in pixels.
        pixel_size_um: size of those pixels in the specimen, in µm.
    """

    def __init__(
        self,
        optics: Optics,
        xy: SimulatedXYStage,
        z: SimulatedZStage,
        frame_shape: tuple[int, int],
        pixel_size_um: float,
    ) -> None:
        self._optics = optics
        self._xy = xy
        self._z = z
        self._frame_shape = frame_shape
        self._pixel_size_um = pixel_size_um
        self._field: tuple[tuple[float, float], Light] | None = None

    @property
    def true_position_um(self) -> tuple[float, float, float]:
        """True (x, y, z) of the stages in µm."""
        return (*self._xy.true_um, self._z.true_um)

    def field_at(self, x_um: float, y_um: float) -> Light:
        """The camera's field at true (x_um, y_um); the last one is kept, for all z."""
        if self._field is None or self._field[0] != (x_um, y_um):
            self._field = ((x_um, y_um), self._optics.field(x_um, y_um, self._frame_shape, self._pixel_size_um))
        return self._field[1]

    def crop_at(self, x_um: float, y_um: float, shape: tuple[int, int], pixel_um: float) -> Light:
        """A field of another shape and pixel at true (x_um, y_um)."""
        return self._optics.field(x_um, y_um, shape, pixel_um)

    def light(self, shift_px: tuple[float, float]) -> NDArray[np.float32]:
        """Light float32 (Y, X, 3) where the stages truly stand, moved by shift_px (y, x)."""
        x_um, y_um, z_um = self.true_position_um
        return self.field_at(x_um, y_um).plane(z_um, shift_px=shift_px)


class SimulatedTruth:
    """What only a simulated instrument knows (`devices.base.Truth`).

    Args:
        slide: the slide on its stages.
        objective: sets the canonical pixel of the crop.
        depth_of_field_um: a quarter of it is the distance of the planes that decide.
        surface_um: mean depth of the specimen at true (x_um, y_um), in µm: where the search for best focus begins.
        reach_um: how far from there it is looked for, in µm.
    """

    def __init__(
        self,
        slide: SlideOnStage,
        objective: Objective,
        depth_of_field_um: float,
        surface_um: Callable[[float, float], float],
        reach_um: float = 8.0,
    ) -> None:
        self._slide = slide
        self._pixel_um = objective.canonical_pixel_um
        self._step_um = depth_of_field_um / _TRUTH_PLANES_PER_DOF
        self._surface_um = surface_um
        self._reach_um = reach_um
        self._known_um: dict[tuple[float, float], float] = {}

    @property
    def stage_position_um(self) -> tuple[float, float, float]:
        """True (x, y, z) of the stage in µm."""
        return self._slide.true_position_um

    def best_focus_um(self, x_um: float, y_um: float) -> float:
        """True stage z in µm of the peak of the noise-free green Tenengrad over the central 448² canonical pixels.

        Where the merit has no peak within reach, as on empty glass, it is the specimen's mean depth.
        """
        if (x_um, y_um) not in self._known_um:
            crop = self._slide.crop_at(x_um, y_um, _TRUTH_SHAPE, self._pixel_um)
            surface_um = self._surface_um(x_um, y_um)
            green = partial(crop.plane, channels=(_GREEN,))
            peak_um = find_best_focus(lambda z_um: green(z_um)[..., 0], surface_um, self._reach_um, self._step_um)
            self._known_um[(x_um, y_um)] = surface_um if peak_um is None else peak_um
        return self._known_um[(x_um, y_um)]

    def is_tissue(self, x_um: float, y_um: float) -> bool:
        """Whether green OD exceeds 0.05 on at least 1 % of the noise-free frame at best focus."""
        best_um = self.best_focus_um(x_um, y_um)
        return shows_tissue(self._slide.field_at(x_um, y_um), best_um)


def shows_tissue(light: Light, best_um: float) -> bool:
    """Whether green OD exceeds 0.05 on at least 1 % of a field's noise-free frame at its best focus."""
    green = light.plane(best_um, channels=(_GREEN,))
    return bool(np.mean(green < 10.0**-_TISSUE_OD) >= _TISSUE_SHARE)
