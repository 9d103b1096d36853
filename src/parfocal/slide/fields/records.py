"""What a fields folder says: how its fields were taken, and one record for each field. Values, and their JSON."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from parfocal.durable import cannot
from parfocal.errors import FileError
from parfocal.slide.fields.layout import HEADER_FILE
from parfocal.slide.fields.sealed import is_whole, parsed

Frame = NDArray[np.uint8]
"""A kept frame: uint8 (Y, X, 3), RGB."""

Verdict = Literal["focused", "empty", "unsure", "failed"]

FORMAT = "parfocal-fields-2"
FORMAT_WITHOUT_SEALS = "parfocal-fields-1"
"""Of scans before lines had checksums; they can still be read."""

_LONGEST_ID = 64  # what DICOM's long strings hold


@dataclass(frozen=True)
class Origin:
    """From what a scan was opened, so that it can be opened again, and so that a change is noticed.

    Attributes:
        microscope: the instrument's name, or the absolute path of its TOML file.
        settings: what that file says, as JSON values.
        specimen: what was scanned, its image by an absolute path.
        calibration: absolute path of the calibration that it went by; empty for none.
        calibration_sha256: of that file.
        network: absolute path of the network's file; empty where the predictor was no file.
        network_sha256: of that file.
    """

    microscope: str
    settings: dict[str, Any]
    specimen: str
    calibration: str = ""
    calibration_sha256: str = ""
    network: str = ""
    network_sha256: str = ""


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
        plan: where the fields lie, as JSON values; empty where nobody planned them.
        origin: from what the scan was opened; None where it cannot be opened again.

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
    plan: dict[str, Any] = field(default_factory=dict)
    origin: Origin | None = None

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
        exposures: exposures of the whole scan up to its end, searches included; 0 where nobody counted.
        taken_s: instrument time from the scan's first move to its end, in s; None where nobody looked at a clock.
        sha256: of the frame's file, in hexadecimal; the writer fills it in. Empty in scans of older versions.
        file_bytes: length of that file; the writer fills it in.

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
    exposures: int = 0
    taken_s: float | None = None
    sha256: str = ""
    file_bytes: int = 0

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


def digest_of(settings: dict[str, Any]) -> str:
    """SHA-256 of settings, in whatever order they stand."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, allow_nan=False).encode()).hexdigest()


def header_text(header: FieldsHeader) -> str:
    """What `scan.json` holds. Raises ValueError if a setting is a number that JSON has not, such as NaN."""
    values = asdict(header)
    if header.started_at is not None:
        values["started_at"] = header.started_at.isoformat()
    told = {"format": FORMAT, **values, "settings_sha256": digest_of(header.settings)}
    return json.dumps(told | {"sha256": digest_of(told)}, indent=2, allow_nan=False)


@dataclass(frozen=True)
class HeaderFile:
    """What was read from `scan.json`.

    Attributes:
        header: how the fields were taken.
        has_seals: whether the folder's lines bear checksums.
        is_intact: whether the settings are those that the scan began with, and all else in it too.
    """

    header: FieldsHeader
    has_seals: bool
    is_intact: bool


def read_header(path: Path) -> HeaderFile:
    """Read `scan.json`. Raises FileError if it is missing or malformed."""
    values = parsed(read_bytes(path))
    whole, digest = dict(values), values.pop("sha256", None)  # headers of older versions have none
    whole.pop("sha256", None)
    version = values.pop("format", None)
    if version not in (FORMAT, FORMAT_WITHOUT_SEALS):
        raise FileError(f"{path}: not the header of a scan ({FORMAT})")
    of_settings = values.pop("settings_sha256", None)
    header = _build(_HEADER, values, str(path))
    has_seals = version == FORMAT
    is_intact = _is_digest(of_settings, header.settings) and (digest is None or _is_digest(digest, whole))
    return HeaderFile(header, has_seals, not has_seals or is_intact)


def _is_digest(digest: object, values: dict[str, Any]) -> bool:
    try:
        return digest == digest_of(values)
    except (ValueError, RecursionError):  # a number that JSON has not: never written by us
        return False


@dataclass(frozen=True)
class Lines:
    """The lines of a file of records.

    Attributes:
        whole: number from 1 and text of every line up to the last one that is whole.
        end: length in bytes of the file up to there.
        torn: how many lines, or beginnings of one, follow: what was being written when everything stopped.
        damaged: numbers of the lines before that whose checksum is wrong.
    """

    whole: list[tuple[int, bytes]]
    end: int
    torn: int
    damaged: tuple[int, ...]


def read_lines(path: Path, has_seals: bool) -> Lines:
    """Read a file of JSON lines and leave out its torn end. Raises FileError if it cannot be read."""
    text = read_bytes(path)
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()

    def counts(number: int) -> bool:
        line = lines[number - 1]
        return is_whole(line) if has_seals else number < len(lines) or text.endswith(b"\n") or bool(parsed(line))

    last = next((number for number in range(len(lines), 0, -1) if counts(number)), 0)
    end = min(sum(len(line) + 1 for line in lines[:last]), len(text))
    damaged = tuple(number for number in range(1, last) if has_seals and not is_whole(lines[number - 1]))
    return Lines(list(enumerate(lines[:last], 1)), end, len(lines) - last, damaged)


def read_record(line: bytes, where: str, has_seals: bool) -> FieldRecord:
    """One line of `fields.jsonl`. Raises FileError, naming `where`, if it is damaged or holds an impossible value."""
    if has_seals and not is_whole(line):
        raise FileError(f"{where}: damaged, its checksum is wrong")
    return _build(_RECORD, parsed(line), where)


def read_records(path: Path, scan_id: str, has_seals: bool) -> list[FieldRecord]:
    """Every attempt at every field, in the order of acquisition; a torn end is left out.

    Args:
        path: of `fields.jsonl`.
        scan_id: the header's.
        has_seals: whether lines bear checksums.

    Raises:
        FileError: if a line is malformed, another scan's, or tells of an attempt that an earlier one told of.
    """
    lines = read_lines(path, has_seals)
    if lines.torn > 1:  # each line was on disk before the next one was begun
        raise FileError(f"{path}, line {len(lines.whole) + 1}: damaged, as is all that follows")
    records = [read_record(line, f"{path}, line {number}", has_seals) for number, line in lines.whole]
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


def read_bytes(path: Path) -> bytes:
    """All of a file. Raises FileError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot("read", path, error) from error


def _build(kind: TypeAdapter[_Value], values: dict[str, Any], where: str) -> _Value:
    try:
        return kind.validate_python(values)
    except FileError as error:
        raise FileError(f"{where}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise FileError(f"{where}: {name}: {first['msg']}") from error
