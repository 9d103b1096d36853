"""The public data set (Jiang et al. 2018, figshare 5936881) in the layout that it is published in.

`incoherent_RGBchannels/` holds `train_incoherent_RGBChannels/s{slide}_l{location}/Seg{k}_defocus{nm}.jpg`, patches of
224², and `testRawData_incoherent_sameProtocol` and `…_diffProtocol`, each with `s{slide}_l{location}/defocus{nm}.jpg`,
frames of 2048 × 2448 that are binned 2 × 2. `{nm}` is the defocus in nanometres, 500 apart, with an offset of its own
in every stack: the best focus is at 0, where there need not be a plane.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from parfocal.errors import FileError, SettingsError
from parfocal.stacks.stack import FocalStack, StackOptics

Part = Literal["train", "same", "different"]

PARTS: dict[Part, str] = {
    "train": "train_incoherent_RGBChannels",
    "same": "testRawData_incoherent_sameProtocol",
    "different": "testRawData_incoherent_diffProtocol",
}
"""Folder of each part of the set."""

_TOP = "incoherent_RGBchannels"
_OPTICS = StackOptics(pixel_size_um=0.345, na=0.75, magnification=20.0, immersion_index=1.0)  # after binning
_FOLDER = re.compile(r"s(?P<slide>\d+)_l\d+")
_PATCH = re.compile(r"(?P<place>Seg\d+)_defocus(?P<nm>[+-]?\d+)\.jpe?g", re.IGNORECASE)
_FRAME = re.compile(r"defocus(?P<nm>[+-]?\d+)\.jpe?g", re.IGNORECASE)


def parts_of(root: Path) -> tuple[Part, ...]:
    """Parts of the public set that a folder holds; none if it is something else."""
    top = _top(root)
    return tuple(part for part, name in PARTS.items() if (top / name).is_dir())


def read_public(root: Path, part: Part) -> tuple[FocalStack, ...]:
    """The stacks of one part: one for each location, in training one for each patch of it.

    Args:
        root: the unpacked archive, or its folder `incoherent_RGBchannels`.
        part: training, or testing on the same or the different protocol.

    Returns:
        Stacks in µm with their best focus at 0. Pairs are found by value of z (`FocalStack.pairs`).

    Raises:
        FileError: naming the folder or file that is missing, out of place, without a label, or labelled twice.
    """
    folder = _top(root) / PARTS[part]
    if not folder.is_dir():
        raise FileError(f"{folder}: is missing; expected {_TOP}/{PARTS[part]}/s1_l1/ with labelled images")
    stacks: list[FocalStack] = []
    for location in sorted(child for child in folder.iterdir() if child.is_dir()):
        named = _FOLDER.fullmatch(location.name)
        if named is None:
            raise FileError(f"{location}: is not named s{{slide}}_l{{location}}, such as s3_l2")
        for place, files in sorted(_labelled(location, part).items()):
            name = f"{location.name}/{place}" if place else location.name
            stacks.append(_stack(name, f"s{named['slide']}", part, files))
    if not stacks:
        raise FileError(f"{folder}: holds no folder s{{slide}}_l{{location}} with images")
    return tuple(stacks)


def split_by_slide(
    stacks: Sequence[FocalStack], share: float, seed: int
) -> tuple[tuple[FocalStack, ...], tuple[FocalStack, ...]]:
    """Stacks to train on and stacks to validate on, no slide in both.

    Args:
        stacks: of at least two slides.
        share: of the slides that are held out, at least one.
        seed: chooses them.

    Raises:
        SettingsError: if there are fewer than two slides, or the share is not between 0 and 1.
    """
    slides = sorted({stack.slide for stack in stacks})
    if len(slides) < 2:
        raise SettingsError(f"stacks of {len(slides)} slide cannot be split by slide: at least 2 are needed")
    if not 0 < share < 1:
        raise SettingsError(f"a share of {share:g} of the slides is not between 0 and 1")
    count = min(max(1, round(share * len(slides))), len(slides) - 1)
    held_out = {slides[i] for i in np.random.default_rng(seed).permutation(len(slides))[:count]}
    return (
        tuple(stack for stack in stacks if stack.slide not in held_out),
        tuple(stack for stack in stacks if stack.slide in held_out),
    )


def _top(root: Path) -> Path:
    return root / _TOP if (root / _TOP).is_dir() else root


def _labelled(location: Path, part: Part) -> dict[str, dict[int, Path]]:
    """Files by patch ("" for whole frames) and label in nm."""
    pattern, expected = (_PATCH, "Seg1_defocus-350.jpg") if part == "train" else (_FRAME, "defocus-350.jpg")
    found: dict[str, dict[int, Path]] = {}
    for file in sorted(location.iterdir()):
        if file.suffix.lower() not in (".jpg", ".jpeg"):
            continue
        named = pattern.fullmatch(file.name)
        if named is None:
            raise FileError(f"{file}: its name has no label in nm, such as {expected}")
        files = found.setdefault(named.groupdict().get("place", ""), {})
        label_nm = int(named["nm"])
        if label_nm in files:
            raise FileError(f"{file}: {files[label_nm].name} has the label {label_nm} nm too")
        files[label_nm] = file
    if not found:
        raise FileError(f"{location}: holds no image such as {expected}")
    return found


def _stack(name: str, slide: str, part: Part, files: dict[int, Path]) -> FocalStack:
    labels_nm = sorted(files)
    return FocalStack(
        name=name,
        slide=slide,
        kind="public",
        files=tuple(files[label] for label in labels_nm),
        z=tuple(label / 1000 for label in labels_nm),
        best_z=0.0,
        label_state="confirmed",
        optics=_OPTICS,
        binning=1 if part == "train" else 2,
    )
