"""Encoded frames in a DICOM file, one after the other, never all of them in memory.

pydicom wants the frames of an instance as one value or as a list of open files; a level has tens of thousands.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

_PIXEL_DATA = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
_SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
_ITEM_HEADER_BYTES = 8
_LARGEST_BASIC_OFFSET = 2**32 - 1


def write_frames(
    path: Path, dataset: Dataset, frames: Iterable[bytes], lengths: Sequence[int], largest: int = _LARGEST_BASIC_OFFSET
) -> None:
    """Write an instance with encapsulated pixel data, each frame one fragment.

    A basic offset table says where each frame begins; where its 32 bits do not reach, an extended one does.

    Args:
        path: of the file.
        dataset: all attributes below the pixel data, with file meta information.
        frames: encoded, in the order of the instance.
        lengths: of each frame, in bytes.
        largest: offset that a basic offset table can hold.

    Raises:
        OSError: if the file cannot be written.
    """
    padded = [length + length % 2 for length in lengths]
    offsets = [0]
    for length in padded[:-1]:
        offsets.append(offsets[-1] + _ITEM_HEADER_BYTES + length)
    basic = offsets if offsets[-1] <= largest else []
    if not basic:
        dataset.ExtendedOffsetTable = struct.pack(f"<{len(offsets)}Q", *offsets)
        dataset.ExtendedOffsetTableLengths = struct.pack(f"<{len(padded)}Q", *padded)
    with path.open("wb") as file:
        dcmwrite(file, dataset, enforce_file_format=True)
        file.write(_PIXEL_DATA)
        _write_item(file, struct.pack(f"<{len(basic)}L", *basic))
        for frame in frames:
            _write_item(file, frame)
        file.write(_SEQUENCE_END)


def _write_item(file: BinaryIO, value: bytes) -> None:
    padding = len(value) % 2
    file.write(struct.pack("<HHL", 0xFFFE, 0xE000, len(value) + padding))
    file.write(value + b"\0" * padding)
