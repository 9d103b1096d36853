"""The picture of an evaluation: error over defocus, and what is left in focus as doubtful fields are left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from parfocal.errors import FileError
from parfocal.evaluation.calibration import PROMISED, by_doubt, by_spread, coverage_curve, evidence
from parfocal.evaluation.judge import JudgedStack

Array = NDArray[np.float64]

_BINS = 21


def error_by_defocus(truth: Array, predicted: Array, bins: int = _BINS) -> tuple[Array, Array, Array, Array]:
    """(centre, mean |error|, bias, sd of the error) for each bin of true defocus that holds predictions, each (K,)."""
    edges = np.linspace(truth.min(), truth.max(), bins + 1)
    member = np.clip(np.digitize(truth, edges) - 1, 0, bins - 1)
    error = predicted - truth
    held = np.unique(member)
    rows = [(np.abs(error[member == b]).mean(), error[member == b].mean(), error[member == b].std()) for b in held]
    columns = np.array(rows).T
    return (edges[held] + edges[held + 1]) / 2, columns[0], columns[1], columns[2]


def draw_evaluation(stacks: Sequence[JudgedStack], path: Path) -> Path:
    """Write the picture as PNG.

    Raises:
        FileError: if no stack has a label, or the file cannot be written.
    """
    labelled = [stack for stack in stacks if np.isfinite(stack.truth_um).all()]
    if not labelled:
        raise FileError(f"{path} cannot be drawn: no stack has a best focus")
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    unit = "µm" if all(stack.half_dof_um for stack in labelled) else "µm by the network's own scale"
    truth = np.concatenate([stack.truth_um for stack in labelled])
    predicted = np.concatenate([stack.predicted_um for stack in labelled])
    _draw_predictions(left, labelled, unit)
    _draw_errors(middle, truth, predicted, unit)
    _draw_coverage(right, labelled)
    try:
        figure.savefig(path, dpi=110, format="png")
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from error
    return path


def _draw_predictions(axes: Axes, stacks: Sequence[JudgedStack], unit: str) -> None:
    for stack in stacks:
        axes.plot(stack.truth_um, stack.predicted_um, ".-", markersize=3, linewidth=0.6, alpha=0.6)
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], color="black", linewidth=0.8)
    axes.set(title="Predicted against true", xlabel=f"true defocus, {unit}", ylabel=f"predicted, {unit}")


def _draw_errors(axes: Axes, truth: Array, predicted: Array, unit: str) -> None:
    centre, mean_abs, bias, deviation = error_by_defocus(truth, predicted)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.fill_between(centre, bias - deviation, bias + deviation, alpha=0.25, label="± sd")
    axes.plot(centre, bias, label="bias")
    axes.plot(centre, mean_abs, label="mean |error|")
    axes.set(title="Error over defocus", xlabel=f"true defocus, {unit}", ylabel=f"error, {unit}")
    axes.legend(frameon=False)


def _draw_coverage(axes: Axes, stacks: Sequence[JudgedStack]) -> None:
    fields = evidence(stacks)
    axes.set(title="Confidence", xlabel="share of fields, surest first", ylabel="within half the depth of field")
    if not fields.error.size:
        axes.text(0.5, 0.5, "no scale, no errors", ha="center", va="center", transform=axes.transAxes)
        return
    doubts = {"by the spread of the patches": by_spread(fields), "by the network's own doubt": by_doubt(fields)}
    for name, doubt in doubts.items():
        if np.isfinite(doubt).any():
            axes.plot(*coverage_curve(doubt, fields.is_good), label=name)
    axes.legend(frameon=False)
    axes.axhline(PROMISED, color="black", linewidth=0.8, linestyle="--")
