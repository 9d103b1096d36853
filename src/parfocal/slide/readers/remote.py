"""Files on this machine and at URLs, read alike."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import fsspec

from parfocal.errors import SettingsError


def file_system(source: Path | str) -> tuple[Any, str]:
    """fsspec's file system of a path or URL, and the path in it.

    Raises:
        SettingsError: if the URL's file system is not known or not installed.
    """
    try:
        files, path = fsspec.url_to_fs(str(source))
    except (ImportError, ValueError) as error:
        raise SettingsError(f"{source}: {error}") from error
    return files, str(path)


def read_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What a file system's package raises where it cannot read, and these others."""
    errors: list[type[Exception]] = [OSError, *others]
    for module, name in (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError")):
        if module in sys.modules:
            errors.append(getattr(sys.modules[module], name))
    return tuple(errors)
