"""The quality table as files that other programs read: Parquet and CSV, the same columns in both."""

from __future__ import annotations

import csv
import io
import types
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pyarrow
from pyarrow import parquet
from pydantic import TypeAdapter, ValidationError

from parfocal.durable import cannot, written_aside
from parfocal.errors import FileError
from parfocal.slide.quality.table import FieldQuality

COLUMNS = tuple(column.name for column in fields(FieldQuality))
"""Of both files, with the unit at the end of the name."""

_ROWS = TypeAdapter(tuple[FieldQuality, ...])
_ARROW = {int: pyarrow.int64(), float: pyarrow.float64()}


def to_parquet(rows: tuple[FieldQuality, ...]) -> bytes:
    """The table as a Parquet file; unknown values are null."""
    table = pyarrow.Table.from_pylist([asdict(row) for row in rows], schema=_schema())
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink)
    return bytes(sink.getvalue())


def to_csv(rows: tuple[FieldQuality, ...]) -> str:
    """The table as CSV with a header, numbers in full; unknown values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def write_tables(folder: Path, rows: tuple[FieldQuality, ...], stem: str = "quality") -> tuple[Path, Path]:
    """Write `quality.parquet` and `quality.csv` into a folder; what was there before is replaced.

    Args:
        folder: it exists.
        rows: the table.
        stem: of the files' names.

    Raises:
        FileError: if a file cannot be written.
    """
    paths = folder / f"{stem}.parquet", folder / f"{stem}.csv"
    for path, content in zip(paths, (to_parquet(rows), to_csv(rows).encode()), strict=True):
        with written_aside(path) as part:
            part.write_bytes(content)
    return paths


def read_parquet(path: Path) -> tuple[FieldQuality, ...]:
    """The rows of a Parquet file.

    Raises:
        FileError: if it cannot be read, or is no quality table.
    """
    try:
        rows = parquet.read_table(path).to_pylist()
    except OSError as error:
        raise cannot("read", path, error) from error
    except (pyarrow.ArrowException, ValueError) as error:
        raise FileError(f"{path}: not a Parquet file: {error}") from error
    return _validated(rows, path)


def read_csv(path: Path) -> tuple[FieldQuality, ...]:
    """The rows of a CSV file.

    Raises:
        FileError: if it cannot be read, or is no quality table.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = [{str(name): value or None for name, value in row.items()} for row in csv.DictReader(io.StringIO(text))]
    except OSError as error:
        raise cannot("read", path, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path}: not a CSV in UTF-8: {error}") from error
    return _validated(rows, path)


def _validated(rows: list[dict[str, Any]], path: Path) -> tuple[FieldQuality, ...]:
    try:
        return _ROWS.validate_python(rows)
    except ValidationError as error:
        first = error.errors()[0]
        where = ", ".join(str(part) for part in first["loc"])
        raise FileError(f"{path}: not a quality table: {where}: {first['msg']}") from error


def _schema() -> pyarrow.Schema:
    hints = get_type_hints(FieldQuality)
    return pyarrow.schema([_column(name, hints[name]) for name in COLUMNS])


def _column(name: str, hint: Any) -> pyarrow.Field:
    optional = isinstance(hint, types.UnionType)
    kind = next(part for part in get_args(hint) if part is not type(None)) if optional else hint
    return pyarrow.field(name, _ARROW.get(kind, pyarrow.string()), nullable=optional)
