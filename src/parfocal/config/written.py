"""Instruments' files, written: what setup has found out."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from parfocal.config.tables import InstrumentFile
from parfocal.errors import FileError, SettingsError

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEAD = "# Written by parfocal setup. Comments are lost when it writes again.\n"


def read_values(path: Path) -> dict[str, Any]:
    """The values of an instrument's file, as they stand. Raises FileError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"instrument {path} is not TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"instrument {path} cannot be read: {error}") from error


def write_values(path: Path, values: dict[str, Any]) -> None:
    """Write an instrument's file, if it would be a valid one.

    Raises:
        SettingsError: if a value is missing, unknown or out of range; the file stays as it was.
        FileError: if it cannot be written.
    """
    try:
        InstrumentFile.model_validate(values).scan_settings()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"instrument {path}: {where}: {first['msg']}, got {first['input']!r}") from error
    try:
        path.write_text(_HEAD + as_toml(values), encoding="utf-8")
    except OSError as error:
        raise FileError(f"instrument {path} cannot be written: {error.strerror}") from error


def as_toml(values: dict[str, Any], prefix: str = "") -> str:
    """Values and nested tables as TOML; lists hold plain values or lists of them."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = [f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    text = "".join(f"{line}\n" for line in lines)
    for key, table in values.items():
        if isinstance(table, dict):
            name = f"{prefix}{_key(key)}"
            inner = as_toml(table, f"{name}.")
            has_own = not table or any(not isinstance(value, dict) for value in table.values())
            text += (f"\n[{name}]\n" if has_own else "") + inner
    return text


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)
