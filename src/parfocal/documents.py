"""JSON and TOML from elsewhere: read with a limit on size and depth, and refused with the reason if they are none."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from parfocal.errors import FileError

MOST_BYTES = 64 * 2**20
"""Longer documents are refused: the longest of ours, the registration of a whole slide, is a tenth of that."""

_MOST_TOML_BYTES = 2**20
_LARGEST_INT = 2**63 - 1


def read_json(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: the file.
        most_bytes: largest size that is read.

    Raises:
        FileError: naming the file, if it cannot be read, is too large, or is not a JSON object in UTF-8 whose numbers
            are finite and integers below 2⁶³.
    """
    return parse_json(_bytes(path, most_bytes), str(path))


def parse_json(text: bytes | str, where: str) -> dict[str, Any]:
    """A JSON object.

    Args:
        text: UTF-8.
        where: file and line, for the message.

    Raises:
        FileError: as `read_json`.
    """
    try:
        value = json.loads(text, parse_constant=_no_number, parse_int=_bounded)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{where}: is not JSON: {_first_line(error)}") from error
    if not isinstance(value, dict):
        raise FileError(f"{where}: is not a JSON object")
    return value


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises FileError, naming the file, if it cannot be read, is too large or is none."""
    text = _bytes(path, _MOST_TOML_BYTES)
    try:
        return tomllib.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is not TOML: {_first_line(error)}") from error


def _bytes(path: Path, most_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(most_bytes + 1)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise FileError(f"{path!s:.100}: is no name of a file: {error}") from error
    if len(text) > most_bytes:
        raise FileError(f"{path}: is larger than {most_bytes / 2**20:.0f} MiB")
    return text


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _bounded(text: str) -> int:
    value = int(text)
    if abs(value) > _LARGEST_INT:
        raise ValueError(f"an integer of {len(text)} digits")
    return value


def _first_line(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
