"""Figure-of-merit curves of stacks, for a human to judge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from parfocal.errors import FileError
from parfocal.stacks.labels import FocusLabel
from parfocal.stacks.stack import FocalStack

_COLUMNS = 4


def draw_curves(found: Sequence[tuple[FocalStack, FocusLabel]], path: Path) -> None:
    """Write a PNG with one small curve for each stack, its peak and the peaks that are suspected.

    Raises:
        FileError: if it cannot be written.
    """
    columns = min(_COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    figure = Figure(figsize=(3.2 * columns, 2.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (stack, curve) in enumerate(found, start=1):
        axes = figure.add_subplot(rows, columns, number)
        axes.plot(curve.z, curve.score / max(curve.score.max(), 1e-12), ".-", color="0.4")
        axes.axvline(curve.best_z, color="tab:green")
        for z in curve.suspected_z:
            axes.axvline(z, color="tab:red", linestyle="--")
        axes.set_title(stack.name + (" ?" if curve.doubts else ""), fontsize=9)
        axes.set_xlabel(f"z in {stack.z_unit}", fontsize=8)
    try:
        figure.savefig(path, dpi=100, format="png")
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error
