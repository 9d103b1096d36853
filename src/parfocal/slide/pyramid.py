"""The pyramid: every level's tiles, made in one pass over level 0 and spooled to disk already encoded.

Level 0 is made block by block, a few blocks ahead in threads, and every tile of a higher level from its four children,
depth first. So no level is ever in memory, and neighbouring blocks follow each other, which keeps the mosaic's few
decoded frames in use. All formats with JPEG tiles take theirs from here, so each tile is encoded once.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import NamedTuple, Self

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from parfocal.durable import cannot
from parfocal.errors import SettingsError
from parfocal.slide.fields.records import Frame
from parfocal.slide.mosaic import BACKGROUND
from parfocal.slide.registration.register import Progress

TILE_PX = 256
SMALLEST_LEVEL_PX = 512
JPEG_QUALITY = 85
SUBSAMPLING = (2, 1)
"""Of the colour in a tile, along x and y: 4:2:2, the only one that DICOM's whole-slide images allow."""

_BLOCK_LEVELS = 2  # a block of level 0 is one tile of level 2: 1024² px, 3 MiB
_MOST_WORKERS = 8

BlockSource = Callable[[int, int, int, int], Frame | None]
"""(x, y, width, height) in level-0 px -> uint8 (height, width, 3), or None where there is only background.

Called from several threads at once.
"""

TileConsumer = Callable[[int, int, int, Frame], None]
"""Called with (level, row, column, pixels) of each tile that is not background; at the right and bottom edge the pixels
are only those inside the level. Blocks come depth first: an aligned square of 4 × 4, 8 × 8, … tiles is complete before
another one of that size and level begins."""


