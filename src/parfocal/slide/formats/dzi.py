"""Deep Zoom Image: a descriptor, and a folder with one JPEG for each tile, which a web server can serve as it is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from parfocal.durable import all_written_aside, cannot
from parfocal.slide.fields.records import Frame
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.tiff import summary
from parfocal.slide.pyramid import TILE_PX, Pyramid, encode_jpeg
from parfocal.slide.quality.files import write_tables

_THREADS = 2
NAMESPACE = "http://schemas.microsoft.com/deepzoom/2008"
SUMMARY_FILE = "slide.json"


def write_dzi(path: Path, pyramid: Pyramid, description: SlideDescription) -> None:
    """Write `NAME.dzi`, the tiles in `NAME_files/LEVEL/COLUMN_ROW.jpg`, a summary and the quality table.

    Level n is at most 2ⁿ px long; tiles do not overlap, and those at the right and bottom edge are smaller. The
    summary, `slide.json`, says how large a pixel is: the descriptor has no place for it.

    Args:
        path: of the descriptor, `*.dzi`.
        pyramid: all tiles, built.
        description: for the quality table and the summary.

    Raises:
        FileError: if a file cannot be written; nothing is left under the final names.
    """
    with all_written_aside(path.parent) as aside:
        folder = aside / f"{path.stem}_files"
        try:
            (aside / path.name).write_bytes(_descriptor(pyramid.shapes[0]))
            _write_levels(folder, pyramid)
            (folder / SUMMARY_FILE).write_text(json.dumps(summary(description, pyramid)), encoding="utf-8")
        except OSError as error:
            raise cannot("write", path, error) from error
        if description.fields:
            write_tables(folder, description.fields)


def _descriptor(shape: tuple[int, int]) -> bytes:
    root = ElementTree.Element("Image", {"xmlns": NAMESPACE, "Format": "jpg", "Overlap": "0", "TileSize": str(TILE_PX)})
    ElementTree.SubElement(root, "Size", Width=str(shape[1]), Height=str(shape[0]))
    return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True))


def _write_levels(folder: Path, pyramid: Pyramid) -> None:
    """All tiles, row by row in a few threads: most of the time goes into making files."""

    def write(level: int, row: int, tiles: Iterable[bytes]) -> None:
        for column, encoded in enumerate(tiles):
            (folder / str(level) / f"{column}_{row}.jpg").write_bytes(encoded)

    largest = math.ceil(math.log2(max(pyramid.shapes[0])))
    for level in range(largest + 1):
        (folder / str(level)).mkdir(parents=True)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="deep-zoom") as pool:
        for _ in pool.map(lambda row: write(*row), _rows(pyramid, largest)):
            pass


def _rows(pyramid: Pyramid, largest: int) -> Iterator[tuple[int, int, Iterable[bytes]]]:
    """(level, row, its JPEGs) in Deep Zoom's numbers, in which level 0 is one pixel."""
    for level in range(len(pyramid.shapes)):
        rows, columns = pyramid.grid(level)
        for row in range(rows):
            yield largest - level, row, map(partial(pyramid.cropped, level, row), range(columns))
    for level in range(largest - len(pyramid.shapes), -1, -1):
        picture = _shrunk(pyramid.smallest, 2 ** (largest - len(pyramid.shapes) + 1 - level))
        for row, y in enumerate(range(0, picture.shape[0], TILE_PX)):
            parts = (picture[y : y + TILE_PX, x : x + TILE_PX] for x in range(0, picture.shape[1], TILE_PX))
            yield level, row, [encode_jpeg(np.ascontiguousarray(part), pyramid.quality) for part in parts]


def _shrunk(picture: Frame, factor: int) -> Frame:
    """A `factor`-th of the size, rounded up; every pixel the mean of those that it covers, fewer at the far edges."""
    height, width = picture.shape[:2]
    pad = ((0, -height % factor), (0, -width % factor))
    whole = np.pad(picture.astype(np.float32), (*pad, (0, 0)))
    inside = np.pad(np.ones((height, width), np.float32), pad)
    size = (whole.shape[1] // factor, whole.shape[0] // factor)
    means, shares = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (whole, inside))
    return np.asarray(np.round(means / shares[..., None]), np.uint8)
