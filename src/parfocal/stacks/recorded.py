"""Recorded z-stacks: frames of one field at rising z, in a folder with a `stack.json`.

Its keys: `planes`, a list of {"file": "z-1.png", "z": -1.0}; `z_unit`, "um" or "step"; and where known `best_z`,
`pixel_size_um`, `na`, `magnification`, `step_um`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.documents import read_json
from parfocal.errors import FileError

STACK_FILE = "stack.json"

_ENDS = ((b"\xff\xd8", b"\xff\xd9"), (b"\x89PNG", b"IEND"))
_TAIL_BYTES = 1024  # some writers add a few bytes behind the end

Plane = NDArray[np.uint8]
"""One image of a stack: uint8 (Y, X, 3), RGB."""


@dataclass(frozen=True)
class RecordedStack:
    """A z-stack as it was recorded.

    Attributes:
        name: of its folder.
        planes: images uint8 (Y, X, 3), RGB; grey ones as three equal channels.
        z: position of each plane in `z_unit`, rising.
        z_unit: "um", or "step" where the size of a step counts for nothing.
        best_z: plane that is in best focus, in `z_unit`; None if nobody knows.
        pixel_size_um: size of a pixel in the specimen plane, in µm; None if nobody knows.
        na: numerical aperture; None if nobody knows.
        magnification: of the objective; None if nobody knows.
        step_um: size of a step in µm as recorded; None if nobody knows.

    Raises:
        FileError: if there are no planes, as many z as planes are missing, z does not rise, or shapes differ.
    """

    name: str
    planes: tuple[Plane, ...]
    z: tuple[float, ...]
    z_unit: Literal["um", "step"]
    best_z: float | None = None
    pixel_size_um: float | None = None
    na: float | None = None
    magnification: float | None = None
    step_um: float | None = None

    def __post_init__(self) -> None:
        if not self.planes or len(self.planes) != len(self.z):
            raise FileError(f"stack {self.name}: {len(self.planes)} planes and {len(self.z)} positions")
        for lower, upper in zip(self.z[:-1], self.z[1:], strict=True):
            if not upper > lower:
                raise FileError(f"stack {self.name}: z does not rise, {upper:g} follows {lower:g} {self.z_unit}")
        for z, plane in zip(self.z, self.planes, strict=True):
            if plane.shape != self.planes[0].shape:
                raise FileError(
                    f"stack {self.name}: the plane at z {z:g} {self.z_unit} is {_size(plane)} pixels, "
                    f"the first one {_size(self.planes[0])}"
                )

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of the planes in pixels."""
        return self.planes[0].shape[0], self.planes[0].shape[1]


def read_stack(folder: Path) -> RecordedStack:
    """Read a stack and every plane of it.

    Args:
        folder: holds `stack.json` and the images that it names.

    Raises:
        FileError: naming the file, if `stack.json` is missing or not as described, a plane is missing, is no 8-bit
            image or of another shape than the first, or z does not rise.
    """
    path = folder / STACK_FILE
    description = _read_description(path)
    entries = _entries(path, description)
    z_unit = description.get("z_unit")
    if z_unit not in ("um", "step"):
        raise FileError(f'{path}: z_unit {z_unit!r} is neither "um" nor "step"')
    planes: list[Plane] = []
    for file, _ in entries:
        plane = read_plane(folder / file)
        if planes and plane.shape != planes[0].shape:
            raise FileError(f"{folder / file}: {_size(plane)} pixels, {entries[0][0]} has {_size(planes[0])}")
        planes.append(plane)
    return RecordedStack(
        name=folder.resolve().name,
        planes=tuple(planes),
        z=tuple(z for _, z in entries),
        z_unit=z_unit,
        best_z=_number(path, description, "best_z", positive=False),
        pixel_size_um=_number(path, description, "pixel_size_um"),
        na=_number(path, description, "na"),
        magnification=_number(path, description, "magnification"),
        step_um=_number(path, description, "step_um"),
    )


def _read_description(path: Path) -> dict[str, Any]:
    return read_json(path)


def _entries(path: Path, description: dict[str, Any]) -> list[tuple[str, float]]:
    """(file, z) of each plane; z rises."""
    planes = description.get("planes")
    if not isinstance(planes, list) or not planes:
        raise FileError(f"{path}: names no planes")
    entries: list[tuple[str, float]] = []
    for index, plane in enumerate(planes):
        if not isinstance(plane, dict) or not isinstance(plane.get("file"), str) or not _is_number(plane.get("z")):
            raise FileError(f'{path}: plane {index} is not {{"file": name, "z": number}}')
        if not _stays_inside(path.parent, plane["file"]):
            raise FileError(f"{path}: plane {index}, {plane['file']!r:.100}, lies outside the stack's folder")
        if entries and not plane["z"] > entries[-1][1]:
            raise FileError(
                f"{path}: z does not rise, {plane['file']} at {plane['z']:g} follows {entries[-1][0]} "
                f"at {entries[-1][1]:g}"
            )
        entries.append((plane["file"], float(plane["z"])))
    return entries


def _stays_inside(folder: Path, name: str) -> bool:
    try:
        return (folder / name).resolve().is_relative_to(folder.resolve())
    except ValueError:  # a NUL in the name
        return False


def read_plane(path: Path) -> Plane:
    """One image file as uint8 (Y, X, 3), RGB. Raises FileError if it cannot be read or has not 8 bits."""
    try:
        encoded = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or 'cannot be read'}") from error
    _check_whole(path, encoded)
    image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    if image is None:
        raise FileError(f"{path}: is not a readable image")
    if image.dtype != np.uint8:
        raise FileError(f"{path}: has {image.dtype.itemsize * 8} bits per channel, planes need 8")
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    return np.ascontiguousarray(image[..., 2::-1])  # cv2 gives BGR, or BGRA


def _check_whole(path: Path, encoded: NDArray[np.uint8]) -> None:
    """A JPEG or PNG must have its end: decoders fill what is missing with grey and say nothing."""
    for begin, end in _ENDS:
        if encoded[: len(begin)].tobytes() == begin and end not in encoded[-_TAIL_BYTES:].tobytes():
            raise FileError(f"{path}: is cut off after {encoded.size} bytes")


def _number(path: Path, description: dict[str, Any], key: str, *, positive: bool = True) -> float | None:
    value = description.get(key)
    if value is None:
        return None
    if not _is_number(value) or (positive and not value > 0):
        raise FileError(f"{path}: {key} {value!r} is not a number{' above 0' if positive else ''}")
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _size(plane: Plane) -> str:
    return f"{plane.shape[1]} × {plane.shape[0]}"
