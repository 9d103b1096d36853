"""Stacks whose frames carry the number of their plane, and a predictor that reads it: evaluation without light."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parfocal.focus.predictor import FocusPrediction, PairContrast
from parfocal.stacks.stack import FocalStack, StackOptics

AT_20X = StackOptics(pixel_size_um=0.345, na=0.75, magnification=20)
AT_40X = StackOptics(pixel_size_um=0.1725, na=0.65, magnification=40)
DELTA_U = (2.0, 3.2)


class NumberedStack(FocalStack):
    """A stack without files: plane i is a frame full of i."""

    def plane(self, index):
        return np.full((4, 4, 3), index, np.uint8)


def numbered(z, best_z=0.0, optics=AT_20X, z_unit="um", name="numbered", kind="recorded", **more):
    z = tuple(float(value) for value in z)
    files = tuple(Path(f"{index}.png") for index in range(len(z)))
    return NumberedStack(name, "slide", kind, files, z, z_unit=z_unit, best_z=best_z, optics=optics, **more)


@dataclass
class Reading:
    """Says the true defocus of the second frame plus `error(true)`; remembers what it was asked."""

    stack: FocalStack
    um_per_z: float
    asked_um: list
    error: object

    def measure(self, first, second):
        return PairContrast(20.0, 5.0)

    def predict(self, first, second, delta_um):
        self.asked_um.append(delta_um)
        true_um = (self.stack.z[int(second[0, 0, 0])] - (self.stack.best_z or 0.0)) * self.um_per_z
        said_um = true_um + self.error(true_um)
        return FocusPrediction(said_um, 0.1, (said_um - 0.1, said_um + 0.3), (3.0, 1.0), 20.0, 5.0, (1.0, 1.0))


def reader_of(stack, error=lambda true_um: 0.0):
    """(what `judge` asks for a predictor, list of the Δ that it will have been asked with)."""
    asked_um = []
    return lambda pairing: Reading(stack, pairing.um_per_z, asked_um, error), asked_um
