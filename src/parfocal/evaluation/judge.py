"""A predictor against stacks whose focus is known: one prediction for each pair of frames, and the figures of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parfocal.evaluation import metrics
from parfocal.evaluation.metrics import Summary
from parfocal.evaluation.pairing import Pairing, pair_up
from parfocal.evaluation.votes import cast_votes
from parfocal.focus.predictor import FocusPredictor, Predictor
from parfocal.stacks.stack import FocalStack

Array = NDArray[np.float64]
MakePredictor = Callable[[Pairing], Predictor]
"""Gives the predictor for a stack's optics."""

_PLANES_KEPT = 16


@dataclass(frozen=True)
class Judged:
    """What a predictor said of one pair.

    Attributes:
        z: where the second frame was taken, in the stack's unit.
        truth_um: its defocus; nan where nobody knows.
        predicted_um: by the predictor's own vote.
        spread_um: standard deviation of the patches.
        votes_um: every other vote's prediction by name.
        detail: largest detail of a patch, in grey levels².
    """

    z: float
    truth_um: float
    predicted_um: float
    spread_um: float
    votes_um: dict[str, float]
    detail: float


@dataclass(frozen=True)
class JudgedStack:
    """What a predictor said of a stack. Lengths in µm are nominal where `half_dof_um` is None.

    Attributes:
        name: of the stack.
        part: which part of its set it belongs to, such as `same`.
        step_um: median distance of its planes.
        half_dof_um: half the depth of field; None for a stack without scale.
        fields: a prediction for each pair, in rising z.
        skipped: pairs whose Δ the network does not know.
    """

    name: str
    part: str
    step_um: float
    half_dof_um: float | None
    fields: tuple[Judged, ...]
    skipped: int = 0

    @property
    def truth_um(self) -> Array:
        """(N,) true defocus of each second frame; nan without a label."""
        return np.array([field.truth_um for field in self.fields])

    @property
    def predicted_um(self) -> Array:
        """(N,) predicted defocus."""
        return np.array([field.predicted_um for field in self.fields])

    @property
    def near_um(self) -> float:
        """Distance from focus within which a direction does not count: a step, or half the depth of field."""
        return max(self.step_um, self.half_dof_um or 0.0)

    def to_json(self) -> dict[str, object]:
        """The stack's line in `parfocal evaluate --json`."""
        truth, predicted = self.truth_um, self.predicted_um
        labelled = bool(np.isfinite(truth).all())
        z = np.array([field.z for field in self.fields])
        crossing_um = metrics.zero_crossing(truth, predicted) if labelled else None
        wrong = metrics.wrong_direction(predicted, truth, self.near_um) if labelled else None
        error = float(np.mean(np.abs(predicted - truth))) if labelled and self.half_dof_um else None
        return {
            "name": self.name,
            "pairs": len(self.fields),
            "rank_correlation": metrics.rank_correlation(truth if labelled else z, predicted),
            "sign_accuracy": None if wrong is None else 1 - wrong,
            "zero_crossing_steps": None if crossing_um is None else crossing_um / self.step_um,
            "mean_abs_error_um": error,
        }


def network_for_stacks(network: Path, patch_grid: int | None = None) -> tuple[MakePredictor, str]:
    """(what makes predictors from a network file, the name of its vote); they look at the whole frame.

    Raises:
        FileError: if the file is missing, too large, not ONNX or has no contract.
    """

    @lru_cache(maxsize=4)
    def make(lens: Objective | None, pixel_size_um: float, unit_um: float) -> FocusPredictor:
        return FocusPredictor(network, lens, pixel_size_um, unit_um=unit_um, patch_grid=patch_grid)

    raise NotImplementedError
