"""The policies in a picture: exposures against what is in focus, and time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from parfocal.benchmark.policies import PolicyRow, summarise
from parfocal.errors import FileError

_COLOURS = {"smooth": "#2a9d8f", "rough": "#d1495b"}


def draw_policies(rows: Sequence[PolicyRow], path: Path) -> None:
    """Draw images a field, share in focus and time a field for each policy.

    Args:
        rows: of the benchmark.
        path: of the PNG.

    Raises:
        FileError: if the picture cannot be written.
    """
    told = summarise(rows)
    policies = list(dict.fromkeys(one["policy"] for one in told))
    figure = Figure(figsize=(12, 1.2 + 0.5 * len(policies)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3, sharey=True)
    wanted = (
        ("images_per_field", "exposures a field (log)", 1.0),
        ("in_focus_after_rescan", "in focus at the end, %", 100.0),
        ("ms_per_field", "modelled time a field, ms (log)", 1.0),
    )
    for axes, (name, title, factor) in zip(panels, wanted, strict=True):
        for shift, kind in ((-0.18, "smooth"), (0.18, "rough")):
            of_kind = [one for one in told if one["kind"] == kind]
            places = [policies.index(one["policy"]) + shift for one in of_kind]
            values = [factor * one[name] for one in of_kind]
            axes.barh(places, values, height=0.34, color=_COLOURS[kind], label=kind)
            for place, value in zip(places, values, strict=True):
                axes.annotate(f" {value:.4g}", (value, place), va="center", fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.margins(x=0.15)
        if factor == 1.0:
            axes.set_xscale("log")
    panels[0].set_yticks(range(len(policies)), policies)
    panels[0].invert_yaxis()
    panels[-1].legend(frameon=False, fontsize=9)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from error
