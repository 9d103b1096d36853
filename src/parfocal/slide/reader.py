"""Virtual slides in OpenSlide's vocabulary: all that Parfocal writes, and everything that OpenSlide reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError

Region = NDArray[np.uint8]
"""uint8 (Y, X, 3), RGB."""

BACKGROUND = 255
"""Grey level outside a slide."""


class Slide(ABC):
    """A pyramidal image that is read in pieces. A context manager.

    Attributes:
        path: the file or folder; a URL as text.
        level_dimensions: (width, height) of each level in px, largest first.
        level_downsamples: how many level-0 px one px of each level spans.
        properties: what the file says, with OpenSlide's names; `openslide.mpp-x` and `openslide.mpp-y` in µm per px.
    """

    path: Path | str
    level_dimensions: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]
    properties: dict[str, str]

    @staticmethod
    def open(path: Path | str) -> Slide:
        """Open a virtual slide.

        Args:
            path: an OME-TIFF, a `.dzi`, a folder of OME-Zarr, of DICOM files or of fields that were stitched, anything
                that OpenSlide reads, or the URL of an OME-Zarr or a `.dzi`, such as `s3://bucket/slide.zarr`.

        Raises:
            FileError: if it is missing, damaged or of no known format.
            SettingsError: if it is a URL whose file system is not installed.
        """
        from parfocal.slide.readers import open_slide  # it imports this module

        return open_slide(path)

    @property
    def level_count(self) -> int:
        """Number of levels."""
        return len(self.level_dimensions)

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height) of level 0 in px."""
        return self.level_dimensions[0]

    @property
    def associated_images(self) -> Mapping[str, Region]:
        """The pictures beside the slide by OpenSlide's names: "label", "macro" (the whole glass), "thumbnail"."""
        return {}

    @property
    def icc_profile(self) -> bytes:
        """ICC profile of the pixels; empty where the file has none."""
        return b""

    def best_level_for_downsample(self, downsample: float) -> int:
        """The smallest level that is at least as fine as `downsample`."""
        return max((i for i, own in enumerate(self.level_downsamples) if own <= downsample), default=0)

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Region:
        """A rectangle of one level; only the tiles that it touches are decoded.

        Args:
            location: (x, y) of the top left corner, in level-0 px.
            level: the level, from 0.
            size: (width, height) in px of that level.

        Returns:
            uint8 (height, width, 3) RGB, white outside the slide.

        Raises:
            SettingsError: if there is no such level, or the size is not positive.
            FileError: if the file is damaged there.
        """
        if not 0 <= level < self.level_count:
            raise SettingsError(f"level {level} is not one of 0 to {self.level_count - 1}")
        if min(size) < 1:
            raise SettingsError(f"region of {size[0]} × {size[1]} px is below 1 × 1 px")
        return self._read(location, level, size)

    def stored_tile(self, level: int, column: int, row: int, tile_px: int) -> bytes | None:
        """A tile as the file holds it, where that is a plain JPEG of a whole tile, which nobody needs to decode.

        Args:
            level: of the slide.
            column: of the tile.
            row: of the tile.
            tile_px: side of the tile, in px.

        Returns:
            The JPEG, with nothing in it but the picture; None where the tile has to be made.

        Raises:
            FileError: if the file is damaged there.
        """
        del level, column, row, tile_px
        return None

    @abstractmethod
    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Region: ...

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
