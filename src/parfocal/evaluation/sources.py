"""The stacks of a path, by the parts that an evaluation tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from parfocal.stacks.sets import read_stacks
from parfocal.stacks.stack import FocalStack


def read_parts(path: Path) -> Mapping[str, Sequence[FocalStack]]:
    """The stacks of a folder as one part without a name.

    Raises:
        FileError: if there is no stack, or one is not as it should be.
    """
    return {"": read_stacks(path)}
