"""A predictor against stacks whose focus is known: one prediction for each pair of frames, and the figures of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parfocal.evaluation import metrics
from parfocal.evaluation.metrics import Summary
from parfocal.evaluation.pairing import Pairing, pair_up
from parfocal.evaluation.votes import VOTES, cast_votes
from parfocal.focus.predictor import FocusPredictor, NetworkContract, Predictor
from parfocal.optics.objective import Objective
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
        doubt_um: mean |error| that the predictor expects; nan where it does not say.
    """

    z: float
    truth_um: float
    predicted_um: float
    spread_um: float
    votes_um: dict[str, float]
    doubt_um: float = math.nan


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

    def within(self, distance_um: float) -> JudgedStack:
        """The same stack with the fields whose true defocus is at most `distance_um` only."""
        return replace(self, fields=tuple(field for field in self.fields if abs(field.truth_um) <= distance_um))

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


def judge(
    stack: FocalStack,
    predictor_for: MakePredictor,
    delta_u: tuple[float, float],
    *,
    part: str = "",
    delta_planes: int | None = None,
    um_per_step: float | None = None,
) -> JudgedStack:
    """Ask a predictor about every pair of a stack.

    Args:
        stack: frames at rising z, with its best focus where it is known.
        predictor_for: gives the predictor for the stack's optics.
        delta_u: smallest and largest Δ that the predictor knows, in units of u.
        part: name of the part of the set that the stack belongs to.
        delta_planes: see `pair_up`.
        um_per_step: see `pair_up`.

    Raises:
        SettingsError: if the stack leaves no pair for this predictor.
        FileError: if a frame cannot be read.
    """
    pairing = pair_up(stack, delta_u, delta_planes, um_per_step)
    predictor, plane = predictor_for(pairing), lru_cache(maxsize=_PLANES_KEPT)(stack.plane)
    fields = []
    for first, second in pairing.pairs:
        delta_um = (stack.z[second] - stack.z[first]) * pairing.um_per_z
        prediction = predictor.predict(plane(first), plane(second), delta_um)
        fields.append(
            Judged(
                z=stack.z[second],
                truth_um=math.nan if stack.best_z is None else stack.defocus(second) * pairing.um_per_z,
                predicted_um=prediction.defocus_um,
                spread_um=prediction.spread_um,
                votes_um=cast_votes(prediction),
                doubt_um=prediction.doubt_um,
            )
        )
    step_um = float(np.median(np.diff(stack.z))) * pairing.um_per_z
    return JudgedStack(stack.name, part, step_um, pairing.half_dof_um, tuple(fields), pairing.skipped)


def network_predictor(network: Path) -> tuple[MakePredictor, NetworkContract, str]:
    """What makes predictors of a network file that look at whole frames, its contract, and the name of its vote.

    Raises:
        FileError: if the file is missing, too large, not ONNX or has no contract.
    """

    @lru_cache(maxsize=4)
    def make(lens: Objective | None, pixel_size_um: float, unit_um: float) -> FocusPredictor:
        return FocusPredictor(network, lens, pixel_size_um, unit_um=unit_um, patch_grid=None)

    anywhere = make(None, 1.0, 1.0)
    return (
        lambda pairing: make(pairing.lens, pairing.pixel_size_um, pairing.unit_um),
        anywhere.contract,
        anywhere.vote,
    )


def summarise(stacks: Sequence[JudgedStack], vote: str | None = None) -> Summary:
    """Figures of all labelled stacks together; errors are counted where there is a scale.

    Args:
        stacks: as `judge` returns them.
        vote: name in `evaluation.votes`; the predictor's own if None.
    """
    labelled = [stack for stack in stacks if np.isfinite(stack.truth_um).all()]
    scaled = [stack for stack in labelled if stack.half_dof_um is not None]
    chosen = scaled or labelled
    if not chosen:
        return Summary(sum(len(stack.fields) for stack in stacks))
    sizes = [len(stack.fields) for stack in chosen]
    half_dof = np.repeat([stack.half_dof_um or 0.0 for stack in chosen], sizes)
    near = half_dof if scaled else np.repeat([stack.step_um for stack in chosen], sizes)
    return metrics.summarise(
        predicted=np.concatenate([_predicted(stack, vote) for stack in chosen]),
        truth=np.concatenate([stack.truth_um for stack in chosen]),
        near=near,
        half_dof=half_dof if scaled else None,
        stacks=np.repeat(np.arange(len(chosen)), sizes),
    )


def votes_cast(stacks: Sequence[JudgedStack]) -> list[str]:
    """Names of the votes that every field has, in their usual order."""
    fields = [field for stack in stacks for field in stack.fields]
    return [name for name in VOTES if all(name in field.votes_um for field in fields)]


def _predicted(stack: JudgedStack, vote: str | None) -> Array:
    return stack.predicted_um if vote is None else np.array([field.votes_um[vote] for field in stack.fields])
