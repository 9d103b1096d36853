"""Frames as readers see them: all of one size and one kind of JPEG, whatever they were before.

What reaches a reader must not tell how a field was taken. A frame is cut to 4 : 3 around its middle and scaled; it
carries no metadata. Its pixels, and the scale that belongs to them, may tell the magnification.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from parfocal.errors import FileError
from parfocal.review.shelf.cache import BytesCache
from parfocal.review.shelf.shelf import Shelf
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import RECORDS_FILE
from parfocal.slide.fields.records import FieldsHeader, Frame
from parfocal.slide.pyramid import encode_jpeg

WIDTH, HEIGHT = 1600, 1200
"""Of every frame that a reader sees, in px."""
QUALITY = 90
SMALL_WIDTH, SMALL_HEIGHT = 320, 240


def cut(shape: tuple[int, int]) -> tuple[int, int]:
    """(height, width) in px of the largest part of a frame that is 4 : 3."""
    height, width = shape
    return (
        (height, max(1, height * WIDTH // HEIGHT))
        if width * HEIGHT > height * WIDTH
        else (
            max(1, width * HEIGHT // WIDTH),
            width,
        )
    )


def uniform(frame: Frame, width: int = WIDTH, height: int = HEIGHT) -> Frame:
    """The middle of a frame, uint8 (height, width, 3)."""
    high, wide = cut((frame.shape[0], frame.shape[1]))
    top, left = (frame.shape[0] - high) // 2, (frame.shape[1] - wide) // 2
    how = cv2.INTER_AREA if wide > width else cv2.INTER_CUBIC
    scaled = cv2.resize(frame[top : top + high, left : left + wide], (width, height), interpolation=how)
    return np.ascontiguousarray(scaled, np.uint8)


def um_per_px(header: FieldsHeader) -> float:
    """Of a frame as a reader sees it."""
    return cut(header.frame_shape)[1] * header.pixel_size_um / WIDTH


def area_mm2(header: FieldsHeader) -> float:
    """True area on the slide of a frame as a reader sees it."""
    high, wide = cut(header.frame_shape)
    return high * wide * (header.pixel_size_um / 1000) ** 2


def readable_fields(folder: FieldsFolder) -> tuple[int, ...]:
    """Numbers of the fields that a reader can be shown: neither empty nor failed."""
    return tuple(sorted(record.index for record in folder.records if record.verdict in ("focused", "unsure")))


class FieldFrames:
    """Frames of shelved slides for readers, with a cache whose memory is bounded.

    Args:
        shelf: of the slides.
        cache_bytes: what encoded frames may take in memory.
    """

    def __init__(self, shelf: Shelf, cache_bytes: int) -> None:
        self._shelf = shelf
        self._kept = BytesCache(cache_bytes)

    def folder(self, slide_id: str) -> FieldsFolder:
        """The fields of a slide.

        Raises:
            FileError: if there are none.
        """
        return FieldsFolder(self._path(slide_id))

    def _path(self, slide_id: str) -> Path:
        path = self._shelf.slide(slide_id).folder
        if path is None:
            raise FileError("this slide has no single fields")
        return path

    def _version(self, slide_id: str) -> tuple[int, int]:
        """Changes when a field is taken again: then everybody is shown the new one at once."""
        try:
            seen = (self._path(slide_id) / RECORDS_FILE).stat()
        except OSError as error:
            raise FileError(f"this slide's fields cannot be read: {error.strerror}") from error
        return seen.st_mtime_ns, seen.st_size

    def frame(self, slide_id: str, field: int, *, small: bool = False) -> bytes:
        """One field as JPEG.

        Raises:
            FileError: if it is not there, or damaged.
        """
        key = (slide_id, *self._version(slide_id), field, small)
        kept = self._kept.get(key)
        if kept is None:
            folder = self.folder(slide_id)
            record = next((one for one in folder.records if one.index == field), None)
            if record is None:
                raise FileError("there is no such field")
            size = (SMALL_WIDTH, SMALL_HEIGHT) if small else (WIDTH, HEIGHT)
            kept = encode_jpeg(uniform(folder.frame(record), *size), QUALITY)
            self._kept.put(key, kept)
        return kept
