"""The stacks of a path, by the parts that an evaluation tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from parfocal.stacks.public import parts_of, read_public
from parfocal.stacks.sets import read_stacks
from parfocal.stacks.stack import FocalStack


def read_parts(path: Path) -> Mapping[str, Sequence[FocalStack]]:
    """The stacks of a folder as one part without a name; of the public set, what it is tested on: same and different.

    Raises:
        FileError: if there is no stack, or one is not as it should be.
    """
    parts = parts_of(path)
    if parts:
        tested = [part for part in parts if part != "train"]
        return {part: read_public(path, part) for part in tested or parts}
    return {"": read_stacks(path)}