def level_shapes(shape: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """(Y, X) of each level: halved until the longer side is at most 512 px.

    Level 0 is the given shape rounded up, so that every level is exactly half the one before.
    """
    halvings = max(0, math.ceil(math.log2(max(shape) / SMALLEST_LEVEL_PX)))
    height, width = (math.ceil(length / 2**halvings) * 2**halvings for length in shape)
    return tuple((height >> level, width >> level) for level in range(halvings + 1))


def encode_jpeg(tile: Frame, quality: int = JPEG_QUALITY) -> bytes:
    """A picture as JPEG, YCbCr 4:2:2."""
    encoded = imagecodecs.jpeg8_encode(
        tile, level=quality, colorspace="RGB", outcolorspace="YCBCR", subsampling=SUBSAMPLING
    )
    return bytes(encoded)


class _Tile(NamedTuple):
    """A tile that is not background: its pixels inside the level, and both its encodings (see `Pyramid.cropped`)."""

    level: int
    row: int
    column: int
    pixels: Frame
    encoded: bytes
    cropped: bytes | None


@dataclass
class Pyramid:
    """Encoded tiles of all levels in a nameless file; a context manager that removes it.

    Attributes:
        shapes: (Y, X) of each level in px.
        folder: where the file lies: the result's own folder, whose disk has to hold it anyway.
        quality: of the JPEGs, 1 to 100.
        workers: threads that make blocks; one for each core, at most 8, if None.
        smallest: uint8 (Y, X, 3), the pixels of the last level, once built.

    Raises:
        SettingsError: if the quality is not possible.
    """

    shapes: tuple[tuple[int, int], ...]
    folder: Path
    quality: int = JPEG_QUALITY
    workers: int | None = None
    smallest: Frame = field(init=False, repr=False)
    _places: list[NDArray[np.int64]] = field(init=False, repr=False)  # of each level: (rows, columns, (start, length))
    _lock: Lock = field(init=False, repr=False, default_factory=Lock)
    _stopped: bool = field(init=False, repr=False, default=False)
    _cropped: dict[tuple[int, int, int], tuple[int, int]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise SettingsError(f"JPEG quality {self.quality} is not one of 1 to 100")
        self._places = [np.zeros((*self.grid(level), 2), np.int64) for level in range(len(self.shapes))]
        self.smallest = np.full((*self.shapes[-1], 3), BACKGROUND, np.uint8)

    def __enter__(self) -> Self:
        try:
            self._file = tempfile.TemporaryFile(dir=self.folder)
        except OSError as error:
            raise cannot("write", self.folder, error) from error
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

    def tile_shape(self, level: int, row: int, column: int) -> tuple[int, int]:
        """(Y, X) of the part of a tile that lies inside its level, in px."""
        height, width = self.shapes[level]
        return min(TILE_PX, height - row * TILE_PX), min(TILE_PX, width - column * TILE_PX)

    def build(
        self, source: BlockSource, progress: Progress | None = None, consumer: TileConsumer | None = None
    ) -> None:
        """Make all tiles of all levels.

        Args:
            source: gives level 0.
            progress: told about each tile of level 0.
            consumer: given the pixels of each tile, in this thread.

        Raises:
            FileError: if the disk is full, or a frame cannot be read.
        """
        block_level = min(_BLOCK_LEVELS, len(self.shapes) - 1)
        visits = list(self._visits(block_level))
        places = [(row, column) for level, row, column in visits if level == block_level]
        made: dict[tuple[int, int, int], Frame] = {}
        total, done = math.prod(self.grid(0)), 0
        workers = self.workers or min(_MOST_WORKERS, os.cpu_count() or 1)
        blocks = _ahead(lambda row, column: self._block(source, block_level, row, column), places, workers)
        for level, row, column in visits:
            tiles = next(blocks) if level == block_level else self._parent(level, row, column, made)
            for tile in tiles:
                self._spool(tile)
                if consumer:
                    consumer(*tile[:4])
            if tiles and tiles[-1].level == level:
                made[level, row, column] = tiles[-1].pixels
            if level == block_level and progress:
                for _ in range(self._leaves(block_level, row, column)):
                    done += 1
                    progress("mosaic", done, total)
        for (_, row, column), pixels in made.items():
            _paste(self.smallest, pixels, row, column)

    def tile(self, level: int, row: int, column: int) -> bytes:
        """One encoded tile of 256² px. Where it reaches beyond its level, the level's last pixels are repeated."""
        if self._stopped:
            raise CancelledError
        return self._read(*self._places[level][row, column]) or _white(TILE_PX, TILE_PX, self.quality)

    def stop(self) -> None:
        """Give no tiles any more: whoever still writes them ends with a CancelledError."""
        self._stopped = True

    def cropped(self, level: int, row: int, column: int) -> bytes:
        """The same tile, of only the pixels inside the level."""
        shape = self.tile_shape(level, row, column)
        if shape == (TILE_PX, TILE_PX):
            return self.tile(level, row, column)
        return self._read(*self._cropped.get((level, row, column), (0, 0))) or _white(*shape, self.quality)

    def tiles(self, level: int) -> Iterator[bytes]:
        """The encoded tiles of a level, row by row, as `tile` gives them."""
        rows, columns = self.grid(level)
        for row in range(rows):
            for column in range(columns):
                yield self.tile(level, row, column)

    def lengths(self, level: int) -> NDArray[np.int64]:
        """Bytes of each encoded tile of a level, (tiles,), in the order of `tiles`."""
        lengths = self._places[level][..., 1].ravel()
        return np.where(lengths == 0, len(_white(TILE_PX, TILE_PX, self.quality)), lengths)

    def encoded_bytes(self, level: int) -> int:
        """Size of a level's tiles together."""
        return int(self.lengths(level).sum())

    def _visits(self, lowest: int) -> Iterator[tuple[int, int, int]]:
        """(level, row, column) of all tiles from level `lowest` up, each after its children."""

        def below(level: int, row: int, column: int) -> Iterator[tuple[int, int, int]]:
            rows, columns = self.grid(level)
            if row >= rows or column >= columns:
                return
            if level > lowest:
                for i, j in _CHILDREN:
                    yield from below(level - 1, 2 * row + i, 2 * column + j)
            yield level, row, column

        top = len(self.shapes) - 1
        rows, columns = self.grid(top)
        for row in range(rows):
            for column in range(columns):
                yield from below(top, row, column)

    def _leaves(self, block_level: int, row: int, column: int) -> int:
        """How many tiles of level 0 lie in a block."""
        side = 1 << block_level
        rows, columns = self.grid(0)
        return min(side, rows - row * side) * min(side, columns - column * side)

    def _block(self, source: BlockSource, block_level: int, row: int, column: int) -> list[_Tile]:
        """The tiles of a block of level 0 and of the levels above it, up to the one that covers the block."""
        picture = self._picture(source, block_level, row, column)
        if picture is None:
            return []
        tiles = self._cut(picture, 0, block_level, row, column)
        for level in range(1, block_level + 1):
            picture = _halved(picture)
            tiles += self._cut(picture, level, block_level, row, column)
        return tiles

    def _picture(self, source: BlockSource, block_level: int, row: int, column: int) -> Frame | None:
        """The pixels of a block of level 0, or None if all of them are background."""
        side = TILE_PX << block_level
        height, width = self.shapes[0]
        x, y = column * side, row * side
        picture = source(x, y, min(side, width - x), min(side, height - y))
        return None if picture is None or _is_background(picture) else picture

    def _cut(self, picture: Frame, level: int, block_level: int, row: int, column: int) -> list[_Tile]:
        """The tiles of one level of a block; of those that are background only the one that covers the block."""
        count = 1 << (block_level - level)
        return [
            self._tile(level, row * count + i, column * count + j, part)
            for i in range(count)
            for j in range(count)
            if (part := picture[i * TILE_PX : (i + 1) * TILE_PX, j * TILE_PX : (j + 1) * TILE_PX]).size
            and (level == block_level or not _is_background(part))
        ]

    def _parent(self, level: int, row: int, column: int, made: dict[tuple[int, int, int], Frame]) -> list[_Tile]:
        """A tile from its children, which are forgotten; nothing where all of them are background."""
        children = {(i, j): made.pop((level - 1, 2 * row + i, 2 * column + j), None) for i, j in _CHILDREN}
        if all(child is None for child in children.values()):
            return []
        height, width = self.tile_shape(level, row, column)
        whole = np.full((2 * height, 2 * width, 3), BACKGROUND, np.uint8)
        for (i, j), child in children.items():
            if child is not None:
                _paste(whole, child, i, j)
        return [self._tile(level, row, column, _halved(whole))]

    def _tile(self, level: int, row: int, column: int, pixels: Frame) -> _Tile:
        height, width = pixels.shape[:2]
        if (height, width) == (TILE_PX, TILE_PX):
            return _Tile(level, row, column, pixels, encode_jpeg(pixels, self.quality), None)
        # repeated pixels, not white: JPEG would spread a step at the edge into the picture
        whole = cv2.copyMakeBorder(pixels, 0, TILE_PX - height, 0, TILE_PX - width, cv2.BORDER_REPLICATE)
        return _Tile(
            level,
            row,
            column,
            pixels,
            encode_jpeg(np.asarray(whole, np.uint8), self.quality),
            encode_jpeg(pixels, self.quality),
        )

    def _spool(self, tile: _Tile) -> None:
        try:
            self._places[tile.level][tile.row, tile.column] = self._append(tile.encoded)
            if tile.cropped is not None:
                self._cropped[tile[:3]] = self._append(tile.cropped)
        except OSError as error:
            raise cannot("write", self.folder, error) from error

    def _append(self, encoded: bytes) -> tuple[int, int]:
        start = self._file.seek(0, os.SEEK_END)
        self._file.write(encoded)
        return start, len(encoded)

    def _read(self, start: int, length: int) -> bytes:
        if not length:
            return b""
        with self._lock:  # one file position for all writers
            self._file.seek(int(start))
            return self._file.read(int(length))


_CHILDREN = ((0, 0), (0, 1), (1, 0), (1, 1))


def _ahead(
    make: Callable[[int, int], list[_Tile]], places: Iterable[tuple[int, int]], workers: int
) -> Iterator[list[_Tile]]:
    """What `make` returns for each place, in order; threads are a few places ahead."""
    pending: deque[Future[list[_Tile]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="pyramid") as pool:
        try:
            for place in places:
                pending.append(pool.submit(make, *place))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@lru_cache(maxsize=64)
def _white(height: int, width: int, quality: int) -> bytes:
    return encode_jpeg(np.full((height, width, 3), BACKGROUND, np.uint8), quality)


def _is_background(pixels: Frame) -> bool:
    return bool(pixels[0, 0, 0] == BACKGROUND and pixels[-1, -1, -1] == BACKGROUND and (pixels == BACKGROUND).all())


def _halved(picture: Frame) -> Frame:
    """Half the size; every pixel the mean of four."""
    height, width = picture.shape[:2]
    return np.asarray(cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8)


def _paste(whole: Frame, tile: Frame, row: int, column: int) -> None:
    height, width = tile.shape[:2]
    y, x = row * TILE_PX, column * TILE_PX
    whole[y : y + height, x : x + width] = tile
