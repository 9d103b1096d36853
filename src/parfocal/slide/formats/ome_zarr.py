"""OME-Zarr 0.5: Zarr v3, sharded, zstd, the pixels as they are; in a folder or at any URL that fsspec writes to.

The pixels are those of the same pass that makes the JPEG tiles, not the decoded JPEGs: a shard's tiles follow each
other there, so one unfinished shard of each level is all that is held.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.storage import FsspecStore, LocalStore

from parfocal.durable import PART_SUFFIX, all_written_aside, cannot
from parfocal.errors import FileError
from parfocal.slide.fields.records import Frame
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.destinations import is_url
from parfocal.slide.formats.tiff import summary
from parfocal.slide.mosaic import BACKGROUND
from parfocal.slide.pyramid import TILE_PX, Pyramid, TileConsumer
from parfocal.slide.quality.files import COLUMNS
from parfocal.slide.readers.remote import file_system

Planes = NDArray[np.uint8]
"""uint8 (3, Y, X): a shard's pixels."""

ShardWriter = Callable[[Any, tuple[slice, ...], Planes], None]
"""Called with a level's array, a place in it, and the pixels there."""

VERSION = "0.5"
SHARD_PX = 2048
QUALITY_GROUP = "quality"
"""Its attributes hold the quality table: one list for each column."""

_ZSTD_LEVEL = 1  # level 3 takes nine times as long, for 2 to 6 % smaller files
_COLOURS = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))


@contextmanager
def ome_zarr_aside(target: str | Path, pyramid: Pyramid, description: SlideDescription) -> Iterator[TileConsumer]:
    """Yield what to show each tile of a pyramid's pass to; when the block ends without an error, the image is there.

    Args:
        target: a folder, `*.zarr`, or a URL. What is there is replaced.
        pyramid: not built yet; for the sizes.
        description: for the metadata.

    Raises:
        SettingsError: if the URL's file system is not installed.
        FileError: if it cannot be written; nothing is left under the final name.
    """
    if is_url(target):
        with _at_url(str(target)) as store, _shards(store, pyramid, description) as consumer:
            yield consumer
        return
    path = Path(target)
    with (
        all_written_aside(path.parent) as aside,
        _local_errors(path),
        _shards(LocalStore(aside / path.name), pyramid, description) as consumer,
    ):
        yield consumer


def check_writable(url: str) -> None:
    """Write next to nothing beside a URL and remove it, so that a long job fails before it begins.

    Raises:
        SettingsError: if the URL's file system is not installed.
        FileError: if it cannot be written.
    """
    files, _, part, aside = _beside(url)
    try:
        zarr.create_group(FsspecStore.from_url(aside), overwrite=True)
        _remove(files, part)
    except _remote_errors() as error:
        raise FileError(f"{url}: cannot write: {error}") from error


@contextmanager
def _local_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot("write", path, error) from error


@contextmanager
def _at_url(url: str) -> Iterator[FsspecStore]:
    """A store beside the URL; its objects move to the URL in the end, the root's metadata last."""
    files, final, part, aside = _beside(url)
    try:
        _remove(files, part)
        yield FsspecStore.from_url(aside)
        _remove(files, final)
        _move(files, part, final)
    except _remote_errors() as error:
        raise FileError(f"{url}: cannot write: {error}") from error
    finally:
        with suppress(*_remote_errors()):  # whatever failed is told already
            _remove(files, part)


def _beside(url: str) -> tuple[Any, str, str, str]:
    """The file system of a URL, the path in it, and path and URL of what is written beside it first."""
    parts = urlsplit(url)
    aside = urlunsplit(parts._replace(path=parts.path.rstrip("/") + PART_SUFFIX))
    files, final = file_system(url)
    return files, final, file_system(aside)[1], aside


def _remote_errors() -> tuple[type[Exception], ...]:
    """What a file system's package raises where it cannot read or write."""
    botocore = sys.modules.get("botocore.exceptions")
    return (OSError, botocore.BotoCoreError) if botocore else (OSError,)


def _remove(files: Any, path: str) -> None:
    if files.exists(path):
        files.rm(path, recursive=True)


def _move(files: Any, source: str, target: str) -> None:
    """Object by object, as object stores know no folders; readers see an image once its root is there."""
    root = f"{source}/zarr.json"
    try:
        names = sorted(files.find(source), key=lambda name: name.endswith(root))
        for name in names:
            files.copy(name, target + name.removeprefix(source))
    except _remote_errors():
        with suppress(*_remote_errors()):
            _remove(files, target)
        raise


