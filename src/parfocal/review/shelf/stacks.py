"""Focal stacks among what is served: found, shown plane by plane, and judged by somebody (paper, section 4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from parfocal.documents import read_json
from parfocal.errors import FileError, SettingsError
from parfocal.review.shelf.cache import BytesCache
from parfocal.review.shelf.places import NotHereError
from parfocal.slide.fields.layout import HEADER_FILE
from parfocal.slide.pyramid import encode_jpeg
from parfocal.stacks.labels import FocusLabel, checked_place, find_label, write_label
from parfocal.stacks.recorded import STACK_FILE
from parfocal.stacks.sets import read_stacks
from parfocal.stacks.stack import FocalStack, LabelState

_DEPTH = 3
_PLANE_PX = 896
_CACHE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class StackEntry:
    """A stack in the list.

    Attributes:
        place: of its folder, relative to what is served.
        label_state: "auto" where nobody has judged it, "damaged" where its description cannot be read.
    """

    place: str
    label_state: str


class StackShelf:
    """All focal stacks of a folder.

    Args:
        root: what is served.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._curves: dict[str, FocusLabel] = {}
        self._planes = BytesCache(_CACHE_BYTES)

    def entries(self) -> list[StackEntry]:
        """Every stack, by its place, damaged ones too; folders that cannot be looked into are left out."""
        folders = sorted(_walk(self._root, _DEPTH))
        return [StackEntry(folder.relative_to(self._root).as_posix(), _state(folder)) for folder in folders]

    def stack(self, place: str) -> FocalStack:
        """The stack of a place.

        Raises:
            FileError: if there is none, or it cannot be read.
        """
        if place not in {entry.place for entry in self.entries()}:
            raise NotHereError("there is no such focal stack")
        (stack,) = read_stacks(self._root / place)
        return stack

    def curve(self, place: str) -> FocusLabel:
        """Its figure-of-merit curve, with the peak and the suspected ones.

        Raises:
            FileError: if there is no such stack, or a plane cannot be read.
            SettingsError: if it has fewer than three planes.
        """
        if place not in self._curves:
            self._curves[place] = find_label(self.stack(place))
        return self._curves[place]

    def plane(self, place: str, index: int) -> bytes:
        """One plane as JPEG, at most 896 px on its longer side.

        Raises:
            FileError: if there is no such stack, or the plane cannot be read.
            SettingsError: if there is no such plane.
        """
        kept = self._planes.get((place, index))
        if kept is not None:
            return kept
        stack = self.stack(place)
        for number in range(len(stack.z)) if 0 <= index < len(stack.z) else ():
            self._planes.put((place, number), _encoded(stack, number))
        found = self._planes.get((place, index))
        if found is None:
            raise SettingsError(f"plane {index} is none of {len(stack.z)}")
        return found

    def judge(self, place: str, state: LabelState, z: float | None) -> float | None:
        """Write down what somebody decided.

        Args:
            place: of the stack.
            state: "confirmed" takes the peak of the curve, "corrected" the given place, "rejected" none.
            z: where the focus is, for a correction, in the stack's unit.

        Returns:
            The label, in the stack's unit; None for a rejected stack.

        Raises:
            FileError: if there is no such stack, or it cannot be written.
            SettingsError: if the place is not within the stack.
        """
        stack = self.stack(place)
        label = None
        if state == "confirmed":
            label = self.curve(place).best_z
        elif state == "corrected":
            label = checked_place(stack, "" if z is None else str(z))
        write_label(self._root / place, label, state)
        return label


def _encoded(stack: FocalStack, index: int) -> bytes:
    plane = stack.plane(index)
    scale = _PLANE_PX / max(plane.shape[:2])
    if scale < 1:
        plane = np.asarray(cv2.resize(plane, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_jpeg(np.ascontiguousarray(plane))


def _state(folder: Path) -> str:
    try:
        described = read_json(folder / STACK_FILE)
    except FileError:
        return "damaged"
    return str(described.get("label_state", "auto")) if isinstance(described, dict) else "damaged"


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Folders of stacks; a scan holds none."""
    try:
        if (folder / STACK_FILE).is_file():
            yield folder
            return
        inside = [] if depth == 0 or (folder / HEADER_FILE).is_file() else list(folder.iterdir())
    except OSError:  # another's, such as lost+found
        return
    for path in inside:
        if not path.name.startswith(".") and path.is_dir():
            yield from _walk(path, depth - 1)
