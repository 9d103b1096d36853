"""Training pairs cut from z-stacks whose focus is known, in the network's scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError
from parfocal.optics.objective import Objective
from parfocal.stacks.public import parts_of, read_public
from parfocal.stacks.sets import read_stacks
from parfocal.stacks.stack import FocalStack

_SAME_SCALE = 0.02


@dataclass(frozen=True)
class Pair:
    """One training pair: where it is, and what is true about it.

    Attributes:
        stack: it is cut from.
        first: index of the plane of I1.
        second: index of the plane of I2.
        corner: (top, left) of the patch in canonical pixels.
        delta_um: distance that the stage was told, in µm.
        defocus_um: true defocus of I2 in µm.
    """

    stack: FocalStack
    first: int
    second: int
    corner: tuple[int, int]
    delta_um: float
    defocus_um: float


def read_training_stacks(path: Path) -> tuple[FocalStack, ...]:
    """The stacks to train on: the training part of the public layout, one `stack.json` folder, or a folder of them.

    Raises:
        FileError: naming what is missing or cannot be read.
    """
    if "train" in parts_of(path):
        return read_public(path, "train")
    return tuple(read_stacks(path))


def usable(stacks: Sequence[FocalStack]) -> tuple[FocalStack, ...]:
    """Those with a focus label that nobody rejected, and with z in µm."""
    return tuple(
        stack
        for stack in stacks
        if stack.best_z is not None and stack.label_state != "rejected" and _um_per_unit(stack) is not None
    )


def objective_of(stacks: Sequence[FocalStack]) -> Objective:
    """The one objective that the stacks were taken through.

    Raises:
        SettingsError: if there is no stack, or they say different apertures or none.
    """
    if not stacks:
        raise SettingsError("no stack is left to train on: parfocal label says which are rejected or have no label yet")
    apertures = {(stack.optics.na, stack.optics.immersion_index) for stack in stacks}
    if len(apertures) != 1:
        raise SettingsError(f"training needs stacks of one objective, these {len(stacks)} have {len(apertures)}")
    na, immersion_index = apertures.pop()
    if na is None:
        raise SettingsError("training needs stacks that say the numerical aperture (na) of their objective")
    return Objective(stacks[0].optics.magnification or 20.0, na, immersion_index)


def pairs_of(stacks: Sequence[FocalStack], delta_um: float, patch_px: int) -> list[Pair]:
    """All pairs Δ apart by value of z, in every patch that fits side by side into the frame.

    Args:
        stacks: usable ones.
        delta_um: Δ in µm.
        patch_px: side of a patch in canonical pixels.

    Raises:
        FileError: if a plane cannot be read.
        SettingsError: if a frame is smaller than a patch.
    """
    return [pair for stack in stacks for pair in _pairs_of_stack(stack, delta_um, patch_px)]


def _pairs_of_stack(stack: FocalStack, delta_um: float, patch_px: int) -> Iterator[Pair]:
    um = _um_per_unit(stack) or 1.0
    rows, columns = _canonical(stack, 0).shape[:2]
    if min(rows, columns) < patch_px:
        raise SettingsError(f"stack {stack.name}: {columns} × {rows} canonical px hold no patch of {patch_px} px")
    corners = [
        ((rows % patch_px) // 2 + row * patch_px, (columns % patch_px) // 2 + column * patch_px)
        for row in range(rows // patch_px)
        for column in range(columns // patch_px)
    ]
    for first, second in stack.pairs(delta_um / um):
        for corner in corners:
            told_um = (stack.z[second] - stack.z[first]) * um
            yield Pair(stack, first, second, corner, told_um, stack.defocus(second) * um)


def cut(pair: Pair, patch_px: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """I1 and I2 of a pair, uint8 (patch_px, patch_px, 3).

    Raises:
        FileError: naming the file, if a plane is missing or truncated.
    """
    top, left = pair.corner
    first, second = (
        np.ascontiguousarray(_canonical(pair.stack, index)[top : top + patch_px, left : left + patch_px])
        for index in (pair.first, pair.second)
    )
    return first, second


def _canonical(stack: FocalStack, index: int) -> NDArray[np.uint8]:
    """A plane at the canonical scale; as it is, where its own is within 2 % of that or unknown."""
    frame, optics = stack.plane(index), stack.optics
    if optics.na is None or optics.pixel_size_um is None:
        return frame
    lens = Objective(optics.magnification or 20.0, optics.na, optics.immersion_index)
    scale = optics.pixel_size_um / lens.canonical_pixel_um
    if abs(scale - 1) < _SAME_SCALE:
        return frame
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8)


def _um_per_unit(stack: FocalStack) -> float | None:
    return 1.0 if stack.z_unit == "um" else stack.optics.step_um
