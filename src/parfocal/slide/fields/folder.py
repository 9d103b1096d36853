"""The fields folder: what a scan hands over, and all that a virtual slide is made of.

    scan.json        how the fields were taken: instrument, slide, settings, plan
    fields.jsonl     one line for each field, in the order of acquisition, with the SHA-256 of its frame
    journal.jsonl    what the scan did: beginnings and ends, searches, every move
    frames/f00012.jpg  the kept frame of field 12
    label.png        photograph of the slide's label, where there is one

A frame is complete on disk before its line is written, so a scan that ends at any moment leaves a folder that
can be stitched, and gone on with.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import cv2
import numpy as np

from parfocal.durable import PART_SUFFIX, cannot
from parfocal.errors import FileError
from parfocal.slide.fields.label import read_label
from parfocal.slide.fields.layout import FRAMES_FOLDER, HEADER_FILE, JOURNAL_FILE, LABEL_FILE, RECORDS_FILE, is_own
from parfocal.slide.fields.records import FieldRecord, Frame, HeaderFile, read_bytes, read_header, read_records
from parfocal.slide.fields.sealed import is_whole, parsed

Damage = Literal["missing", "corrupt"]

SMALL = 8
"""How many px of a frame one px of `FieldsFolder.small` is the mean of, along x and along y."""

_FRAME_ENDS = {".jpg": b"\xff\xd9", ".png": b"IEND\xaeB\x60\x82"}


class FieldsFolder:
    """Reads a fields folder, finished or not.

    Attributes:
        path: the folder.
        header: how the fields were taken.
        records: the fields in the order of acquisition, each by its last attempt. A torn last line is left out.
        attempts: the same with what was taken again since.
        has_seals: whether its lines bear checksums: those of older versions do not.
        is_intact: whether the settings in the header are those that the scan began with.

    Raises:
        FileError: if the folder, the header or a record is missing or malformed, naming file and line.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        read = read_header(self.path / HEADER_FILE)
        self.header, self.has_seals, self.is_intact = read.header, read.has_seals, read.is_intact
        self.attempts = read_records(self.path / RECORDS_FILE, self.header.scan_id, self.has_seals)
        self.records = _latest(self.attempts)

    @classmethod
    def of_records(cls, path: Path, read: HeaderFile, attempts: list[FieldRecord]) -> Self:
        """A folder whose header and records were read already."""
        folder = cls.__new__(cls)
        folder.path, folder.attempts, folder.records = path, attempts, _latest(attempts)
        folder.header, folder.has_seals, folder.is_intact = read.header, read.has_seals, read.is_intact
        return folder

    def with_attempts(self, attempts: list[FieldRecord]) -> Self:
        """The same folder, as if it held these attempts and no others."""
        folder = copy.copy(self)
        folder.attempts, folder.records = attempts, _latest(attempts)
        return folder

    def frame(self, record: FieldRecord) -> Frame:
        """The kept frame of a field: uint8 (Y, X, 3), RGB.

        Raises:
            FileError: if the file is missing, truncated, no image, of another shape, or outside the folder.
        """
        return self._decoded(record, cv2.IMREAD_COLOR_RGB, self.header.frame_shape)

    def small(self, record: FieldRecord) -> Frame:
        """Means of whole blocks of 8 × 8 px of a kept frame: uint8 (Y // 8, X // 8, 3), RGB; a JPEG's cost little.

        Raises:
            FileError: as `frame`; or if the frames are smaller than a block.
        """
        height, width = (length // SMALL for length in self.header.frame_shape)
        if min(height, width) < 1:
            raise FileError(
                f"{self.path}: frames of {self.header.frame_shape} px are smaller than {SMALL} × {SMALL} px"
            )
        if Path(record.file).suffix != ".jpg":
            whole = self.frame(record)[: height * SMALL, : width * SMALL]
            return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        reduced = tuple(-(-length // SMALL) for length in self.header.frame_shape)
        image = self._decoded(record, cv2.IMREAD_REDUCED_COLOR_8, (reduced[0], reduced[1]))
        return np.ascontiguousarray(image[:height, :width, ::-1])

    def check(self) -> None:
        """Look whether every field lies in the plan and has a whole frame, so that a long job fails before it begins.

        Raises:
            FileError: if a frame is missing or cut short, two fields share one, or a field is no part of the plan.
        """
        owners: dict[str, int] = {}
        for record in self.records:
            if record.row >= self.header.rows or record.column >= self.header.columns:
                raise FileError(
                    f"{self.path}: field {record.index} lies in row {record.row}, column {record.column}, outside the "
                    f"{self.header.rows} × {self.header.columns} fields of {HEADER_FILE}: another scan's?"
                )
            path = self._inside(record)
            if record.file in owners:
                raise FileError(f"{path}: is the frame of both field {owners[record.file]} and field {record.index}")
            owners[record.file] = record.index
            end = _FRAME_ENDS.get(path.suffix, b"")
            try:
                with path.open("rb") as file:
                    length = file.seek(0, os.SEEK_END)
                    file.seek(max(0, length - len(end)))
                    whole = length > 0 and file.read() == end
            except OSError as error:
                raise cannot("read", path, error) from error
            if not whole:
                raise FileError(f"{path}: the frame is cut short, after {length} bytes")

    def _decoded(self, record: FieldRecord, flags: int, shape: tuple[int, int]) -> Frame:
        path = self._inside(record)
        encoded = read_bytes(path)
        if not encoded.endswith(_FRAME_ENDS.get(path.suffix, b"")):
            raise FileError(f"{path}: the frame is cut short, after {len(encoded)} bytes")
        if not encoded:
            raise FileError(f"{path}: the frame is empty")
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        if image is None:
            raise FileError(f"{path}: not an image that can be read")
        if image.shape[:2] != shape:
            raise FileError(f"{path}: frame is {image.shape[:2]} px, the scan's are {shape} px")
        return np.asarray(image, np.uint8)

    def notes(self, *what: str) -> Iterator[dict[str, Any]]:
        """The notes of these kinds in the journal, in order; damaged lines are left out, as is a torn end.

        Raises:
            FileError: if the journal is there and cannot be read.
        """
        path = self.path / JOURNAL_FILE
        if not path.exists():
            return
        wanted = [f'"what": "{kind}"'.encode() for kind in what]
        for line in read_bytes(path).split(b"\n"):
            if any(kind in line for kind in wanted) and is_whole(line):
                note = parsed(line)
                if note.get("what") in what:
                    yield note

    def untold_frames(self) -> list[Path]:
        """Frames of which no line tells; none where their folder is gone.

        What breaks off leaves one at most: a frame is there before its line.

        Raises:
            FileError: if the folder cannot be read.
        """
        told = {record.file for record in self.attempts}
        try:
            frames = sorted((self.path / FRAMES_FOLDER).iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise cannot("read", self.path / FRAMES_FOLDER, error) from error
        names = [(path, path.relative_to(self.path)) for path in frames if path.suffix != PART_SUFFIX]
        return [path for path, name in names if is_own(name) and name.as_posix() not in told]

    def damage(self, record: FieldRecord) -> Damage | None:
        """What is wrong with the file of a kept frame: "missing", or "corrupt" against its SHA-256; None if nothing is.

        Records of older versions have no SHA-256: of theirs it is looked whether the file has an end.
        """
        path = self._inside(record)
        if not path.is_file():
            return "missing"
        encoded = read_bytes(path)
        if record.sha256:
            is_same = hashlib.sha256(encoded).hexdigest() == record.sha256
        else:
            is_same = len(encoded) > 0 and encoded.endswith(_FRAME_ENDS.get(path.suffix, b""))
        return None if is_same else "corrupt"

    def _inside(self, record: FieldRecord) -> Path:
        path = self.path / record.file
        if not record.file or "\0" in record.file or not path.resolve().is_relative_to(self.path.resolve()):
            raise FileError(f"{self.path}: {record.file!r}, the frame of field {record.index}, lies outside")
        return path

    def label(self) -> Frame | None:
        """Photograph of the slide's label, uint8 (Y, X, 3) RGB; None where there is none.

        Raises:
            FileError: if the file is there and cannot be read.
        """
        path = self.path / LABEL_FILE
        return read_label(path) if path.exists() else None

    def positions_digest(self) -> bytes:
        """SHA-256 of where each field was first taken: the same after fields were taken again."""
        first = [record for record in self.attempts if record.attempt == 1]
        places = [(record.index, record.stage_x_um, record.stage_y_um, record.stage_z_um) for record in first]
        return hashlib.sha256(json.dumps(places).encode()).digest()


def _latest(attempts: list[FieldRecord]) -> list[FieldRecord]:
    """Of each field the last attempt, in the order of acquisition."""
    latest = {record.index: record for record in attempts}
    return [record for record in attempts if latest[record.index] is record]
