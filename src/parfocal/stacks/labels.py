"""Focus labels between the planes, from a stack's figure-of-merit curve, and doubts for a human to settle (4.2)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from parfocal.documents import read_json
from parfocal.errors import FileError, SettingsError
from parfocal.merit import MERITS, best_focus
from parfocal.stacks.recorded import STACK_FILE
from parfocal.stacks.stack import FocalStack, LabelState

Array = NDArray[np.float64]

FALSE_PEAK_SHARE = 0.5
"""A second peak that rises this share of the best one's height above the valley between them is told to a human."""

_FLAT = 0.05
_FEWEST_PLANES = 3


@dataclass(frozen=True)
class FocusLabel:
    """Where a stack is in focus, by its curve.

    Attributes:
        best_z: peak of the parabola through the best plane and its neighbours, in the stack's unit.
        z: (N,) positions of the planes.
        score: (N,) figure of merit.
        suspected_z: planes of other peaks: dust, a second layer, a reflection.
        doubts: in words, why a human should look; none for a single clear peak inside the stack.
    """

    best_z: float
    z: Array
    score: Array
    suspected_z: tuple[float, ...]
    doubts: tuple[str, ...]


def find_label(stack: FocalStack, merit: str = "tenengrad") -> FocusLabel:
    """Label a stack by its curve.

    Args:
        stack: at least three planes.
        merit: name in `merit.MERITS`; the paper's is `variance-of-laplacian`.

    Raises:
        SettingsError: for an unknown merit or fewer than three planes.
        FileError: if a plane cannot be read.
    """
    if merit not in MERITS:
        raise SettingsError(f"unknown figure of merit {merit!r}: choose one of {', '.join(MERITS)}")
    if len(stack.z) < _FEWEST_PLANES:
        raise SettingsError(f"stack {stack.name} has {len(stack.z)} planes: a curve needs at least {_FEWEST_PLANES}")
    z = np.array(stack.z)
    return judge_curve(z, np.array([MERITS[merit](stack.plane(index)) for index in range(z.size)]), stack.z_unit)


def judge_curve(z: Array, score: Array, z_unit: str = "um") -> FocusLabel:
    """The label that a curve gives, and the doubts about it.

    Args:
        z: (N,) positions of at least three planes, rising.
        score: (N,) figure of merit.
        z_unit: of `z`, for the words.
    """
    best, suspected = int(np.argmax(score)), false_peaks(score)
    doubts = []
    if best in (0, z.size - 1):
        doubts.append(f"the best plane is the {'lowest' if best == 0 else 'highest'} one: the focus may lie beyond")
    if suspected:
        places = ", ".join(f"{z[index]:g}" for index in suspected)
        doubts.append(f"another peak at {places} {z_unit}")
    if np.ptp(score) <= _FLAT * score.max():
        doubts.append(f"the curve is flat: it changes by {np.ptp(score) / max(score.max(), 1e-12):.1%}")
    return FocusLabel(best_focus(z, score), z, score, tuple(float(z[index]) for index in suspected), tuple(doubts))


def false_peaks(score: Array) -> tuple[int, ...]:
    """Indices of the other peaks of a curve (N,) that stand out by at least half of what the best one does.

    A peak stands out by its height above the deepest valley between it and the best one; the best one's measure is its
    height above the curve's lowest point.
    """
    best = int(np.argmax(score))
    enough = FALSE_PEAK_SHARE * float(np.ptp(score))
    padded = np.concatenate([[-np.inf], score, [-np.inf]])
    tops = np.flatnonzero((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:]))
    found = []
    for top in tops.tolist():
        valley = float(score[min(top, best) : max(top, best) + 1].min())
        if top != best and score[top] - valley >= enough > 0:
            found.append(top)
    return tuple(found)


def write_label(folder: Path, best_z: float | None, state: LabelState) -> None:
    """Write a label into a folder's `stack.json`; all other keys stay, and the file is replaced in one step.

    Args:
        folder: of the stack.
        best_z: in the stack's unit; None leaves what is there.
        state: who says so.

    Raises:
        FileError: if the file cannot be read or written.
        SettingsError: if the state is unknown, or a label is confirmed where there is none.
    """
    if state not in get_args(LabelState):
        raise SettingsError(f"label state {state!r} is none of {', '.join(get_args(LabelState))}")
    path = folder / STACK_FILE
    description = read_json(path)
    if best_z is not None:
        description["best_z"] = best_z
    if description.get("best_z") is None and state != "rejected":
        raise SettingsError(f"{path}: has no best_z that could be {state}")
    description["label_state"] = state
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error


def checked_place(stack: FocalStack, text: str) -> float:
    """A place that a human gives, in the stack's unit.

    Raises:
        SettingsError: if it is no number, or not within the stack.
    """
    limits = f"{stack.z[0]:g} to {stack.z[-1]:g} {stack.z_unit}"
    try:
        z = float(text)
    except ValueError as error:
        raise SettingsError(f"best z {text!r} of stack {stack.name} is not a number from {limits}") from error
    if not stack.z[0] <= z <= stack.z[-1]:
        raise SettingsError(f"best z {z:g} {stack.z_unit} is outside stack {stack.name}, {limits}")
    return z
