"""Deep Zoom tiles of any slide, for OpenSeadragon: made when they are asked for.

openslide-python's generator knows the format; it is shown our slides as if they were OpenSlide's.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from openslide import AbstractSlide
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from parfocal.errors import SettingsError
from parfocal.slide.reader import Region, Slide


class DeepZoom:
    """A slide as Deep Zoom tiles without overlap. Level 0 is one pixel, the last one the slide's level 0.

    Args:
        slide: opened; it stays the caller's to close.
        tile_px: side of a tile in px. At the right and bottom edge tiles are smaller.

    Raises:
        SettingsError: if a tile has no pixels.
    """

    def __init__(self, slide: Slide, tile_px: int = 256) -> None:
        if tile_px < 1:
            raise SettingsError(f"tile of {tile_px} px is below 1 px")
        self._slide, self._tile_px = slide, tile_px
        self._generator = DeepZoomGenerator(cast("AbstractSlide", _AsOpenSlide(slide)), tile_px, overlap=0)

    @property
    def level_count(self) -> int:
        """Number of levels."""
        return int(self._generator.level_count)

    @property
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level in px."""
        return tuple(self._generator.level_dimensions)

    @property
    def level_tiles(self) -> tuple[tuple[int, int], ...]:
        """(columns, rows) of tiles of each level."""
        return tuple(self._generator.level_tiles)

    def dzi(self, tile_format: str = "jpeg") -> str:
        """The descriptor as XML, for tiles that are served in this format."""
        return str(self._generator.get_dzi(tile_format))

    def tile(self, level: int, column: int, row: int) -> Region:
        """One tile, uint8 (Y, X, 3) RGB.

        Raises:
            SettingsError: if there is no such tile.
            FileError: if the slide is damaged there.
        """
        self._check(level, column, row)
        return np.asarray(self._generator.get_tile(level, (column, row)), np.uint8)

    def stored(self, level: int, column: int, row: int) -> bytes | None:
        """One tile as the slide's file holds it, a JPEG; None where it has to be made (see `Slide.stored_tile`).

        Raises:
            SettingsError: if there is no such tile.
            FileError: if the slide is damaged there.
        """
        self._check(level, column, row)
        downsample, size = 2.0 ** (self.level_count - 1 - level), self.level_dimensions[level]
        for own, (width_height, own_downsample) in enumerate(
            zip(self._slide.level_dimensions, self._slide.level_downsamples, strict=True)
        ):
            if own_downsample == downsample and width_height == size:
                return self._slide.stored_tile(own, column, row, self._tile_px)
        return None

    def _check(self, level: int, column: int, row: int) -> None:
        columns, rows = self.level_tiles[level] if 0 <= level < self.level_count else (0, 0)
        if not (0 <= column < columns and 0 <= row < rows):
            raise SettingsError(f"tile {column}, {row} of level {level} is none of {columns} × {rows}")


class _AsOpenSlide:
    """The part of OpenSlide's class that its Deep Zoom generator uses."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self.dimensions = slide.dimensions
        self.level_dimensions = slide.level_dimensions
        self.level_downsamples = slide.level_downsamples
        self.get_best_level_for_downsample = slide.best_level_for_downsample
        self.properties: dict[str, str] = {}  # those it asks for are OpenSlide's bounds and background

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        return Image.fromarray(self._slide.read_region(location, level, size)).convert("RGBA")
