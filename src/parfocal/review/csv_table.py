"""Tables that somebody else wrote: CSV in UTF-8, with a line of column names, in any order."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from parfocal.errors import FileError


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The lines of a table that are not empty, each with where it stands, for messages. Other columns come too.

    Raises:
        FileError: if the file cannot be read, lacks a column, has it twice, or a line has more or fewer cells.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, strict=True)
            table.fieldnames = names = _checked(table.fieldnames or (), columns, path)
            for row in table:
                where = f"{path}, line {table.line_num}"
                if None in row or None in row.values():
                    count = len(names)
                    raise FileError(f"{where}: does not have {count} cells; separate names by ';', or quote the cell")
                if any(row.values()):
                    yield where, row
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path}: is no CSV file in UTF-8: {error}") from error


def _checked(found: Sequence[str], columns: Sequence[str], path: Path) -> list[str]:
    names = [name.strip() for name in found]
    for column in columns:
        if names.count(column) != 1:
            what = "has no column" if column not in names else "has more than one column"
            raise FileError(f"{path}: {what} {column!r}; it needs {', '.join(columns)}, separated by commas")
    return names