@contextmanager
def _shards(store: Any, pyramid: Pyramid, description: SlideDescription) -> Iterator[TileConsumer]:
    group = zarr.create_group(store, zarr_format=3, attributes=_attributes(pyramid, description))
    if description.fields:
        rows = [asdict(row) for row in description.fields]
        table = {column: [row[column] for row in rows] for column in COLUMNS}
        group.create_group(QUALITY_GROUP, attributes={"columns": table})
    with ThreadPoolExecutor(1, thread_name_prefix="shards") as thread:
        pending: list[Future[None]] = []

        def write(array: Any, place: tuple[slice, ...], pixels: Planes) -> None:
            while pending:  # one shard is being written while the next one fills
                pending.pop().result()
            pending.append(thread.submit(array.__setitem__, place, pixels))

        levels = [_Level(group, str(level), shape, write) for level, shape in enumerate(pyramid.shapes)]
        yield lambda level, row, column, pixels: levels[level].put(row, column, pixels)
        for level in levels:
            level.flush()
        for future in pending:
            future.result()


class _Level:
    """One level's array, and the shard of it that fills."""

    def __init__(self, group: zarr.Group, name: str, shape: tuple[int, int], write: ShardWriter) -> None:
        self._shape, self._write = shape, write
        # a small level is one shard, no larger than it has to be
        self._shard_px = min(SHARD_PX, -(-max(shape) // TILE_PX) * TILE_PX)
        self._array = group.create_array(
            name,
            shape=(3, *shape),
            dtype="uint8",
            chunks=(3, TILE_PX, TILE_PX),
            shards=(3, self._shard_px, self._shard_px),
            compressors=ZstdCodec(level=_ZSTD_LEVEL),
            fill_value=BACKGROUND,
            dimension_names=("c", "y", "x"),
        )
        self._place: tuple[int, int] | None = None

    def put(self, row: int, column: int, pixels: Frame) -> None:
        y, x = row * TILE_PX, column * TILE_PX
        place = (y // self._shard_px, x // self._shard_px)
        if place != self._place:
            self.flush()
            self._place = place
            top, left = (side * self._shard_px for side in place)
            size = (min(self._shard_px, self._shape[0] - top), min(self._shard_px, self._shape[1] - left))
            self._pixels = np.full((3, *size), BACKGROUND, np.uint8)
        y, x = y % self._shard_px, x % self._shard_px
        for plane, colour in zip(self._pixels, cv2.split(pixels), strict=True):
            plane[y : y + pixels.shape[0], x : x + pixels.shape[1]] = colour

    def flush(self) -> None:
        """Have the shard written."""
        if self._place is None:
            return
        top, left = (side * self._shard_px for side in self._place)
        height, width = self._pixels.shape[1:]
        place = (slice(None), slice(top, top + height), slice(left, left + width))
        self._write(self._array, place, self._pixels)
        self._place = None
        del self._pixels


def _attributes(pyramid: Pyramid, description: SlideDescription) -> dict[str, Any]:
    datasets = [
        {"path": str(level), "coordinateTransformations": _transformations(description.pixel_size_um, 2**level)}
        for level in range(len(pyramid.shapes))
    ]
    multiscale = {
        "name": description.name,
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", "unit": "micrometer"},
            {"name": "x", "type": "space", "unit": "micrometer"},
        ],
        "datasets": datasets,
        "type": "mean",
        "metadata": {"description": "every pixel the mean of four of the level before"},
    }
    channels = [
        {"label": name, "color": colour, "active": True, "window": {"min": 0, "max": 255, "start": 0, "end": 255}}
        for name, colour in _COLOURS
    ]
    omero = {"name": description.name, "channels": channels, "rdefs": {"model": "color"}}
    told = {name: value for name, value in summary(description, pyramid).items() if name != "jpeg_quality"}
    return {"ome": {"version": VERSION, "multiscales": [multiscale], "omero": omero}, "parfocal": told}


def _transformations(pixel_um: float, downsample: int) -> list[dict[str, Any]]:
    """A pixel's centre lies in the middle of those that it is the mean of."""
    scale, shift = pixel_um * downsample, pixel_um * (downsample - 1) / 2
    return [
        {"type": "scale", "scale": [1.0, scale, scale]},
        {"type": "translation", "translation": [0.0, shift, shift]},
    ]
