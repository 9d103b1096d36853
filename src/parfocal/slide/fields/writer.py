"""Writes a fields folder so that nothing that was told of is ever lost: frame first, then its line, all on disk.

One thread writes, behind a bounded queue. Where the disk is slow the queue fills and the scan waits: memory stays.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, replace
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import imagecodecs
import numpy as np

from parfocal.durable import PART_SUFFIX, cannot, is_ours_alone, make_folders, written_aside
from parfocal.errors import FileError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.label import write_label
from parfocal.slide.fields.layout import (
    FRAMES_FOLDER,
    HEADER_FILE,
    JOURNAL_FILE,
    LABEL_FILE,
    RECORDS_FILE,
    FrameFormat,
    frame_file,
    is_own,
)
from parfocal.slide.fields.records import (
    FORMAT,
    FORMAT_WITHOUT_SEALS,
    FieldRecord,
    FieldsHeader,
    Frame,
    header_text,
    read_lines,
)
from parfocal.slide.fields.sealed import parsed, sealed
from parfocal.slide.fields.writer_thread import WriterThread

RESERVE_BYTES = 64 * 2**20
"""What a scan leaves free on the disk: it stops before, with all that it wrote whole, and can be gone on with."""

_QUEUE_DEPTH, _NOTES_DEPTH = 8, 4096
_SYNC_JOURNAL_S = 1.0
_MOST_ATTEMPTS = 2**16 - 1
_JPEG_QUALITY = 95


class FieldsWriter:
    """Writes a fields folder through one thread behind a bounded queue. A context manager.

    Args:
        path: the folder; made if missing.
        header: written at once to `scan.json`; on disk when this returns.
        overwrite: allow a folder that holds an earlier scan and nothing else. That scan's files are removed.
        frame_format: "jpg" (quality 95, 4:4:4) or "png" (lossless).
        label: uint8 (Y, X, 3), photograph of the slide's label; None for none.
        reserve_bytes: what is left free on the disk.

    Raises:
        FileError: if the folder cannot be written, or holds anything that may not be removed.
    """

    def __init__(
        self,
        path: Path,
        header: FieldsHeader,
        *,
        overwrite: bool = False,
        frame_format: FrameFormat = "jpg",
        label: Frame | None = None,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        text = header_text(header)
        path = Path(path)
        try:
            make_folders(path)
            _refuse_if_written(path)
            _make_room(path, overwrite)
            (path / FRAMES_FOLDER).mkdir()
        except OSError as error:
            raise cannot("write", path, error) from error
        if label is not None:
            write_label(path / LABEL_FILE, label)
        self._begin(path, header, frame_format, reserve_bytes, has_seals=True)
        with written_aside(path / HEADER_FILE) as part:
            part.write_text(text, encoding="utf-8")
        self.note("opened", version=header.version, scan_id=header.scan_id)

    @classmethod
    def reopen(cls, folder: FieldsFolder, *, reserve_bytes: int = RESERVE_BYTES) -> Self:
        """Add to a folder that was read; its header stays. What a scan that broke off left half-written is removed.

        Raises:
            FileError: if the folder cannot be written.
        """
        writer = cls.__new__(cls)
        suffix = Path(folder.attempts[0].file).suffix.lstrip(".") if folder.attempts else "jpg"
        frame_format: FrameFormat = "png" if suffix == "png" else "jpg"
        writer._begin(folder.path, folder.header, frame_format, reserve_bytes, has_seals=folder.has_seals)
        try:
            _remove_what_is_torn(folder)
            for record in folder.attempts:
                writer._check_new(record)
                writer._attempts[record.index] = record.attempt
        except FileError:
            writer.close()
            raise
        writer._put_so_far = len(folder.attempts)
        writer.note("reopened", fields=len(folder.records))
        return writer

    def _begin(
        self, path: Path, header: FieldsHeader, frame_format: FrameFormat, reserve_bytes: int, *, has_seals: bool
    ) -> None:
        self.path = path
        self.header = header
        self._frame_format = frame_format
        self._reserve_bytes = reserve_bytes
        self._has_seals = has_seals
        self._attempts = np.zeros(header.rows * header.columns, np.uint16)  # the latest of each field: a slide has many
        self._put_so_far = 0
        self._synced_s = time.monotonic()
        self._journal = _append_to(path / JOURNAL_FILE)
        if not is_ours_alone(self._journal.fileno()):
            self._journal.close()
            raise _is_written(path)
        self._records = _append_to(path / RECORDS_FILE)
        self._thread = WriterThread(_QUEUE_DEPTH, _NOTES_DEPTH)

    @property
    def attempts(self) -> int:
        """How many attempts at fields were put, those that the folder held before included."""
        return self._put_so_far

    @property
    def has_room(self) -> bool:
        """Whether a field put now would not wait for the disk."""
        return self._thread.has_room

    def put(self, record: FieldRecord, frame: Frame) -> None:
        """Queue a field to be written; waits while the queue is full. The frame is copied.

        Args:
            record: the field; its `file`, `scan_id`, `sha256` and `file_bytes` are filled in here.
            frame: uint8 (Y, X, 3) RGB of the header's shape.

        Raises:
            FileError: if this frame does not fit the scan, or an earlier one could not be written.
            ValueError: if the focus trace holds a value that JSON has not, such as NaN.
        """
        if frame.shape != (*self.header.frame_shape, 3) or frame.dtype != np.uint8:
            raise FileError(
                f"frame {frame.shape} {frame.dtype} of field {record.index} is not "
                f"{(*self.header.frame_shape, 3)} uint8"
            )
        self._check_new(record)
        file = frame_file(record.index, record.attempt, self._frame_format)
        values = asdict(replace(record, file=file, scan_id=self.header.scan_id))
        del values["sha256"], values["file_bytes"]
        body, mine = json.dumps(values, allow_nan=False), frame.copy()
        self._attempts[record.index] = record.attempt
        self._put_so_far += 1
        self._thread.give(lambda: self._write(file, mine, body))

    def _check_new(self, record: FieldRecord) -> None:
        """Raises FileError where the plan has no such field, or this attempt, or a later one, was written."""
        if record.index >= len(self._attempts):
            raise FileError(f"{self.path}: field {record.index} is none of the plan's {len(self._attempts)}")
        if not self._attempts[record.index] < record.attempt <= _MOST_ATTEMPTS:
            raise FileError(
                f"{self.path}: field {record.index} was already written, {self._attempts[record.index]} times; "
                f"attempt {record.attempt} is not above that, or above {_MOST_ATTEMPTS}"
            )

    def note(self, what: str, **values: Any) -> None:
        """Queue a line of `journal.jsonl`. Raises nothing about the disk: the next `put` does, or `close`.

        Args:
            what: happened, in a word or two.
            values: JSON values.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        body = json.dumps({"at": now, "what": what, **values})
        self._thread.give_light(lambda: self._write_note(body))

    def sync(self) -> None:
        """Wait until all that was put and noted is on disk. Raises FileError if something could not be written."""
        self._thread.give(self._sync_journal)
        self._thread.settle()

    def close(self) -> None:
        """Wait until everything is on disk. Raises FileError if something could not be written."""
        try:
            self.sync()
        finally:
            self._thread.stop()
            for file, name in ((self._records, RECORDS_FILE), (self._journal, JOURNAL_FILE)):
                try:
                    file.close()
                except OSError as error:  # network drives tell it as late as this
                    raise cannot("write", self.path / name, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except FileError as failure:
            if error is None:
                raise
            error.add_note(str(failure))  # what ended the scan is the news, not this

    def _write(self, file: str, frame: Frame, body: str) -> None:
        self._check_room()
        picture = _encoded(frame, self._frame_format)
        with written_aside(self.path / file) as part:
            part.write_bytes(picture)
        if self._has_seals:
            line = sealed(body, sha256=hashlib.sha256(picture).hexdigest(), file_bytes=len(picture))
        else:  # a folder of an older version stays one
            line = body.encode() + b"\n"
        self._append(self._records, RECORDS_FILE, line)
        self._sync(self._records, RECORDS_FILE)
        self._sync_journal_if_due()

    def _write_note(self, body: str) -> None:
        self._append(self._journal, JOURNAL_FILE, sealed(body))
        self._sync_journal_if_due()

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.path).free
        if free < self._reserve_bytes:
            raise FileError(
                f"{self.path}: {free / 2**20:.0f} MiB are free on the disk, "
                f"less than the reserve of {self._reserve_bytes / 2**20:.0f} MiB"
            )

    def _sync_journal_if_due(self) -> None:
        if time.monotonic() - self._synced_s > _SYNC_JOURNAL_S:
            self._sync_journal()

    def _sync_journal(self) -> None:
        self._sync(self._journal, JOURNAL_FILE)
        self._synced_s = time.monotonic()

    def _append(self, file: FileIO, name: str, line: bytes) -> None:
        left = memoryview(line)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            raise cannot("write", self.path / name, error) from error

    def _sync(self, file: FileIO, name: str) -> None:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            raise cannot("write", self.path / name, error) from error


