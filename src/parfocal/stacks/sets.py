"""Stacks of a path: one folder with a `stack.json`, or a folder of such folders."""

from __future__ import annotations

from pathlib import Path

from parfocal.documents import read_json
from parfocal.errors import FileError
from parfocal.stacks.recorded import STACK_FILE, read_stack
from parfocal.stacks.stack import FocalStack, StackOptics

_OIL_INDEX = 1.515


def read_stacks(path: Path) -> tuple[FocalStack, ...]:
    """The stacks of a folder, in the order of their names.

    Raises:
        FileError: if there is no stack, or one is not as it should be.
    """
    if (path / STACK_FILE).is_file():
        return (_read(path),)
    folders = sorted(file.parent for file in path.glob(f"*/{STACK_FILE}"))
    if not folders:
        raise FileError(f"{path}: holds no {STACK_FILE}, and no folder in it does")
    return tuple(_read(folder) for folder in folders)


def _read(folder: Path) -> FocalStack:
    record, description = read_stack(folder), read_json(folder / STACK_FILE)
    planes = description["planes"]
    index = 1.0 if record.na is None or record.na < 1 else _OIL_INDEX
    return FocalStack(
        name=record.name,
        slide=description.get("slide", record.name),
        kind=description.get("kind", "recorded"),
        files=tuple(folder / plane["file"] for plane in planes),
        z=record.z,
        z_unit=record.z_unit,
        best_z=record.best_z,
        label_state=description.get("label_state", "auto"),
        optics=StackOptics(
            record.pixel_size_um,
            record.na,
            record.magnification,
            description.get("immersion_index", index),
            record.step_um,
        ),
        true_z=tuple(plane["true_z"] for plane in planes) if all("true_z" in plane for plane in planes) else None,
    )
