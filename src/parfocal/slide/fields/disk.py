"""Room on the disk: how much a scan will need, and whether there is as much."""

from __future__ import annotations

import shutil
from pathlib import Path

from parfocal.errors import FileError
from parfocal.slide.fields.writer import RESERVE_BYTES

FRAME_BYTES_PER_PX = 0.5
"""Of a JPEG of quality 95 full of tissue."""

SLIDE_BYTES_PER_PX = 0.5
"""Of a frame's pixels: the slide with its pyramid, and its tiles once more while it is written."""


def needed_bytes(fields: int, frame_shape: tuple[int, int]) -> int:
    """What a scan of so many fields, and its slide, take on the disk at most.

    Args:
        fields: with tissue in all of them.
        frame_shape: (Y, X) in pixels.
    """
    return round(fields * frame_shape[0] * frame_shape[1] * (FRAME_BYTES_PER_PX + SLIDE_BYTES_PER_PX))


def check_room(folder: Path, fields: int, frame_shape: tuple[int, int]) -> None:
    """Refuse a scan that the disk cannot hold, before anything moves.

    Args:
        folder: where it goes; need not be there.
        fields: how many there may be.
        frame_shape: (Y, X) in pixels.

    Raises:
        FileError: with what is needed and what is free.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free, needed = shutil.disk_usage(there).free, needed_bytes(fields, frame_shape)
    if needed + RESERVE_BYTES > free:
        raise FileError(
            f"{folder}: {fields} fields and their slide may need {_gib(needed)} GiB, and {_gib(RESERVE_BYTES)} GiB are "
            f"kept free; the disk has {_gib(free)} GiB"
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"
