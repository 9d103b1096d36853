"""The mosaic: any block of it, composed from the few fields that touch the block.

Nothing is averaged but a narrow feather: each pixel comes from the field whose centre is the nearest, so two copies
that registration left a pixel apart never blend into a blur. Most of a block is a plain copy of one field; only
where fields cross-fade is there anything to calculate.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import Frame
from parfocal.slide.light.flatfield import FlatField
from parfocal.slide.light.measure import Light
from parfocal.slide.registration.distortion import undistort

BACKGROUND = 255
"""Grey level where no field lies."""

FEATHER_PX = 16
"""Width of the cross-fade from one field to the next, in px."""

_CACHE_BYTES = 256 * 2**20

Shares = NDArray[np.float32]
"""How much of a pixel is a field's, 0 to 1."""

Span = tuple[int, int]


class Mosaic:
    """All fields at their registered positions, to the nearest pixel.

    Args:
        folder: the scan.
        light: how frames are evened out; float32 (Y, X, 3) is a flat field and nothing else.
        mosaic_xy_px: (N, 2), x and y of each field's top left corner, in the order of the folder's records.
        cache_bytes: memory for decoded frames.
        distortion: of the lens, as `distortion.undistort` takes it.

    Attributes:
        shape: (Y, X) of the whole mosaic in px.
    """

    def __init__(
        self,
        folder: FieldsFolder,
        light: Light | FlatField,
        mosaic_xy_px: NDArray[np.float64],
        cache_bytes: int = _CACHE_BYTES,
        distortion: float = 0.0,
    ) -> None:
        height, width = folder.header.frame_shape
        self._size = np.array([width, height])
        self._corners = np.round(mosaic_xy_px - mosaic_xy_px.min(axis=0)).astype(int)
        extent = (self._corners + self._size).max(axis=0)
        self.shape = (int(extent[1]), int(extent[0]))

        evened = light if isinstance(light, Light) else Light.of(light)

        def frame(index: int) -> Frame:
            return undistort(evened.correct(folder.frame(folder.records[index]), index), distortion)

        self._frame = lru_cache(max(4, cache_bytes // (height * width * 3)))(frame)

    def block(self, x_px: int, y_px: int, width: int, height: int) -> Frame | None:
        """A rectangle of the mosaic.

        Args:
            x_px: left edge in mosaic px.
            y_px: top edge in mosaic px.
            width: in px.
            height: in px.

        Returns:
            uint8 (height, width, 3) RGB, white where no field lies; None if no field touches the rectangle.

        Raises:
            FileError: if a frame cannot be read.
        """
        low, high = np.array([x_px, y_px]), np.array([x_px + width, y_px + height])
        touching = ((self._corners < high) & (self._corners + self._size > low)).all(axis=1)
        near = np.flatnonzero(touching)
        if not len(near):
            return None
        block = np.full((height, width, 3), BACKGROUND, np.uint8)
        first, last = self._corners[near] - low, self._corners[near] + self._size - low
        columns, rows = _cut((first[:, 0], last[:, 0]), width), _cut((first[:, 1], last[:, 1]), height)
        for (top, bottom), (left, right) in itertools.product(rows, columns):
            covering = near[((first <= (left, top)) & (last >= (right, bottom))).all(axis=1)]
            self._fill(block[top:bottom, left:right], covering, low + np.array([left, top]))
        return block

    def _fill(self, part: Frame, covering: NDArray[np.int_], low: NDArray[np.int_]) -> None:
        """Compose the part of a block that begins at `low`; each of the fields covers all of it."""
        if len(covering) == 0:
            return
        if len(covering) == 1:
            part[:] = self._piece(covering[0], low, part)
            return
        shares = self._shares(covering, low, part)
        seen = np.asarray(shares > 0, np.bool_)
        columns, rows = _cut(_spans(seen, 1), part.shape[1]), _cut(_spans(seen, 2), part.shape[0])
        for (top, bottom), (left, right) in itertools.product(rows, columns):
            within = (slice(top, bottom), slice(left, right))
            taking_part = np.flatnonzero(seen[:, *within].any(axis=(1, 2)))
            pieces = [self._piece(covering[k], low + np.array([left, top]), part[within]) for k in taking_part]
            part[within] = pieces[0] if len(pieces) == 1 else _blend(pieces, shares[taking_part][:, *within])

    def _piece(self, index: int, low: NDArray[np.int_], part: Frame) -> Frame:
        """What a field shows at a part that begins at `low`."""
        x, y = low - self._corners[index]
        height, width = part.shape[:2]
        return self._frame(int(index))[y : y + height, x : x + width]

    def _shares(self, covering: NDArray[np.int_], low: NDArray[np.int_], part: Frame) -> Shares:
        """(fields, Y, X): 1 where a field's centre is the nearest, 0 from half a feather beyond the middle line."""
        height, width = part.shape[:2]
        x, y = low[0] + np.arange(width) + 0.5, low[1] + np.arange(height) + 0.5
        shares = np.empty((len(covering), height, width), np.float32)
        for share, index in zip(shares, covering, strict=True):
            across, down = (self._softness(along, index, axis) for axis, along in enumerate((x, y)))
            np.minimum.outer(down, across, out=share)
            for other in covering[covering != index]:
                share *= self._nearness(x, y, index, other)
        return shares

    def _softness(self, along: NDArray[np.float64], index: int, axis: int) -> Shares:
        """By places on an axis: 0 at the ends of a field, 1 from a feather inside."""
        first = self._corners[index, axis]
        depth = np.minimum(along - first, first + self._size[axis] - along)
        return np.asarray(np.minimum(depth / FEATHER_PX, 1), np.float32)

    def _nearness(self, x: NDArray[np.float64], y: NDArray[np.float64], index: int, other: int) -> Shares | float:
        """1 where a field's centre is nearer than another's, 0 from half a feather beyond the line between them."""
        apart = (self._corners[other] - self._corners[index]).astype(float)
        distance = float(np.hypot(*apart))
        if distance == 0:  # one upon the other
            return float(index < other)
        across = apart / distance / (FEATHER_PX / 2)
        middle = (self._corners[index] + self._corners[other] + self._size) / 2
        down, along = (middle[1] - y) * across[1] + 1, (middle[0] - x) * across[0]
        before = np.add.outer(down.astype(np.float32), along.astype(np.float32))
        return np.asarray(np.clip(before, 0, 1, out=before), np.float32)


def _blend(pieces: list[Frame], shares: Shares) -> Frame:
    if len(pieces) == 2:  # nearly always, and several times as fast
        return np.asarray(cv2.blendLinear(pieces[0], pieces[1], shares[0], shares[1]), np.uint8)
    light = np.zeros(pieces[0].shape, np.float32)
    for piece, share in zip(pieces, shares, strict=True):
        light += share[..., None] * piece
    return np.asarray(np.round(light / shares.sum(axis=0)[..., None]), np.uint8)


def _cut(edges: tuple[NDArray[np.int_], NDArray[np.int_]], length: int) -> list[Span]:
    """The pieces into which edges cut the length from 0 to `length`."""
    inside = {int(edge) for edge in np.concatenate(edges) if 0 < edge < length}
    return list(itertools.pairwise(sorted({0, length} | inside)))


def _spans(seen: NDArray[np.bool_], across: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """First and last place + 1 at which each field of (fields, Y, X) is seen, whatever the place on axis `across`."""
    along = np.asarray(seen.any(axis=across))
    return along.argmax(axis=1), along.shape[1] - along[:, ::-1].argmax(axis=1)
