"""`focus.png`: focal surface, residual and verdicts of a scan, to be understood at a glance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from parfocal.errors import FileError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord

FOCUS_PICTURE = "focus.png"
_VERDICT_COLOURS = {"focused": "#2a9d8f", "empty": "#d9d9d9", "unsure": "#e9c46a", "failed": "#d1495b"}


def draw_focus(fields: FieldsFolder, errors_um: dict[int, float], path: Path) -> Path:
    """Draw the map of a scan.

    Args:
        fields: the fields folder.
        errors_um: signed focus error of fields by index, where a simulated instrument knows it; else the middle map
            shows how far each focused field lies from a plane through all.
        path: of the PNG.

    Raises:
        FileError: if the picture cannot be written.
    """
    records, depth_of_field_um = fields.records, fields.header.depth_of_field_um
    figure = Figure(figsize=(14, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    surface, residual, verdicts = figure.subplots(1, 3)
    focused = [record for record in records if record.verdict == "focused"]
    z_um = np.array([record.stage_z_um for record in focused])
    _draw_map(figure, surface, fields, focused, z_um, "viridis", None, "Focus, z in µm")
    if errors_um:
        shown = [record for record in records if record.index in errors_um]
        values = np.array([errors_um[record.index] for record in shown])
        title = f"Error in µm; in focus within ±{depth_of_field_um / 2:.2f}"
    else:
        shown, values = focused, _plane_residual(focused)
        title = "Distance from a plane, µm"
    limit = max(depth_of_field_um, float(np.abs(values).max(initial=0.0)))
    _draw_map(figure, residual, fields, shown, values, "coolwarm", (-limit, limit), title)
    _draw_verdicts(verdicts, fields)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from error
    return path


def _rectangles(fields: FieldsFolder, records: list[FieldRecord]) -> list[Rectangle]:
    header = fields.header
    height_mm, width_mm = (n * header.pixel_size_um * (1 - header.overlap) / 1000 for n in header.frame_shape)
    return [
        Rectangle(
            (record.stage_x_um / 1000 - width_mm / 2, record.stage_y_um / 1000 - height_mm / 2), width_mm, height_mm
        )
        for record in records
    ]


def _frame(axes: Axes, fields: FieldsFolder, title: str) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("x, mm")
    axes.set_ylabel("y, mm")
    every = _rectangles(fields, fields.records)
    axes.set_xlim(min(r.get_x() for r in every), max(r.get_x() + r.get_width() for r in every))
    axes.set_ylim(max(r.get_y() + r.get_height() for r in every), min(r.get_y() for r in every))
    axes.set_aspect("equal")
    axes.set_facecolor("#f4f4f4")


def _draw_map(
    figure: Figure,
    axes: Axes,
    fields: FieldsFolder,
    records: list[FieldRecord],
    values: NDArray[np.float64],
    colours: str,
    limits: tuple[float, float] | None,
    title: str,
) -> None:
    _frame(axes, fields, title)
    if not records:
        axes.text(0.5, 0.5, "no field in focus", ha="center", va="center", transform=axes.transAxes)
        return
    patches = PatchCollection(_rectangles(fields, records), cmap=colours, edgecolor="white", linewidth=0.6)
    patches.set_array(values)
    if limits:
        patches.set_clim(*limits)
    axes.add_collection(patches)
    figure.colorbar(patches, ax=axes, shrink=0.85)


def _draw_verdicts(axes: Axes, fields: FieldsFolder) -> None:
    records = fields.records
    _frame(axes, fields, "Verdict and exposures")
    colours = [_VERDICT_COLOURS[record.verdict] for record in records]
    rectangles = _rectangles(fields, records)
    axes.add_collection(PatchCollection(rectangles, facecolor=colours, edgecolor="white", linewidth=0.6))
    if len(records) <= 200:  # beyond that the numbers would not be legible
        for record in records:
            place = (record.stage_x_um / 1000, record.stage_y_um / 1000)
            axes.annotate(str(record.images), place, ha="center", va="center", fontsize=8)
    counts = {verdict: sum(record.verdict == verdict for record in records) for verdict in _VERDICT_COLOURS}
    handles = [Patch(color=_VERDICT_COLOURS[verdict], label=f"{verdict}: {count}") for verdict, count in counts.items()]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False, fontsize=9)


def _plane_residual(records: list[FieldRecord]) -> NDArray[np.float64]:
    if not records:
        return np.zeros(0)
    place = np.array([(1.0, record.stage_x_um, record.stage_y_um) for record in records])
    z_um = np.array([record.stage_z_um for record in records])
    plane, *_ = np.linalg.lstsq(place, z_um, rcond=None)
    return np.asarray(z_um - place @ plane)
