"""Slides whose levels are read in whole pixels of their own."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from parfocal.errors import FileError
from parfocal.slide.reader import BACKGROUND, Region, Slide


class RasterSlide(Slide):
    """A slide whose levels are read in whole pixels of their own; a location between two goes to the nearer one."""

    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Region:
        downsample = self.level_downsamples[level]
        x, y = round(location[0] / downsample), round(location[1] / downsample)
        width, height = size
        region = np.full((height, width, 3), BACKGROUND, np.uint8)
        left, top = max(0, x), max(0, y)
        right, bottom = (
            min(self.level_dimensions[level][0], x + width),
            min(self.level_dimensions[level][1], y + height),
        )
        if left < right and top < bottom:
            region[top - y : bottom - y, left - x : right - x] = self._part(level, left, top, right, bottom)
        return region

    @abstractmethod
    def _part(self, level: int, left: int, top: int, right: int, bottom: int) -> Region:
        """A rectangle that lies inside the level, in px of the level."""


class TiledSlide(RasterSlide):
    """A slide of tiles that are decoded one by one.

    Attributes:
        tile_sizes: (width, height) of the tiles of each level, in px.
    """

    tile_sizes: tuple[tuple[int, int], ...]

    def _part(self, level: int, left: int, top: int, right: int, bottom: int) -> Region:
        part = np.empty((bottom - top, right - left, 3), np.uint8)
        tile_width, tile_height = self.tile_sizes[level]
        for row in range(top // tile_height, -(-bottom // tile_height)):
            for column in range(left // tile_width, -(-right // tile_width)):
                tile_x, tile_y = column * tile_width, row * tile_height
                x0, x1 = max(left, tile_x), min(right, tile_x + tile_width)
                y0, y1 = max(top, tile_y), min(bottom, tile_y + tile_height)
                inside = self._tile(level, row, column)[y0 - tile_y : y1 - tile_y, x0 - tile_x : x1 - tile_x]
                if inside.shape != (y1 - y0, x1 - x0, 3):
                    raise FileError(f"{self.path}: tile {row}, {column} of level {level} is too small")
                part[y0 - top : y1 - top, x0 - left : x1 - left] = inside
        return part

    @abstractmethod
    def _tile(self, level: int, row: int, column: int) -> Region:
        """A decoded tile, at least the part of it that lies inside the level."""


def downsamples_of(level_dimensions: tuple[tuple[int, int], ...]) -> tuple[float, ...]:
    """Of each level; whole where the sizes agree with it: writers round the smaller levels' sizes, not their scale."""
    full = level_dimensions[0]

    def downsample(size: tuple[int, int]) -> float:
        ratio = full[0] / size[0]
        whole = round(ratio)
        fits = all(abs(a - b * whole) < whole for a, b in zip(full, size, strict=True))
        return float(whole if fits else ratio)

    return tuple(downsample(size) for size in level_dimensions)
