"""A specimen as light meets it: thin layers of stain and phase, over a slide with topography."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.optics.texture import Plane, Window, noise_at

_ON_LAYER = 0.02
"""An object this near to a layer, as a share of the pitch, lies on it: a layer more would cost two transforms."""


@dataclass(frozen=True)
class Layers:
    """A window of a specimen cut into thin layers.

    Attributes:
        focus_z_um: (L,) stage z at which each layer is in focus, in µm.
        density: (L, S, Y, X) decadic optical density of each stain.
        phase: (L, Y, X) phase in radians at 0.55 µm.
        absorption: (S, 3) absorbance of each stain in red, green and blue, per unit of density.
    """

    focus_z_um: NDArray[np.float64]
    density: NDArray[np.float32]
    phase: NDArray[np.float32]
    absorption: NDArray[np.float32]


class Specimen(Protocol):
    """Anything that can lie on the simulated slide."""

    def layers(self, window: Window, pitch_um: float) -> Layers:
        """The specimen inside the window, in layers at multiples of `pitch_um`."""


@dataclass(frozen=True)
class Topography:
    """Stage z at which the specimen's mean depth is in focus, over the slide.

    Attributes:
        seed: chooses the roughness and the place of the steps.
        base_um: focus at the origin, in µm.
        tilt_um_per_mm: slopes along x and y.
        bow_um_per_mm2: curvature: bow · r².
        roughness_um: standard deviation of smooth random relief.
        roughness_cell_um: size of that relief, in µm.
        step_um: height of a step along a line through the slide, 0 for none.
        step_at_um: x of that line.
    """

    seed: int = 0
    base_um: float = 0.0
    tilt_um_per_mm: tuple[float, float] = (0.0, 0.0)
    bow_um_per_mm2: float = 0.0
    roughness_um: float = 0.0
    roughness_cell_um: float = 400.0
    step_um: float = 0.0
    step_at_um: float = 0.0

    def focus_z_um(self, x_um: NDArray[np.float64], y_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Focus in µm at points of the slide; x_um and y_um of one shape, which the result has."""
        x_mm, y_mm = np.asarray(x_um) / 1000, np.asarray(y_um) / 1000
        tilt_x, tilt_y = self.tilt_um_per_mm
        z = self.base_um + tilt_x * x_mm + tilt_y * y_mm + self.bow_um_per_mm2 * (x_mm**2 + y_mm**2)
        if self.roughness_um:
            z = z + self.roughness_um * noise_at(self.seed, x_um, y_um, self.roughness_cell_um)
        if self.step_um:
            z = z + np.where(np.asarray(x_um) > self.step_at_um, self.step_um, 0.0)
        return np.asarray(z, dtype=np.float64)

    def over(self, window: Window) -> Plane:
        """Focus in µm over a window, (Y, X), from a coarse grid: the relief is smooth at this scale."""
        stride = max(1, min(window.shape) // 32)
        # One point more than fits: the last stretch of pixels lies between two points too.
        x_um, y_um = (
            start + stride * window.pixel_um * np.arange((n - 1) // stride + 2)
            for start, n in zip((window.x_um[0], window.y_um[0]), reversed(window.shape), strict=True)
        )
        coarse = self.focus_z_um(*np.meshgrid(x_um, y_um))
        if self.step_um or stride == 1:
            rows, columns = (np.arange(n) // stride for n in window.shape)
            return np.asarray(coarse[np.ix_(rows, columns)], dtype=np.float32)
        return _bilinear(coarse, window.shape, stride)


def _bilinear(coarse: NDArray[np.float64], shape: tuple[int, int], stride: int) -> Plane:
    row, column = (np.arange(n) / stride for n in shape)
    i, j = row.astype(int), column.astype(int)
    a, b = (row - i)[:, None], (column - j)[None, :]
    top = (1 - b) * coarse[np.ix_(i, j)] + b * coarse[np.ix_(i, j + 1)]
    bottom = (1 - b) * coarse[np.ix_(i + 1, j)] + b * coarse[np.ix_(i + 1, j + 1)]
    return np.asarray((1 - a) * top + a * bottom, dtype=np.float32)


@dataclass
class LayerCanvas:
    """Collects sheets and objects at any depth into layers; each is shared between the two layers nearest to it.

    Args:
        window: what is drawn.
        pitch_um: distance of the layers in µm.
        absorption: (S, 3) absorbance of each stain in red, green and blue.
    """

    window: Window
    pitch_um: float
    absorption: NDArray[np.float32]
    _stacks: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def _layer(self, index: int) -> NDArray[np.float32]:
        """(S + 1, Y, X): the stains, then the phase."""
        if index not in self._stacks:
            self._stacks[index] = np.zeros((len(self.absorption) + 1, *self.window.shape), dtype=np.float32)
        return self._stacks[index]

    def add_sheet(self, focus_z_um: Plane, stains: dict[int, Plane], phase: Plane) -> None:
        """Add a continuous sheet: density of each stain (Y, X), phase (Y, X), and its depth at each pixel in µm."""
        position = focus_z_um / np.float32(self.pitch_um)
        for index in range(int(np.floor(position.min())), int(np.floor(position.max())) + 2):
            share = np.clip(1 - np.abs(position - np.float32(index)), 0, None)
            layer = self._layer(index)
            for stain, density in stains.items():
                layer[stain] += share * density
            layer[-1] += share * phase

    def add_object(self, place: tuple[slice, slice], focus_z_um: float, stains: dict[int, Plane], phase: Plane) -> None:
        """Add a small object at one depth: density and phase over `place`, the slices (rows, columns) it covers."""
        position = focus_z_um / self.pitch_um
        if abs(position - round(position)) < _ON_LAYER:
            position = round(position)
        lower = math.floor(position)
        for index, share in ((lower, lower + 1 - position), (lower + 1, position - lower)):
            if share > 0:
                layer = self._layer(index)
                for stain, density in stains.items():
                    layer[(stain, *place)] += np.float32(share) * density
                layer[(-1, *place)] += np.float32(share) * phase

    def layers(self) -> Layers:
        """What was drawn."""
        indices = sorted(self._stacks) or [0]
        stack = np.stack([self._layer(index) for index in indices])
        return Layers(
            focus_z_um=np.array(indices, dtype=np.float64) * self.pitch_um,
            density=stack[:, :-1],
            phase=stack[:, -1],
            absorption=self.absorption,
        )


def ellipse(
    window: Window, x_um: float, y_um: float, radii_um: tuple[float, float], angle: float, edge_um: float
) -> tuple[tuple[slice, slice], Plane, Plane] | None:
    """A soft-edged filled ellipse on the window's pixels.

    Args:
        window: the pixels.
        x_um: centre in µm.
        y_um: centre in µm.
        radii_um: semi-axes in µm.
        angle: of the first axis against x, in radians.
        edge_um: width of the edge in µm, at least a pixel.

    Returns:
        (slices (rows, columns), cover 0 … 1, squared normalised radius), or None outside the window.
    """
    pixel = window.pixel_um
    edge_um = max(edge_um, pixel)
    reach = max(radii_um) + edge_um
    first_row = max(0, int((y_um - reach - window.top_um) / pixel))
    last_row = min(window.shape[0], int((y_um + reach - window.top_um) / pixel) + 2)
    first_column = max(0, int((x_um - reach - window.left_um) / pixel))
    last_column = min(window.shape[1], int((x_um + reach - window.left_um) / pixel) + 2)
    if first_row >= last_row or first_column >= last_column:
        return None
    rows = np.arange(first_row, last_row, dtype=np.float32) + np.float32(0.5)
    dy = (window.top_um + rows * pixel - y_um)[:, None]
    columns = np.arange(first_column, last_column, dtype=np.float32) + np.float32(0.5)
    dx = (window.left_um + columns * pixel - x_um)[None]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = (dx * cosine + dy * sine) / radii_um[0], (dy * cosine - dx * sine) / radii_um[1]
    squared = (along * along + across * across).astype(np.float32)
    ramp = np.clip((1 - np.sqrt(squared)) * np.float32(min(radii_um) / edge_um) + np.float32(0.5), 0, 1)
    cover = ramp * ramp * (3 - 2 * ramp)
    return (slice(first_row, last_row), slice(first_column, last_column)), cover, squared
