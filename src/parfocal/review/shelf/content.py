"""What tells one slide's content from another's without reading gigabytes: lengths and samples, by SHA-256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from parfocal.durable import cannot

_END_BYTES = 2**16
_SAMPLE_BYTES = 2**12
_SAMPLES = 32
_MOST_FILES = 256  # of a folder


def digest_of(path: Path) -> str:
    """SHA-256, as hex, of a slide's file or folder: the same wherever it lies and whatever it is called.

    Of a file: its length, both ends, and samples in between. Of a folder: names, lengths and beginnings of its first
    files. Of a Deep Zoom Image: the same of the folder with its tiles, too.

    Raises:
        FileError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            _add_folder(digest, path)
        else:
            _add_file(digest, path)
            tiles = path.with_name(f"{path.stem}_files")
            if path.suffix.lower() == ".dzi" and tiles.is_dir():
                _add_folder(digest, tiles)
    except OSError as error:
        raise cannot("read", path, error) from error
    return digest.hexdigest()


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
    for number, path in enumerate(_files(folder)):
        if number == _MOST_FILES:
            break
        digest.update(f"{path.relative_to(folder).as_posix()}\n{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE_BYTES))


def _files(folder: Path) -> Iterator[Path]:
    """Every file, in an order that does not depend on the disk."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files(path)
        else:
            yield path
