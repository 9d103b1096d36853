"""The slide while it is scanned: kept frames, an eighth of their size, where the stage says that they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from parfocal.errors import FileError
from parfocal.slide.fields.folder import SMALL, FieldsFolder
from parfocal.slide.fields.records import FieldRecord, Frame
from parfocal.slide.pyramid import encode_jpeg

_LONGEST_PX = 900
_GLASS = 236
_COLOURS = {"focused": (47, 143, 70), "unsure": (224, 154, 18), "failed": (207, 47, 42), "empty": (136, 148, 163)}


class GrowingMosaic:
    """A picture of the fields so far. Asked again, it reads only what is new.

    Args:
        folder: of a scan that is under way.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._small: dict[tuple[int, int], Frame] = {}

    def picture(self) -> bytes | None:
        """As JPEG, with each field framed in the colour of its verdict; None before the first field.

        Raises:
            FileError: if the folder or a frame cannot be read.
        """
        if not self._folder.is_dir():
            return None
        try:
            fields = FieldsFolder(self._folder)
        except FileError:  # its header is being written
            return None
        if not fields.records:
            return None
        for record in fields.records:
            if (record.index, record.attempt) not in self._small:
                self._small[record.index, record.attempt] = fields.small(record)
        return encode_jpeg(self._draw(fields))

    def _draw(self, fields: FieldsFolder) -> Frame:
        pixel_um = fields.header.pixel_size_um * SMALL
        places = np.array([(record.stage_x_um, record.stage_y_um) for record in fields.records]) / pixel_um
        corners = np.round(places - places.min(axis=0)).astype(int)
        height, width = next(iter(self._small.values())).shape[:2]
        extent = corners.max(axis=0) + np.array([width, height])
        canvas = np.full((int(extent[1]), int(extent[0]), 3), _GLASS, np.uint8)
        for record, (x, y) in zip(fields.records, corners.tolist(), strict=True):
            canvas[y : y + height, x : x + width] = self._small[record.index, record.attempt]
        for record, (x, y) in zip(fields.records, corners.tolist(), strict=True):
            _frame(canvas, record, x, y, width, height)
        scale = _LONGEST_PX / max(canvas.shape[:2])
        if scale >= 1:
            return canvas
        return np.asarray(cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _frame(canvas: Frame, record: FieldRecord, x: int, y: int, width: int, height: int) -> None:
    thick = max(1, width // 60)
    cv2.rectangle(canvas, (x + 1, y + 1), (x + width - 2, y + height - 2), _COLOURS[record.verdict], thick)
