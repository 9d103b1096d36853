"""Claims of the paper that a stack can test."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError
from parfocal.stacks.stack import FocalStack

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DeviationOverFocus:
    """Standard deviation of a field over defocus (paper, section 2.4.2: "remains relatively unchanged").

    Attributes:
        defocus_um: (N,) of each plane.
        deviation: (N,) of its pixel values in grey levels, each channel about its own mean.
    """

    defocus_um: Array
    deviation: Array

    @property
    def in_focus(self) -> float:
        """The one nearest to focus, in grey levels."""
        return float(self.deviation[np.argmin(np.abs(self.defocus_um))])

    @property
    def relative_range(self) -> float:
        """(largest − smallest) over the one nearest to focus: 0 if the claim were exact."""
        return float(np.ptp(self.deviation) / self.in_focus) if self.in_focus > 0 else float("nan")


def deviation_over_focus(stack: FocalStack, um_per_z: float = 1.0, reach_um: float = 10.0) -> DeviationOverFocus:
    """Standard deviation of the frames within `reach_um` of focus.

    Raises:
        SettingsError: if the stack has no best focus, or no plane there.
        FileError: if a plane cannot be read.
    """
    if stack.best_z is None:
        raise SettingsError(f"stack {stack.name} has no best focus")
    every = np.array([stack.defocus(index) * um_per_z for index in range(len(stack.z))])
    near = np.flatnonzero(np.abs(every) <= reach_um)
    if not near.size:
        raise SettingsError(f"stack {stack.name} has no plane within {reach_um:g} µm of its focus")
    deviations = [float(np.sqrt(np.mean(cv2.meanStdDev(stack.plane(int(i)))[1] ** 2))) for i in near]
    return DeviationOverFocus(every[near], np.array(deviations))
