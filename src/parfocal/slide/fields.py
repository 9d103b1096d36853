"""The fields folder: what a scan hands over, and all that a virtual slide is made of.

    scan.json        how the fields were taken
    fields.jsonl     one line for each field, in the order of acquisition
    frames/f00012.jpg  the kept frame of field 12
    label.png        photograph of the slide's label, where there is one

A frame is complete on disk before its line is written, so a scan that ends at any moment leaves a folder that
can be stitched.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from parfocal.errors import FileError
from parfocal.slide.durable import PART_SUFFIX, cannot, written_aside

Frame = NDArray[np.uint8]
"""A kept frame: uint8 (Y, X, 3), RGB."""

Verdict = Literal["focused", "empty", "unsure", "failed"]
FrameFormat = Literal["jpg", "png"]

FORMAT = "parfocal-fields-1"
HEADER_FILE = "scan.json"
RECORDS_FILE = "fields.jsonl"
FRAMES_FOLDER = "frames"
LABEL_FILE = "label.png"
REGISTRATION_FILE = "registration.json"
SEAMS_PICTURE = "seams.png"
SCORES_FILE = "scores.json"
LIGHT_FILE = "light.json"
RESULT_FILES = (
    "slide.ome.tif",
    "overview.jpg",
    "report.json",
    "focus.png",
    "quality.html",
    "quality.png",
    "quality.parquet",
    "quality.csv",
    SCORES_FILE,
    LIGHT_FILE,
    REGISTRATION_FILE,
    SEAMS_PICTURE,
)
"""What later steps write beside the fields; a new scan into the same folder replaces them too."""

SMALL = 8
"""How many px of a frame one px of `FieldsFolder.small` is the mean of, along x and along y."""

_QUEUE_DEPTH = 8
_LONGEST_ID = 64  # what DICOM's long strings hold
_LABEL_PX = 2048
_FRAME_ENDS = {".jpg": b"\xff\xd9", ".png": b"IEND\xaeB\x60\x82"}
_JPEG_SETTINGS = [
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


@dataclass(frozen=True)
class FieldsHeader:
    """How the fields of one scan were taken: `scan.json`.

    Attributes:
        version: of the program that scanned.
        seed: of everything random in the scan.
        microscope: name of the instrument.
        specimen: what was scanned, in the user's words.
        pixel_size_um: size of a frame's pixel in the specimen plane, in µm.
        frame_shape: (Y, X) of every frame, in pixels.
        magnification: of the objective.
        na: numerical aperture of the objective.
        immersion_index: refractive index of its immersion medium; 1.0 is dry.
        depth_of_field_um: total depth of field in µm.
        rows: planned rows of fields.
        columns: planned columns of fields.
        overlap: planned overlap of neighbours, as a fraction of the frame.
        settings: every other setting of the scan, as JSON values.
        slide_id: what the laboratory calls the slide; empty where it was not told.
        scan_id: random, made anew for each scan; empty in scans of older versions.
        started_at: when the scan began, with its time zone; None where that is not known.
        serial_number: of the instrument; empty where it has none.

    Raises:
        FileError: if a value is not possible.
    """

    version: str
    seed: int
    microscope: str
    specimen: str
    pixel_size_um: float
    frame_shape: tuple[int, int]
    magnification: float
    na: float
    immersion_index: float
    depth_of_field_um: float
    rows: int
    columns: int
    overlap: float
    settings: dict[str, Any] = field(default_factory=dict)
    slide_id: str = ""
    scan_id: str = ""
    started_at: datetime.datetime | None = None
    serial_number: str = ""

    def __post_init__(self) -> None:
        positive = ("pixel_size_um", "magnification", "na", "immersion_index", "depth_of_field_um")
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:
                raise FileError(f"{name} {getattr(self, name)} is not above 0")
        if len(self.frame_shape) != 2 or min(self.frame_shape) < 1:
            raise FileError(f"frame_shape {self.frame_shape} is not (Y, X) in pixels")
        if not 0 <= self.overlap < 1:
            raise FileError(f"overlap {self.overlap:g} is not a fraction from 0 to below 1")
        if self.started_at is not None and self.started_at.utcoffset() is None:
            raise FileError(f"started_at {self.started_at} has no time zone")
        if len(self.slide_id) > _LONGEST_ID or not self.slide_id.isprintable():
            raise FileError(f"slide_id {self.slide_id!r} is not one line of at most {_LONGEST_ID} characters")


@dataclass(frozen=True)
class FieldRecord:
    """One field: a line of `fields.jsonl`.

    Attributes:
        index: number of the field in the plan, from 0; unique in a scan.
        row: row in the plan, from 0; rows follow +y.
        column: column in the plan, from 0; columns follow +x.
        stage_x_um: x of the field's centre in µm, as the stage reported it.
        stage_y_um: y of the field's centre in µm, as the stage reported it.
        stage_z_um: z in µm, as the stage reported it, at which the kept frame was taken.
        verdict: "focused", "empty", "unsure" or "failed".
        images: exposures between arrival and verdict.
        file: the frame, relative to the folder; the writer fills it in.
        focus: the whole focus trace, as JSON values.
        true_stage_um: true (x, y, z) of the stage in µm; None where nobody knows it.
        attempt: 1, or more where a field in doubt was taken again; the last attempt counts.
        scan_id: the header's; the writer fills it in.

    Raises:
        FileError: if a value is not possible.
    """

    index: int
    row: int
    column: int
    stage_x_um: float
    stage_y_um: float
    stage_z_um: float
    verdict: Verdict
    images: int
    file: str = ""
    focus: dict[str, Any] = field(default_factory=dict)
    true_stage_um: tuple[float, float, float] | None = None
    attempt: int = 1
    scan_id: str = ""

    def __post_init__(self) -> None:
        if self.index < 0:
            raise FileError(f"index {self.index} is below 0")
        if self.attempt < 1:
            raise FileError(f"attempt {self.attempt} of field {self.index} is below 1")
        if self.verdict not in get_args(Verdict):
            raise FileError(f"verdict {self.verdict!r} is none of {', '.join(get_args(Verdict))}")
        known = (self.stage_x_um, self.stage_y_um, self.stage_z_um, *(self.true_stage_um or (0.0, 0.0, 0.0)))
        if len(known) != 6 or not all(math.isfinite(value) for value in known):
            raise FileError(f"a position of field {self.index} is not three finite numbers in µm")


_Value = TypeVar("_Value")
_HEADER = TypeAdapter(FieldsHeader)
_RECORD = TypeAdapter(FieldRecord)


class FieldsWriter:
    """Writes a fields folder through one thread behind a bounded queue. A context manager.

    Args:
        path: the folder; made if missing.
        header: written at once to `scan.json`.
        overwrite: allow a folder that holds an earlier scan and nothing else. That scan's files are removed.
        frame_format: "jpg" (quality 95, 4:4:4) or "png" (lossless).
        label: uint8 (Y, X, 3), photograph of the slide's label; None for none.

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
    ) -> None:
        self._begin(Path(path), header, frame_format)
        values = asdict(header)
        if header.started_at is not None:
            values["started_at"] = header.started_at.isoformat()
        text = json.dumps({"format": FORMAT, **values}, indent=2, allow_nan=False)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _make_room(self.path, overwrite)
            (self.path / FRAMES_FOLDER).mkdir()
            self._records = (self.path / RECORDS_FILE).open("wb")
        except OSError as error:
            raise cannot("write", self.path, error) from error
        if label is not None:
            _, encoded = cv2.imencode(".png", label[..., ::-1])
            with written_aside(self.path / LABEL_FILE) as part:
                part.write_bytes(encoded.tobytes())
        with written_aside(self.path / HEADER_FILE) as part:
            part.write_text(text, encoding="utf-8")

    @classmethod
    def reopen(cls, folder: FieldsFolder) -> Self:
        """Add further attempts to a folder that was read; its header stays.

        Raises:
            FileError: if the folder cannot be written, or its last line is torn.
        """
        writer = cls.__new__(cls)
        suffix = Path(folder.attempts[0].file).suffix.lstrip(".") if folder.attempts else "jpg"
        writer._begin(folder.path, folder.header, "png" if suffix == "png" else "jpg")
        writer._attempts = {(record.index, record.attempt) for record in folder.attempts}
        path = folder.path / RECORDS_FILE
        if not _read(path).endswith(b"\n"):
            raise FileError(f"{path}: the last line is torn")
        try:
            writer._records = path.open("ab")
        except OSError as error:
            raise cannot("write", path, error) from error
        return writer

    def _begin(self, path: Path, header: FieldsHeader, frame_format: FrameFormat) -> None:
        self.path = path
        self.header = header
        self._suffix = "." + frame_format
        self._attempts: set[tuple[int, int]] = set()
        self._pending: deque[Future[None]] = deque()
        self._broken = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fields")

    def put(self, record: FieldRecord, frame: Frame) -> None:
        """Queue a field to be written; waits while the queue is full. The frame is copied.

        Args:
            record: the field; its `file` and `scan_id` are filled in here.
            frame: uint8 (Y, X, 3) RGB of the header's shape.

        Raises:
            FileError: if this frame does not fit the scan, or an earlier one could not be written.
            ValueError: if the focus trace holds a value that JSON has not, such as NaN.
        """
        self._settle(_QUEUE_DEPTH - 1)
        if frame.shape != (*self.header.frame_shape, 3) or frame.dtype != np.uint8:
            raise FileError(
                f"frame {frame.shape} {frame.dtype} of field {record.index} is not "
                f"{(*self.header.frame_shape, 3)} uint8"
            )
        if (record.index, record.attempt) in self._attempts:
            raise FileError(f"{self.path}: field {record.index} was already written")
        again = "" if record.attempt == 1 else f"-{record.attempt}"
        file = f"{FRAMES_FOLDER}/f{record.index:05d}{again}{self._suffix}"
        record = replace(record, file=file, scan_id=self.header.scan_id)
        line = json.dumps(asdict(record), allow_nan=False) + "\n"
        self._attempts.add((record.index, record.attempt))
        self._pending.append(self._thread.submit(self._write, record.file, frame.copy(), line.encode()))

    def close(self) -> None:
        """Wait until everything is on disk. Raises FileError if something could not be written."""
        try:
            self._settle(0)
        finally:
            self._thread.shutdown(wait=True)
            self._records.close()

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

    def _settle(self, depth: int) -> None:
        """Raise what went wrong in finished writes, and wait until at most `depth` are under way."""
        while self._pending and (len(self._pending) > depth or self._pending[0].done()):
            self._pending.popleft().result()

    def _write(self, file: str, frame: Frame, line: bytes) -> None:
        if self._broken:  # a line after a torn one could not be read
            return
        self._broken = True
        settings = _JPEG_SETTINGS if self._suffix == ".jpg" else []
        _, encoded = cv2.imencode(self._suffix, frame[..., ::-1], settings)
        with written_aside(self.path / file) as part:
            part.write_bytes(encoded.tobytes())
        try:
            self._records.write(line)
            self._records.flush()
            os.fsync(self._records.fileno())
        except OSError as error:
            raise cannot("write", self.path / RECORDS_FILE, error) from error
        self._broken = False


