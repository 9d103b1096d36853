"""The stacks of a path, by the parts that an evaluation tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from parfocal.stacks.public import PUBLIC_FOLDER, read_public
from parfocal.stacks.sets import read_stacks
from parfocal.stacks.stack import FocalStack


def read_parts(path: Path) -> Mapping[str, Sequence[FocalStack]]:
    """The `same` and the `different` part of the public set; anything else is one part without a name.

    Raises:
        FileError: if there is no stack, or one is not as it should be.
    """
    if (path / PUBLIC_FOLDER).is_dir():
        return {"same": read_public(path, "same"), "different": read_public(path, "different")}
    return {"": read_stacks(path)}
