"""The one value for a z-stack, wherever it comes from: `FocalStack`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError
from parfocal.stacks.recorded import read_plane

Kind = Literal["public", "recorded", "simulated"]
LabelState = Literal["auto", "confirmed", "corrected", "rejected"]


@dataclass(frozen=True)
class StackOptics:
    """What is known of the optics of a stack; None where nobody knows.

    Attributes:
        pixel_size_um: size of a pixel in the specimen plane, in µm.
        na: numerical aperture.
        magnification: of the objective.
        immersion_index: refractive index between specimen and lens.
        step_um: size of a step in µm, for stacks in steps.
    """

    pixel_size_um: float | None = None
    na: float | None = None
    magnification: float | None = None
    immersion_index: float = 1.0
    step_um: float | None = None


@dataclass(frozen=True)
class FocalStack:
    """A z-stack whose planes are read when they are asked for.

    Attributes:
        name: unique within its set, for example `s3_l2` or the folder's name.
        slide: what must not be split between training and testing: the slide it was taken from.
        kind: where it comes from.
        files: image of each plane.
        z: position of each plane in `z_unit`, rising.
        z_unit: "um", or "step" where the size of a step counts for nothing.
        best_z: position of best focus in `z_unit`, between planes as a rule; None if nobody knows.
        label_state: who said so.
        optics: what is known of them.
        true_z: where the stage really was, in `z_unit`, where a simulator knows; `z` is what the stage was told.
        binning: side of the squares of recorded pixels that make one pixel of a plane; `optics` are those after it.
    """

    name: str
    slide: str
    kind: Kind
    files: tuple[Path, ...]
    z: tuple[float, ...]
    z_unit: Literal["um", "step"] = "um"
    best_z: float | None = None
    label_state: LabelState = "auto"
    optics: StackOptics = StackOptics()
    true_z: tuple[float, ...] | None = None
    binning: int = 1

    def plane(self, index: int) -> NDArray[np.uint8]:
        """Image of one plane, uint8 (Y, X, 3), RGB; grey ones as three equal channels.

        Raises:
            FileError: naming the file, if it is missing, truncated or no 8-bit image.
        """
        image = read_plane(self.files[index])
        if self.binning == 1:
            return image
        rows, columns = (n // self.binning for n in image.shape[:2])
        whole = image[: rows * self.binning, : columns * self.binning]
        binned = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(binned, dtype=np.uint8)

    def defocus(self, index: int) -> float:
        """True defocus of a plane in `z_unit`: where the stage really was, less the best focus.

        Raises:
            SettingsError: if nobody knows the best focus.
        """
        if self.best_z is None:
            raise SettingsError(f"stack {self.name} has no best_z")
        return (self.true_z or self.z)[index] - self.best_z

    def pairs(self, delta: float, tolerance: float | None = None) -> Iterator[tuple[int, int]]:
        """Indices (first, second) of all planes whose z differ by `delta`, in `z_unit`, found by value.

        Args:
            delta: distance of the two, above 0.
            tolerance: by how much it may be off; a quarter of the median spacing of the planes unless told.
        """
        z = np.asarray(self.z)
        allowed = float(np.median(np.diff(z))) / 4 if tolerance is None else tolerance
        for first in range(z.size):
            second = int(np.argmin(np.abs(z - z[first] - delta)))
            if second > first and abs(z[second] - z[first] - delta) <= allowed:
                yield first, second
