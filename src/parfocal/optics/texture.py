"""Random structure that is a function of place: the same (seed, x, y) always gives the same value.

Neighbouring fields therefore agree in their overlap, whatever the pixel grid that they are sampled on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """A rectangle of the slide sampled on pixels.

    Attributes:
        left_um: x of the left edge in µm.
        top_um: y of the top edge in µm.
        shape: (Y, X) in pixels.
        pixel_um: size of a pixel in µm.
    """

    left_um: float
    top_um: float
    shape: tuple[int, int]
    pixel_um: float

    @classmethod
    def centred(cls, x_um: float, y_um: float, shape: tuple[int, int], pixel_um: float) -> Window:
        """The window of this shape whose centre lies at (x_um, y_um)."""
        rows, columns = shape
        return cls(x_um - columns * pixel_um / 2, y_um - rows * pixel_um / 2, shape, pixel_um)

    @property
    def x_um(self) -> NDArray[np.float64]:
        """(X,) centres of the columns in µm."""
        return np.asarray(self.left_um + (np.arange(self.shape[1]) + 0.5) * self.pixel_um, dtype=np.float64)

    @property
    def y_um(self) -> NDArray[np.float64]:
        """(Y,) centres of the rows in µm."""
        return np.asarray(self.top_um + (np.arange(self.shape[0]) + 0.5) * self.pixel_um, dtype=np.float64)

    def cells(self, size_um: float, margin_um: float) -> list[tuple[int, int]]:
        """Indices (i, j) of the square cells of a grid, side `size_um`, that touch the window grown by a margin."""
        rows, columns = self.shape
        first_i = math.floor((self.left_um - margin_um) / size_um)
        last_i = math.floor((self.left_um + columns * self.pixel_um + margin_um) / size_um)
        first_j = math.floor((self.top_um - margin_um) / size_um)
        last_j = math.floor((self.top_um + rows * self.pixel_um + margin_um) / size_um)
        return [(i, j) for j in range(first_j, last_j + 1) for i in range(first_i, last_i + 1)]


def noise(seed: int, window: Window, cell_um: float, stretch: float = 1.0) -> Plane:
    """Smooth random field of about zero mean and unit variance, (Y, X).

    Args:
        seed: chooses the field.
        window: where to sample it.
        cell_um: distance of its lattice points in y, in µm; structure is about this size.
        stretch: distance in x over distance in y; above 1 the structure is drawn out along x.
    """
    step_x, step_y = cell_um * stretch, cell_um
    first_i, first_j = math.floor(window.left_um / step_x) - 2, math.floor(window.top_um / step_y) - 2
    rows, columns = window.shape
    width = math.ceil(columns * window.pixel_um / step_x) + 6
    height = math.ceil(rows * window.pixel_um / step_y) + 6
    lattice = _lattice(seed, first_i, first_j, (height, width))
    along_x = _cubic_weights(window.x_um / step_x - first_i, width)
    along_y = _cubic_weights(window.y_um / step_y - first_j, height)
    return np.asarray(along_y @ lattice @ along_x.T, dtype=np.float32)


def noise_at(seed: int, x_um: NDArray[np.float64], y_um: NDArray[np.float64], cell_um: float) -> NDArray[np.float64]:
    """The field of `noise` at single points; x_um and y_um of one shape, which the result has."""
    u, v = np.asarray(x_um) / cell_um, np.asarray(y_um) / cell_um
    i, j = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    total = np.zeros(u.shape)
    for dj in range(-1, 3):
        for di in range(-1, 3):
            weight = _cubic(np.abs(u - i - di)) * _cubic(np.abs(v - j - dj))
            total += weight * _hash_normal(seed, i + di, j + dj)
    return total


def _cubic_weights(position: NDArray[np.float64], points: int) -> Plane:
    """(N, points) weights that interpolate a lattice at N positions."""
    return _cubic(np.abs(position[:, None] - np.arange(points))).astype(np.float32)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kernel of cubic convolution (Keys 1981)."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def fractal(seed: int, window: Window, largest_um: float, smallest_um: float, slope: float) -> Plane:
    """Sum of octaves of `noise` from the largest to the smallest size, scaled to about unit variance.

    Args:
        seed: chooses the field.
        window: where to sample it.
        largest_um: lattice size of the first octave in µm.
        smallest_um: no octave is finer than this, in µm.
        slope: each octave's amplitude over that of the one before it; below 1 the coarse structure wins.
    """
    total = np.zeros(window.shape, dtype=np.float32)
    cell, amplitude, power, octave = largest_um, 1.0, 0.0, 0
    while cell >= smallest_um or octave == 0:
        total += np.float32(amplitude) * noise(seed + 7919 * octave, window, cell)
        power += amplitude**2
        cell, amplitude, octave = cell / 2, amplitude * slope, octave + 1
    return total / np.float32(math.sqrt(power))


def generator(seed: int, i: int, j: int) -> np.random.Generator:
    """The random generator of grid cell (i, j)."""
    return np.random.default_rng((seed & 0xFFFFFFFF, i & 0xFFFFFFFF, j & 0xFFFFFFFF))


def _lattice(seed: int, first_i: int, first_j: int, shape: tuple[int, int]) -> Plane:
    j, i = np.mgrid[first_j : first_j + shape[0], first_i : first_i + shape[1]]
    return _hash_normal(seed, i, j).astype(np.float32)


def _hash_normal(seed: int, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
    """Zero-mean, unit-variance value of each lattice point (splitmix64 finaliser over the indices)."""
    key = i.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ j.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    key = key + np.uint64(((seed & 0xFFFFFFFF) * 0xD6E8FEB86659FD93) & 0xFFFFFFFFFFFFFFFF)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        key = (key ^ (key >> np.uint64(shift))) * np.uint64(factor)
    key = key ^ (key >> np.uint64(31))
    uniform = (key >> np.uint64(11)).astype(np.float64) / 2.0**53
    return np.asarray((uniform - 0.5) * math.sqrt(12), dtype=np.float64)
