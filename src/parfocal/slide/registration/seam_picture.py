"""The seams of a scan in one picture: which were used, and by how much each misses the solved positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from parfocal.durable import written_aside
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.registration.seams import Registration

_WORST_PX = 1.0  # colours end here
_LONGEST_IN = 9.0
_TINTS = ("#e8eef4", "#f6e7d2", "#e2f0dc", "#f0e0ee", "#e6e6e6")
_LOOSE = "#ffffff"


def draw_seams(folder: FieldsFolder, registration: Registration, path: Path) -> None:
    """Draw fields and seams of a scan as a PNG.

    Args:
        folder: the scan.
        registration: where its fields lie.
        path: of the picture.

    Raises:
        FileError: if the picture cannot be written.
    """
    height, width = folder.header.frame_shape
    extent = registration.mosaic_xy_px.max(axis=0) + np.array([width, height])
    scale = _LONGEST_IN / max(extent)
    figure = Figure(
        figsize=(max(4.0, extent[0] * scale) + 1.5, max(2.5, extent[1] * scale) + 3.0), layout="constrained"
    )
    FigureCanvasAgg(figure)
    places, spread = figure.subplots(2, 1, height_ratios=(max(2.5, extent[1] * scale), 1.6))
    _draw_fields(places, registration, width, height)
    drawn = _draw_used(places, registration, width, height)
    figure.colorbar(drawn, ax=places, label="residual, px", extend="max", shrink=0.8)
    places.set(xlim=(0, extent[0]), ylim=(extent[1], 0), aspect="equal", xlabel="px", ylabel="px")
    used = [seam.residual_px for seam in registration.seams if seam.accepted]
    places.set_title(
        f"{len(used)} of {len(registration.seams)} seams used; tinted alike: tied together; white: by the stage alone",
        fontsize=9,
    )
    pixel_um = folder.header.pixel_size_um
    spread.hist(used, bins=np.linspace(0, max([_WORST_PX / 4, *used]), 41), color="#457b9d")
    spread.set(xlabel="residual of a seam, px", ylabel="seams")
    spread.secondary_xaxis("top", functions=(lambda px: px * pixel_um, lambda um: um / pixel_um)).set_xlabel("µm")
    with written_aside(path) as part:
        figure.savefig(part, dpi=100, format="png", metadata={"Software": None})


def _draw_fields(axes: Axes, registration: Registration, width: int, height: int) -> None:
    islands, counts = registration.islands, np.bincount(registration.islands)
    boxes = [Rectangle((x, y), width, height) for x, y in registration.mosaic_xy_px]
    tints = [_TINTS[island % len(_TINTS)] if counts[island] > 1 else _LOOSE for island in islands]
    fields = PatchCollection(boxes, facecolor=tints, edgecolor="#b8b8b8", linewidth=0.5)
    axes.add_collection(fields)


def _draw_used(axes: Axes, registration: Registration, width: int, height: int) -> LineCollection:
    """Each seam as a stroke along the middle of its overlap; one that was not used is dotted."""
    strokes = [_stroke(registration, seam.a, seam.b, width, height) for seam in registration.seams]
    used = [seam.accepted for seam in registration.seams]
    unused = [stroke for stroke, is_used in zip(strokes, used, strict=True) if not is_used]
    axes.add_collection(LineCollection(unused, colors="#999999", linewidths=1, linestyles="dotted"))
    drawn = LineCollection(
        [stroke for stroke, is_used in zip(strokes, used, strict=True) if is_used],
        cmap="viridis_r",
        linewidths=3,
        array=[seam.residual_px for seam in registration.seams if seam.accepted],
        clim=(0, _WORST_PX),
    )
    axes.add_collection(drawn)
    return drawn


def _stroke(registration: Registration, a: int, b: int, width: int, height: int) -> list[tuple[float, float]]:
    """Ends of the middle line of two fields' overlap, a little short of its corners."""
    low = np.maximum(registration.mosaic_xy_px[a], registration.mosaic_xy_px[b])
    high = np.minimum(registration.mosaic_xy_px[a], registration.mosaic_xy_px[b]) + np.array([width, height])
    middle, half = (low + high) / 2, 0.42 * (high - low)
    along = np.array([half[0], 0.0]) if half[0] > half[1] else np.array([0.0, half[1]])
    ends = middle - along, middle + along
    return [(float(x), float(y)) for x, y in ends]
