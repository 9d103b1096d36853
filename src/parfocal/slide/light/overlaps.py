"""What two neighbours show of the same places: mean grey levels of cells in their overlap, as the camera took them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.slide.fields.folder import SMALL, FieldsFolder
from parfocal.slide.registration.register import Progress, Registration

Array = NDArray[np.float64]

_CELLS = 8  # at most, along and across an overlap
_CELL_BLOCKS = 5  # at least, on a side, where there are so many
_CACHED, _AHEAD = 512, 32


@dataclass(frozen=True)
class Cells:
    """Places that two fields show.

    Attributes:
        seam: int (M,), the seam of each cell, in the order of the registration's.
        a: int (M,), position of the one field in the folder's records.
        b: of the other.
        at_a: float64 (M, 2), x and y of the cell's centre in the one frame, from -1 to 1 over the frame.
        at_b: in the other.
        level_a: float64 (M, 3), mean grey levels in the one frame.
        level_b: in the other.
    """

    seam: NDArray[np.int_]
    a: NDArray[np.int_]
    b: NDArray[np.int_]
    at_a: Array
    at_b: Array
    level_a: Array
    level_b: Array


def overlap_cells(folder: FieldsFolder, registration: Registration, progress: Progress | None = None) -> Cells:
    """Measure the overlaps of a scan: those that pictures tie, and those of two empty fields.

    Args:
        folder: the scan.
        registration: of its fields.
        progress: told about each overlap.

    Raises:
        FileError: if a frame cannot be read.
    """
    records, seams = folder.records, registration.seams
    chosen = [
        number
        for number, seam in enumerate(seams)
        if seam.accepted or all(records[index].verdict == "empty" for index in (seam.a, seam.b))
    ]
    size = np.array(folder.header.frame_shape[::-1])
    parts = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        small = lru_cache(_CACHED)(lambda index: pool.submit(folder.small, records[index]))
        for done, number in enumerate(chosen, 1):
            for soon in chosen[done : done + _AHEAD] if done == 1 else chosen[done + _AHEAD - 1 : done + _AHEAD]:
                small(seams[soon].a), small(seams[soon].b)
            seam = seams[number]
            shift = registration.mosaic_xy_px[seam.b] - registration.mosaic_xy_px[seam.a]
            seen_a, seen_b = (small(index).result().astype(np.float32) for index in (seam.a, seam.b))
            parts.append((number, seam, *_measure(seen_a, seen_b, shift, size)))
            if progress:
                progress("light", done, len(chosen))
    counts = [len(part[2]) for part in parts]
    return Cells(
        seam=np.repeat([part[0] for part in parts], counts).astype(int),
        a=np.repeat([part[1].a for part in parts], counts).astype(int),
        b=np.repeat([part[1].b for part in parts], counts).astype(int),
        at_a=_joined([part[2] for part in parts], 2),
        at_b=_joined([part[3] for part in parts], 2),
        level_a=_joined([part[4] for part in parts], 3),
        level_b=_joined([part[5] for part in parts], 3),
    )


def _joined(parts: list[Array], columns: int) -> Array:
    return np.concatenate([np.zeros((0, columns)), *parts])


def _measure(
    small_a: NDArray[np.float32], small_b: NDArray[np.float32], shift: Array, size: NDArray[np.int_]
) -> tuple[Array, Array, Array, Array]:
    """(at_a, at_b, level_a, level_b) of the cells of an overlap; no cells where it is too narrow."""
    blocks = np.array(small_a.shape[1::-1])
    moved = shift / SMALL
    first = np.maximum(np.ceil(moved), 0).astype(int)
    last = np.minimum(np.floor(blocks - 1 + moved), blocks).astype(int)  # one block less: b is interpolated
    if (last - first < 1).any():
        return np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((0, 3))
    width, height = last - first
    seen_a = small_a[first[1] : last[1], first[0] : last[0]]
    onto_b = np.array([[1.0, 0, first[0] - moved[0]], [0, 1, first[1] - moved[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen_b = cv2.warpAffine(small_b, onto_b, (int(width), int(height)), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    cells = np.clip((last - first) // _CELL_BLOCKS, 1, _CELLS)
    centres = [
        (first[axis] + (np.arange(cells[axis]) + 0.5) * (last - first)[axis] / cells[axis]) * SMALL for axis in (0, 1)
    ]
    x, y = (along.ravel() for along in np.meshgrid(*centres))
    at_a = np.stack([x, y], axis=1)
    return at_a / size * 2 - 1, (at_a - shift) / size * 2 - 1, _means(seen_a, cells), _means(seen_b, cells)


def _means(seen: NDArray[Any], cells: NDArray[np.int_]) -> Array:
    means = cv2.resize(seen, (int(cells[0]), int(cells[1])), interpolation=cv2.INTER_AREA)
    return np.asarray(means, np.float64).reshape(-1, 3)