class FieldsFolder:
    """Reads a fields folder, finished or not.

    Attributes:
        path: the folder.
        header: how the fields were taken.
        records: the fields in the order of acquisition, each by its last attempt. A torn last line is left out.
        attempts: the same with what was taken again since.

    Raises:
        FileError: if the folder, the header or a record is missing or malformed, naming file and line.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.header = _read_header(self.path / HEADER_FILE)
        self.attempts = _read_records(self.path / RECORDS_FILE, self.header.scan_id)
        latest = {record.index: record for record in self.attempts}
        self.records = [record for record in self.attempts if latest[record.index] is record]

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
            path = self.path / record.file
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
        path = self.path / record.file
        if not record.file or not path.resolve().is_relative_to(self.path.resolve()):
            raise FileError(f"{record.file!r}, the frame of field {record.index}, lies outside {self.path}")
        encoded = _read(path)
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


def read_label(path: Path) -> Frame:
    """A photograph of a label, made smaller where its longer side is above 2048 px.

    Only the pixels are taken: place, time and camera that a photograph may carry are left behind.

    Args:
        path: PNG, JPEG or another picture.

    Returns:
        uint8 (Y, X, 3), RGB, the right way up.

    Raises:
        FileError: if it cannot be read, or is no picture.
    """
    encoded = _read(path)
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB) if encoded else None
    if image is None:
        raise FileError(f"{path}: not an image that can be read")
    scale = _LABEL_PX / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8)


def _make_room(folder: Path, overwrite: bool) -> None:
    """Remove an earlier scan's own files if that is allowed; refuse a folder that holds anything else."""
    found = sorted(path for path in folder.rglob("*"))
    if not found:
        return
    if not overwrite:
        raise FileError(f"{folder}: not empty")
    if not _is_scan(folder):
        raise FileError(f"{folder}: not empty, and not an earlier scan")
    frames = folder / FRAMES_FOLDER
    foreign = [path for path in found if path != frames and not _is_own(path.relative_to(folder))]
    if foreign:
        raise FileError(f"{folder}: holds {foreign[0].name}, which is not part of a scan")
    for path in found:
        if path != frames:
            path.unlink()
    if frames.exists():
        frames.rmdir()


