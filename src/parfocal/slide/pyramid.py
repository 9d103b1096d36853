"""The pyramid: every level's tiles, made in one pass over level 0 and spooled to disk already encoded.

A tile of level n is made from its four children of level n - 1, depth first. So no level is ever in memory, and
neighbouring tiles follow each other, which keeps the mosaic's few decoded frames in use.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import imagecodecs
import numpy as np

from parfocal.slide.durable import cannot
from parfocal.slide.fields import Frame
from parfocal.slide.mosaic import BACKGROUND
from parfocal.slide.registration import Progress

TILE_PX = 256
SMALLEST_LEVEL_PX = 512
JPEG_QUALITY = 85

BlockSource = Callable[[int, int, int, int], Frame | None]
"""(x, y, width, height) in level-0 px -> uint8 (height, width, 3), or None where there is only background."""


def level_shapes(shape: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """(Y, X) of each level: halved until the longer side is at most 512 px.

    Level 0 is the given shape rounded up, so that every level is exactly half the one before.
    """
    halvings = max(0, math.ceil(math.log2(max(shape) / SMALLEST_LEVEL_PX)))
    height, width = (math.ceil(length / 2**halvings) * 2**halvings for length in shape)
    return tuple((height >> level, width >> level) for level in range(halvings + 1))


def encode_jpeg(tile: Frame) -> bytes:
    """A tile as JPEG, quality 85, YCbCr 4:4:4: thin stained structures keep their colour."""
    encoded = imagecodecs.jpeg8_encode(
        tile, level=JPEG_QUALITY, colorspace="RGB", outcolorspace="YCBCR", subsampling="444"
    )
    return bytes(encoded)


@dataclass
class Pyramid:
    """Encoded tiles of all levels in a nameless file; a context manager that removes it.

    Attributes:
        shapes: (Y, X) of each level in px.
        folder: where the file lies: the result's own folder, whose disk has to hold it anyway.
    """

    shapes: tuple[tuple[int, int], ...]
    folder: Path
    _places: dict[tuple[int, int, int], tuple[int, int]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        try:
            self._file = tempfile.TemporaryFile(dir=self.folder)
        except OSError as error:
            raise cannot("write", self.folder, error) from error
        self._background = encode_jpeg(np.full((TILE_PX, TILE_PX, 3), BACKGROUND, np.uint8))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what a full disk did not take is not wanted any more
            self._file.close()

    def grid(self, level: int) -> tuple[int, int]:
        """(rows, columns) of tiles of a level."""
        height, width = self.shapes[level]
        return math.ceil(height / TILE_PX), math.ceil(width / TILE_PX)

    def build(self, source: BlockSource, progress: Progress | None = None) -> None:
        """Make all tiles of all levels.

        Args:
            source: gives level 0.
            progress: told about each tile of level 0.

        Raises:
            FileError: if the disk is full, or a frame cannot be read.
        """
        rows, columns = self.grid(0)
        done = 0

        def tile(level: int, row: int, column: int) -> Frame | None:
            nonlocal done
            if row >= self.grid(level)[0] or column >= self.grid(level)[1]:
                return None
            if level == 0:
                made = source(column * TILE_PX, row * TILE_PX, TILE_PX, TILE_PX)
                done += 1
                if progress:
                    progress("mosaic", done, rows * columns)
            else:
                children = [tile(level - 1, 2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)]
                made = _halved(children)
            if made is not None:
                self._spool((level, row, column), encode_jpeg(made))
            return made

        top = len(self.shapes) - 1
        for row in range(self.grid(top)[0]):
            for column in range(self.grid(top)[1]):
                tile(top, row, column)

    def tiles(self, level: int) -> Iterator[bytes]:
        """The encoded tiles of a level, row by row."""
        rows, columns = self.grid(level)
        for row in range(rows):
            for column in range(columns):
                place = self._places.get((level, row, column))
                if place is None:
                    yield self._background
                else:
                    self._file.seek(place[0])
                    yield self._file.read(place[1])

    def _spool(self, key: tuple[int, int, int], encoded: bytes) -> None:
        try:
            self._places[key] = (self._file.seek(0, 2), len(encoded))
            self._file.write(encoded)
        except OSError as error:
            raise cannot("write", self.folder, error) from error


def _halved(children: list[Frame | None]) -> Frame | None:
    """One tile from four, in the order of rows; every pixel the mean of four."""
    if all(child is None for child in children):
        return None
    whole = np.full((2 * TILE_PX, 2 * TILE_PX, 3), BACKGROUND, np.uint8)
    for child, (i, j) in zip(children, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        if child is not None:
            whole[i * TILE_PX : (i + 1) * TILE_PX, j * TILE_PX : (j + 1) * TILE_PX] = child
    return np.asarray(cv2.resize(whole, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA), np.uint8)