def _encoded(frame: Frame, frame_format: FrameFormat) -> bytes:
    """A frame as a file's bytes; as JPEG without subsampling of its colours."""
    if frame_format == "jpg":
        jpeg = imagecodecs.jpeg8_encode(
            frame, level=_JPEG_QUALITY, colorspace="RGB", outcolorspace="YCBCR", subsampling=(1, 1)
        )
        return bytes(jpeg)
    _, encoded = cv2.imencode("." + frame_format, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return encoded.tobytes()


def _append_to(path: Path) -> FileIO:
    """Without a buffer: what a full disk refused would be tried again when the file is closed."""
    try:
        return path.open("ab", buffering=0)
    except OSError as error:
        raise cannot("write", path, error) from error


def _refuse_if_written(path: Path) -> None:
    """Raises FileError where another process writes a scan."""
    if (path / JOURNAL_FILE).exists():
        with _append_to(path / JOURNAL_FILE) as journal:
            if not is_ours_alone(journal.fileno()):
                raise _is_written(path)


def _is_written(path: Path) -> FileError:
    return FileError(f"{path}: another scan, or a resume of this one, is writing here right now")


def _remove_what_is_torn(folder: FieldsFolder) -> None:
    """Cut off torn ends, and remove part files and the frame whose line was never written."""
    lines = read_lines(folder.path / RECORDS_FILE, folder.has_seals)
    if len(lines.whole) != len(folder.attempts):
        raise FileError(
            f"{folder.path}: {RECORDS_FILE} has {len(lines.whole)} lines, {len(folder.attempts)} when it was read"
        )
    if not (folder.path / FRAMES_FOLDER).is_dir():
        raise FileError(
            f"{folder.path}: {FRAMES_FOLDER}, the folder of its frames, is not there: put it back, or scan anew, into "
            "another folder"
        )
    untold = folder.untold_frames()
    if len(untold) > 1:
        raise FileError(
            f"{folder.path}: no line of {RECORDS_FILE} tells of {len(untold)} frames ({untold[0].name} …), a scan that "
            f"breaks off leaves one at most: the end of {RECORDS_FILE} is lost. Nothing was removed: put a copy of it "
            "back, or move the frames away to have them taken again"
        )
    try:
        _cut(folder.path / RECORDS_FILE, lines.end)
        _cut(folder.path / JOURNAL_FILE, read_lines(folder.path / JOURNAL_FILE, has_seals=True).end)
        for path in (*folder.path.rglob("*" + PART_SUFFIX), *untold):
            if path.is_file() and is_own(path.relative_to(folder.path)):
                path.unlink()
    except OSError as error:
        raise cannot("write", folder.path, error) from error


def _cut(path: Path, end: int) -> None:
    """Leave so many bytes of a file of lines, the last one with its end."""
    with path.open("rb+") as file:
        file.truncate(end)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")
        os.fsync(file.fileno())


def _make_room(folder: Path, overwrite: bool) -> None:
    """Remove an earlier scan's own files if that is allowed; refuse a folder that holds anything else."""
    found = sorted(path for path in folder.rglob("*"))
    if not found:
        return
    if _never_began(folder, found):
        pass
    elif not overwrite:
        raise FileError(f"{folder}: not empty")
    elif not _is_scan(folder):
        raise FileError(f"{folder}: not empty, and not an earlier scan")
    frames = folder / FRAMES_FOLDER
    foreign = [path for path in found if path != frames and not is_own(path.relative_to(folder))]
    if foreign:
        raise FileError(f"{folder}: holds {foreign[0].name}, which is not part of a scan")
    for path in sorted(found, key=lambda path: path.name == HEADER_FILE):  # last: what has one may be overwritten
        if path != frames:
            path.unlink()
    if frames.exists():
        frames.rmdir()


def _never_began(folder: Path, found: list[Path]) -> bool:
    """Whether a folder is empty but for what a scan makes before it has a header: killed then, it has lost nothing."""
    names = (FRAMES_FOLDER, RECORDS_FILE, JOURNAL_FILE, LABEL_FILE, LABEL_FILE + PART_SUFFIX, HEADER_FILE + PART_SUFFIX)
    is_ours = folder / FRAMES_FOLDER in found and set(found) <= {folder / name for name in names}
    return is_ours and not any(path.stat().st_size for path in found if path.name == RECORDS_FILE)


def _is_scan(folder: Path) -> bool:
    path = folder / HEADER_FILE
    return path.is_file() and parsed(path.read_bytes()).get("format") in (FORMAT, FORMAT_WITHOUT_SEALS)
