"""Files that are either complete under their final name, or not there at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parfocal.errors import FileError

PART_SUFFIX = ".part"
"""Ends the name of a file that is being written."""


def cannot(action: str, path: Path, error: OSError) -> FileError:
    """The FileError that says which file could not be opened, read or written, and why."""
    return FileError(f"{path}: cannot {action}: {error.strerror or error}")


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it becomes `path`, on any error it is removed.

    Raises:
        FileError: if writing failed (disk full, no permission), naming the path and the cause.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        yield part
        _sync(part)
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot("write", path, error) from error
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # only there can a folder be opened, and does a rename need it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