def _is_scan(folder: Path) -> bool:
    path = folder / HEADER_FILE
    return path.is_file() and _parse(path.read_bytes()).get("format") == FORMAT


def _is_own(relative: Path) -> bool:
    name = relative.name.removesuffix(PART_SUFFIX)
    if relative.parent == Path(FRAMES_FOLDER):
        stem, _, suffix = name.partition(".")
        return stem[:1] == "f" and stem[1:].replace("-", "", 1).isdigit() and suffix in get_args(FrameFormat)
    return relative.parent == Path() and name in (HEADER_FILE, RECORDS_FILE, LABEL_FILE, *RESULT_FILES)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot("read", path, error) from error


def _parse(text: bytes) -> dict[str, Any]:
    """A JSON object, or an empty one where the text is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _read_header(path: Path) -> FieldsHeader:
    values = _parse(_read(path))
    if values.pop("format", None) != FORMAT:
        raise FileError(f"{path}: not the header of a scan ({FORMAT})")
    return _build(_HEADER, values, str(path))


def _read_records(path: Path, scan_id: str) -> list[FieldRecord]:
    lines = _read(path).split(b"\n")
    torn = lines.pop()  # empty when the last line was written whole
    if _parse(torn):
        lines.append(torn)
    records = [_build(_RECORD, _parse(line), f"{path}, line {number}") for number, line in enumerate(lines, 1)]
    wanted = scan_id or (records[0].scan_id if records else "")
    latest: dict[int, FieldRecord] = {}
    for number, record in enumerate(records, 1):
        if record.scan_id != wanted:
            raise FileError(
                f"{path}, line {number}: field {record.index} belongs to another scan "
                f"({record.scan_id or 'without an id'}) than {HEADER_FILE if scan_id else 'line 1'} ({wanted})"
            )
        if record.index in latest and record.attempt <= latest[record.index].attempt:
            raise FileError(f"{path}, line {number}: attempt {record.attempt} of field {record.index} occurs twice")
        latest[record.index] = record
    return records


def _build(kind: TypeAdapter[_Value], values: dict[str, Any], where: str) -> _Value:
    try:
        return kind.validate_python(values)
    except FileError as error:
        raise FileError(f"{where}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise FileError(f"{where}: {name}: {first['msg']}") from error
