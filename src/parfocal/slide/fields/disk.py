"""Room on the disk: how much a scan will need, and whether there is as much."""

from __future__ import annotations

import shutil
from pathlib import Path

from parfocal.errors import FileError
from parfocal.slide.fields.writer import RESERVE_BYTES

FRAME_BYTES_PER_PX = 0.8
"""Of a JPEG of quality 95 with whole colours, full of texture."""

SLIDE_BYTES_PER_PX = 0.5
"""Of a frame's pixels: the slide with its pyramid, and its tiles once more while it is written."""


def needed_bytes(fields: int, frame_shape: tuple[int, int], to_take: int | None = None) -> int:
    """What the frames of a scan that are to be taken, and the slide of all, take on the disk at most.

    Args:
        fields: with tissue in all of them.
        frame_shape: (Y, X) in pixels.
        to_take: fields whose frames are not there yet; all if None.
    """
    per_px = (fields if to_take is None else to_take) * FRAME_BYTES_PER_PX + fields * SLIDE_BYTES_PER_PX
    return round(frame_shape[0] * frame_shape[1] * per_px)


def check_room(
    folder: Path, fields: int, frame_shape: tuple[int, int], *, to_take: int | None = None, overwrite: bool = False
) -> None:
    """Refuse a scan that the disk cannot hold, before anything moves.

    Args:
        folder: where it goes; need not be there.
        fields: how many there may be.
        frame_shape: (Y, X) in pixels.
        to_take: of how many of them the frames are not there yet; of all if None.
        overwrite: whether what the folder holds is removed before.

    Raises:
        FileError: with what is needed and what is free.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free, needed = shutil.disk_usage(there).free, needed_bytes(fields, frame_shape, to_take)
    if overwrite:
        free += sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    if needed + RESERVE_BYTES > free:
        raise FileError(
            f"{folder}: {fields} fields and their slide may need {_gib(needed)} GiB, and {_gib(RESERVE_BYTES)} GiB are "
            f"kept free; the disk has {_gib(free)} GiB"
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"
