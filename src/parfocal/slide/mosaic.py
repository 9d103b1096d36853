"""The mosaic: any block of it, composed from the few fields that touch the block.

Nothing is averaged but a narrow feather: each pixel comes from the field in which it lies deepest, so two copies
that registration left a pixel apart never blend into a blur.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from parfocal.slide.fields import FieldsFolder, Frame
from parfocal.slide.flatfield import FlatField
from parfocal.slide.flatfield import apply as apply_flatfield

BACKGROUND = 255
"""Grey level where no field lies."""

FEATHER_PX = 16
"""Width of the cross-fade from one field to the next, in px."""

_CACHE_BYTES = 256 * 2**20


class Mosaic:
    """All fields at their registered positions, to the nearest pixel.

    Args:
        folder: the scan.
        flat: float32 (Y, X, 3) relative illumination.
        mosaic_xy_px: (N, 2), x and y of each field's top left corner, in the order of the folder's records.
        cache_bytes: memory for decoded frames.

    Attributes:
        shape: (Y, X) of the whole mosaic in px.
    """

    def __init__(
        self,
        folder: FieldsFolder,
        flat: FlatField,
        mosaic_xy_px: NDArray[np.float64],
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        height, width = folder.header.frame_shape
        self._size = np.array([width, height])
        self._corners = np.round(mosaic_xy_px - mosaic_xy_px.min(axis=0)).astype(int)
        extent = (self._corners + self._size).max(axis=0)
        self.shape = (int(extent[1]), int(extent[0]))

        def frame(index: int) -> Frame:
            return apply_flatfield(folder.frame(folder.records[index]), flat)

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
        depths = np.stack([self._depth(corner - low, width, height) for corner in self._corners[near]])
        deepest = depths.max(axis=0)
        total = np.zeros((height, width), np.float32)
        light = np.zeros((height, width, 3), np.float32)
        for index, depth in zip(near, depths, strict=True):
            # 1 where this field is deepest; the second factor lets it end softly at its own edge
            share = np.clip(1 - (deepest - depth) / FEATHER_PX, 0, 1) * np.clip(depth / FEATHER_PX, 0, 1)
            if share.any():
                self._add(light, share, int(index), low)
                total += share
        covered = total > 0
        light /= np.where(covered, total, 1)[..., None]
        light[~covered] = BACKGROUND
        return np.asarray(np.round(light), np.uint8)

    def _depth(self, corner: NDArray[np.int_], width: int, height: int) -> NDArray[np.float32]:
        """Distance in px from each pixel of a block to the nearest edge of a field; negative outside it."""
        x = np.arange(width, dtype=np.float32) + 0.5 - corner[0]
        y = np.arange(height, dtype=np.float32) + 0.5 - corner[1]
        along_x = np.minimum(x, self._size[0] - x)
        along_y = np.minimum(y, self._size[1] - y)
        return np.asarray(np.minimum(along_x[None, :], along_y[:, None]), np.float32)

    def _add(self, light: NDArray[np.float32], share: NDArray[np.float32], index: int, low: NDArray[np.int_]) -> None:
        height, width = share.shape
        x, y = self._corners[index] - low  # of the field in the block
        left, top = max(0, x), max(0, y)
        right, bottom = min(width, x + self._size[0]), min(height, y + self._size[1])
        part = self._frame(index)[top - y : bottom - y, left - x : right - x]
        light[top:bottom, left:right] += share[top:bottom, left:right, None] * part
