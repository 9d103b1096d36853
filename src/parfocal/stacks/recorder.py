"""A z-stack on its way to disk: planes as they are exposed, and a folder that is whole or not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from parfocal.errors import FileError
from parfocal.stacks.recorded import STACK_FILE, Plane


class StackRecorder:
    """Writes planes as PNG beside `folder`, which appears with the last step only; what is left half done is removed.

    Use it in a `with` block and end it with `finish`.

    Args:
        folder: of the stack to be; it must not exist.

    Raises:
        FileError: if a file or folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._part = folder.with_name(f".{folder.name}.part")
        self._planes: list[dict[str, Any]] = []

    def __enter__(self) -> StackRecorder:
        shutil.rmtree(self._part, ignore_errors=True)  # of a run that was killed
        try:
            self._part.mkdir(parents=True)
        except OSError as error:
            raise self._cannot(error) from error
        return self

    def __exit__(self, *_error: object) -> None:
        shutil.rmtree(self._part, ignore_errors=True)

    def add(self, plane: Plane, z: float) -> None:
        """Write the next plane, uint8 (Y, X, 3), RGB; `z` is above that of the one before."""
        name = f"z-{len(self._planes):03d}.png"
        encoded = cv2.imencode(".png", np.ascontiguousarray(plane[..., ::-1]))[1]
        try:
            (self._part / name).write_bytes(encoded.tobytes())
        except OSError as error:
            raise self._cannot(error) from error
        self._planes.append({"file": name, "z": z})

    def finish(self, description: dict[str, Any]) -> None:
        """Give the folder its name; `description` is what `stack.json` says beside the planes."""
        text = json.dumps(description | {"planes": self._planes}, indent=1) + "\n"
        try:
            (self._part / STACK_FILE).write_text(text, encoding="utf-8")
            self._part.replace(self._folder)
        except OSError as error:
            raise self._cannot(error) from error

    def _cannot(self, error: OSError) -> FileError:
        return FileError(f"{self._folder}: cannot be written: {error.strerror or error}")
