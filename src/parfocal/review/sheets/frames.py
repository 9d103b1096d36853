"""Frames as readers see them: all of one size and one kind of JPEG, whatever they were before.

What reaches a reader must not tell how a field was taken. A frame is cut to 4 : 3 around its middle and scaled; it
carries no metadata. Its pixels, and the scale that belongs to them, may tell the magnification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from parfocal.errors import FileError
from parfocal.review.shelf.cache import BytesCache
from parfocal.review.shelf.shelf import Shelf
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import RECORDS_FILE
from parfocal.slide.fields.records import FieldRecord, FieldsHeader, Frame
from parfocal.slide.pyramid import encode_jpeg

WIDTH, HEIGHT = 1600, 1200
"""Of every frame that a reader sees, in px."""
QUALITY = 90
SMALL_WIDTH, SMALL_HEIGHT = 320, 240


class ChangedError(FileError):
    """What was to be shown is not what it was when the reading was laid out."""


@dataclass(frozen=True)
class Attempt:
    """Which frame of a field is meant.

    Attributes:
        number: of the attempt.
        sha256: of its frame's file, as hex; empty in scans of older versions.
    """

    number: int
    sha256: str

    def is_of(self, record: FieldRecord) -> bool:
        """Whether a record tells of it."""
        return (record.attempt, record.sha256) == (self.number, self.sha256)

    def to_json(self) -> list[Any]:
        """As JSON values."""
        return [self.number, self.sha256]


@dataclass(frozen=True)
class Attempts:
    """Which attempts a folder holds.

    Attributes:
        latest: the one that counts now, by the field's number.
        every: field and attempt, of all.
    """

    latest: Mapping[int, Attempt]
    every: frozenset[tuple[int, Attempt]]


def attempts_of(folder: FieldsFolder) -> dict[int, Attempt]:
    """The attempt that counts now, by the field's number."""
    return {record.index: Attempt(record.attempt, record.sha256) for record in folder.records}


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
        self._attempts: dict[str, tuple[tuple[int, int], Attempts]] = {}

    def folder(self, slide_id: str) -> FieldsFolder:
        """The fields of a slide.

        Raises:
            FileError: if there are none.
        """
        return FieldsFolder(self._path(slide_id))

    def attempts(self, slide_id: str) -> Attempts:
        """All attempts of a slide's fields, read anew only when a field was taken again.

        Raises:
            FileError: if there are none.
        """
        version = self._version(slide_id)
        known = self._attempts.get(slide_id)
        if known is None or known[0] != version:
            folder = self.folder(slide_id)
            every = frozenset((record.index, Attempt(record.attempt, record.sha256)) for record in folder.attempts)
            known = self._attempts[slide_id] = (version, Attempts(attempts_of(folder), every))
        return known[1]

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

    def frame(self, slide_id: str, field: int, attempt: Attempt | None = None, *, small: bool = False) -> bytes:
        """One field as JPEG.

        Args:
            slide_id: whose.
            field: its number.
            attempt: which is meant, checked by its SHA-256; None for the one that counts now.
            small: for an overview.

        Raises:
            ChangedError: if that attempt is not there any more, or its file is not what it was.
            FileError: if it is not there, or damaged.
        """
        key = (slide_id, *self._version(slide_id), field, attempt, small)
        kept = self._kept.get(key)
        if kept is None:
            folder = self.folder(slide_id)
            record = _record(folder, field, attempt)
            size = (SMALL_WIDTH, SMALL_HEIGHT) if small else (WIDTH, HEIGHT)
            kept = encode_jpeg(uniform(folder.frame(record), *size), QUALITY)
            self._kept.put(key, kept)
        return kept


def _record(folder: FieldsFolder, field: int, attempt: Attempt | None) -> FieldRecord:
    if attempt is None:
        record = next((one for one in folder.records if one.index == field), None)
        if record is None:
            raise FileError("there is no such field")
        return record
    record = next((one for one in folder.attempts if one.index == field and attempt.is_of(one)), None)
    if record is None:
        raise ChangedError(f"{folder.path}: attempt {attempt.number} of field {field} is not there any more")
    if folder.damage(record) == "corrupt":
        raise ChangedError(f"{folder.path}: {record.file}, field {field}, is not what it was: its SHA-256 is another")
    return record
