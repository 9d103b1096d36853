"""What tells one slide's content from another's without reading gigabytes: lengths and samples, by SHA-256."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from parfocal.durable import cannot

_END_BYTES = 2**16
_SAMPLE_BYTES = 2**12
_SAMPLES = 32
_MOST_FILES = 256  # of a folder
_STILL_S = 60.0
_HIDDEN_PARTS = (".zattrs", ".zgroup", ".zarray", ".zmetadata")
_STRAY = ("thumbs.db", "desktop.ini")  # and names that begin with a dot: left behind by whoever looks into a folder


def digest_of(path: Path) -> str:
    """SHA-256, as hex, of a slide's file or folder: the same wherever it lies and whatever it is called.

    Of a file: its length, both ends, and samples in between. Of a folder: names, lengths and beginnings of its first
    files. Of a Deep Zoom Image and of .mrxs: the same of the folder beside it, too.

    Raises:
        FileError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for part in _parts(path):
            (_add_folder if part.is_dir() else _add_file)(digest, part)
    except OSError as error:
        raise cannot("read", path, error) from error
    return digest.hexdigest()


def is_being_written(path: Path) -> bool:
    """Whether anything that `digest_of` reads was written within the last minute, as while it is being copied."""
    newest = 0.0
    try:
        for part in _parts(path):
            read = _read_of(part) if part.is_dir() else []
            for one in {part, *read, *(file.parent for file in read)}:
                newest = max(newest, one.stat().st_mtime)
    except OSError:
        return True
    return abs(time.time() - newest) < _STILL_S  # one from the future was written by a clock that is wrong


def _parts(path: Path) -> list[Path]:
    """Files and folders that a slide consists of; of Hamamatsu's .vms and .vmu the index alone."""
    beside = {".dzi": f"{path.stem}_files", ".mrxs": path.stem}.get(path.suffix.lower())
    return [path, path.with_name(beside)] if beside and path.with_name(beside).is_dir() else [path]


def _add_file(digest: hashlib._Hash, path: Path) -> None:
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        digest.update(f"{length}\n".encode())
        file.seek(0)
        digest.update(file.read(_END_BYTES))
        for number in range(1, _SAMPLES):
            file.seek(length * number // _SAMPLES)
            digest.update(file.read(_SAMPLE_BYTES))
        file.seek(max(0, length - _END_BYTES))
        digest.update(file.read(_END_BYTES))


def _add_folder(digest: hashlib._Hash, folder: Path) -> None:
    for path in _read_of(folder):
        digest.update(f"{path.relative_to(folder).as_posix()}\n{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE_BYTES))


def _read_of(folder: Path) -> list[Path]:
    """Files by which a folder is known. In one of DICOM: all that end so."""
    is_dicom = any(path.suffix == ".dcm" for path in folder.iterdir())
    files = (path for path in _files(folder) if path.suffix == ".dcm" or not is_dicom)
    return list(islice(files, _MOST_FILES))


def _files(folder: Path) -> Iterator[Path]:
    """Every file of the slide, in an order that does not depend on the disk."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files(path)
        elif path.name in _HIDDEN_PARTS or not (path.name.startswith(".") or path.name.lower() in _STRAY):
            yield path
