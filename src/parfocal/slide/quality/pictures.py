"""Pictures of a slide's quality: where it is in focus, how its seams fit, what was covered, and how it looks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PatchCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from parfocal.slide.assembly import Assembly
from parfocal.slide.fields.records import Frame
from parfocal.slide.light.white import small_flat
from parfocal.slide.quality.resolution import AGREE, Resolution
from parfocal.slide.quality.system_tests import (
    LEAST_SHARP,
    MOST_RESIDUAL_PX,
    MOST_STEP_GREY,
    gaps,
    is_sharp,
    measured_steps,
    unvisited,
)

_OVERVIEW_PX = 900
_GREY, _UNKNOWN, _LINE = "#dcdcdc", "#f7f7f7", "#333333"
_COLOURS = {"tissue": "#2a7f9e", "empty": _GREY, "unsure or failed": "#e09f3e", "not visited": "#b3261e"}
_CHANNELS = (("red", "#b3261e", "-"), ("green", "#2b7a3d", "--"), ("blue", "#1f4e9c", ":"))


@dataclass(frozen=True)
class Panel:
    """One picture of the report.

    Attributes:
        name: for files and anchors.
        title: what it shows.
        caption: how to read it, and its figures, for those who cannot see it too.
        draw: draws it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Figure | SubFigure, Axes], None]


def panels(made: Assembly, resolution: Resolution) -> tuple[Panel, ...]:
    """The pictures of an assembled scan, in the order of the report. Frames are read for the overview.

    Raises:
        FileError: if a frame cannot be read.
    """
    rows = made.description.fields
    judged = [row for row in rows if row.score is not None]
    used = [seam.residual_px for seam in made.registration.seams if seam.accepted]
    picture = overview(made)
    doubt = f"{sum(not is_sharp(row) for row in judged)} of {len(judged)} judged fields count as out of focus."
    return (
        Panel(
            "overview",
            "The slide",
            "All fields in their places, small.",
            lambda _, axes: _overview(axes, made, picture),
        ),
        Panel(
            "focus",
            "Focus: probability of being out of focus",
            f"By field, from its neighbours and the focal surface. {doubt}",
            lambda figure, axes: _focus(figure, axes, made),
        ),
        Panel(
            "seams",
            "Stitching: residual of each seam",
            f"{len(used)} of {len(made.registration.seams)} seams used; thin grey: placed by the stage.",
            lambda figure, axes: _seams(figure, axes, made),
        ),
        Panel(
            "coverage",
            "Coverage of the plan",
            f"{len(unvisited(made))} planned fields beside tissue were not visited; {len(gaps(made))} gaps.",
            lambda _, axes: _coverage(axes, made),
        ),
        Panel(
            "colour",
            "Colour: brightness steps across seams",
            f"Share of seams by the size of their step, of each channel. The limit is {MOST_STEP_GREY:g} grey level.",
            lambda _, axes: _steps(axes, made),
        ),
        Panel(
            "resolution",
            "Resolution: what two exposures agree on",
            f"Correlation by fineness, over {resolution.patches} patches that two fields show.",
            lambda _, axes: _resolution(axes, resolution),
        ),
    )


def overview(made: Assembly, longest_px: int = _OVERVIEW_PX) -> Frame:
    """All fields in their places, at most `longest_px` px on the longer side: uint8 (Y, X, 3), white elsewhere.

    Raises:
        FileError: if a frame cannot be read.
    """
    fields, corners = made.fields, made.registration.mosaic_xy_px
    scale = min(1 / 8, longest_px / max(made.mosaic.shape))
    height, width = (max(1, math.ceil(length * scale)) for length in made.mosaic.shape)
    canvas = np.full((height, width, 3), 255, np.uint8)
    size = tuple(max(1, round(length * scale)) for length in fields.header.frame_shape[::-1])
    gain = np.asarray(made.light.white.gains) / small_flat(made.light.flat)
    for record, corner, own in zip(fields.records, corners, made.light.gains, strict=True):
        evened = np.clip(np.round(fields.small(record) * gain * own), 0, 255).astype(np.uint8)
        small = cv2.resize(evened, (size[0], size[1]), interpolation=cv2.INTER_AREA)
        x, y = (round(value * scale) for value in corner.tolist())
        part = canvas[y : y + size[1], x : x + size[0]]
        part[:] = small[: part.shape[0], : part.shape[1]]
    return canvas


def _mm(made: Assembly) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners (N, 2) and size (2,) of the fields in mm of the mosaic."""
    per_px = made.fields.header.pixel_size_um / 1000
    return made.registration.mosaic_xy_px * per_px, np.array(made.fields.header.frame_shape[::-1]) * per_px


def _rectangles(made: Assembly) -> list[Rectangle]:
    corners, size = _mm(made)
    inner = size * (1 - made.fields.header.overlap)
    return [Rectangle(tuple(corner + (size - inner) / 2), *inner) for corner in corners]


def _map(axes: Axes, made: Assembly) -> None:
    corners, size = _mm(made)
    width, height = (corners + size).max(axis=0)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xlabel="mm", ylabel="mm")
    axes.set_facecolor(_UNKNOWN)


def _overview(axes: Axes, made: Assembly, picture: Frame) -> None:
    corners, size = _mm(made)
    width, height = (corners + size).max(axis=0)
    axes.imshow(picture, extent=(0, width, height, 0), interpolation="antialiased")
    axes.set(xlabel="mm", ylabel="mm")


def _bar(figure: Figure | SubFigure, axes: Axes, drawn: Collection, label: str) -> None:
    figure.colorbar(drawn, ax=axes, label=label, shrink=0.85, extend="max" if "px" in label else "neither")


def _focus(figure: Figure | SubFigure, axes: Axes, made: Assembly) -> None:
    _map(axes, made)
    rows, rectangles = made.description.fields, _rectangles(made)
    for chosen, colour, hatch in (("empty", _GREY, ""), ("unsure", _COLOURS["unsure or failed"], "//")):
        verdicts = ("unsure", "failed") if chosen == "unsure" else ("empty",)
        patches = [one for one, row in zip(rectangles, rows, strict=True) if row.verdict in verdicts]
        axes.add_collection(PatchCollection(patches, facecolor=colour, edgecolor="white", hatch=hatch, linewidth=0.4))
    judged = [(one, row.score) for one, row in zip(rectangles, rows, strict=True) if row.score is not None]
    drawn = PatchCollection([one for one, _ in judged], cmap="cividis_r", edgecolor="white", linewidth=0.4)
    drawn.set_array(np.array([score for _, score in judged]))
    drawn.set_clim(0, 1)
    axes.add_collection(drawn)
    _bar(figure, axes, drawn, "probability")


def _seams(figure: Figure | SubFigure, axes: Axes, made: Assembly) -> None:
    _map(axes, made)
    axes.add_collection(PatchCollection(_rectangles(made), facecolor="white", edgecolor=_GREY, linewidth=0.5))
    corners, size = _mm(made)
    centres, seams = corners + size / 2, made.registration.seams
    loose = [(centres[seam.a], centres[seam.b]) for seam in seams if not seam.accepted]
    axes.add_collection(LineCollection(loose, colors="#9a9a9a", linewidths=0.6))
    used = [seam for seam in seams if seam.accepted]
    drawn = LineCollection([(centres[seam.a], centres[seam.b]) for seam in used], cmap="viridis", linewidths=2.2)
    drawn.set_array(np.array([seam.residual_px for seam in used]))
    drawn.set_clim(0, MOST_RESIDUAL_PX)
    axes.add_collection(drawn)
    _bar(figure, axes, drawn, "residual, px")


def _coverage(axes: Axes, made: Assembly) -> None:
    header, missing = made.fields.header, unvisited(made)
    kinds = {"focused": "tissue", "empty": "empty", "unsure": "unsure or failed", "failed": "unsure or failed"}
    cells = {(record.row, record.column): kinds[record.verdict] for record in made.fields.records}
    cells |= dict.fromkeys(missing, "not visited")
    axes.set(xlim=(-0.5, header.columns - 0.5), ylim=(header.rows - 0.5, -0.5), xlabel="column", ylabel="row")
    axes.set_aspect(header.frame_shape[0] / header.frame_shape[1])
    axes.set_facecolor(_UNKNOWN)
    for kind, colour in _COLOURS.items():
        patches = [Rectangle((column - 0.5, row - 0.5), 1, 1) for (row, column), own in cells.items() if own == kind]
        axes.add_collection(PatchCollection(patches, facecolor=colour, edgecolor="white", linewidth=0.4))
    counts = {kind: sum(own == kind for own in cells.values()) for kind in _COLOURS}
    handles = [Patch(color=colour, label=f"{kind}: {counts[kind]}") for kind, colour in _COLOURS.items()]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=8)


def _steps(axes: Axes, made: Assembly) -> None:
    steps = np.abs(measured_steps(made))
    axes.set(xlabel="step, grey levels", ylabel="share of seams", ylim=(0, 1.02))
    axes.axvline(MOST_STEP_GREY, color=_LINE, linewidth=1, linestyle=(0, (2, 2)))
    axes.text(MOST_STEP_GREY, 0.03, " limit", fontsize=8)
    if not len(steps):
        _say(axes, "no overlap to compare")
        return
    shares = (np.arange(len(steps)) + 1) / len(steps)
    for channel, (name, colour, style) in enumerate(_CHANNELS):
        values = np.sort(steps[:, channel])
        axes.step([0, *values], [0, *shares], where="post", color=colour, linestyle=style, label=name)
    axes.set_xlim(0, max(1.3 * MOST_STEP_GREY, float(np.percentile(steps, 99))))
    axes.legend(frameon=False, fontsize=8, loc="center right")


def _resolution(axes: Axes, seen: Resolution) -> None:
    axes.set(xlabel="periods per µm", ylabel="correlation", ylim=(-0.1, 1.05))
    if seen.finest_um is None:
        _say(axes, "too few overlaps with detail")
        return
    axes.plot(seen.per_um, seen.correlation, color=_COLOURS["tissue"])
    axes.axhline(AGREE, color=_LINE, linewidth=1, linestyle=(0, (2, 2)))
    axes.text(float(seen.per_um[0]), AGREE - 0.07, "agree down to 1/7", fontsize=8)
    axes.axvline(1 / seen.finest_um, color=_COLOURS["tissue"], linewidth=1)
    axes.axvline(1 / (LEAST_SHARP * seen.limit_um), color="#b3261e", linewidth=1, linestyle=(0, (2, 2)))
    axes.text(1 / (LEAST_SHARP * seen.limit_um), 0.97, "limit ", fontsize=8, color="#b3261e", ha="right")
    axes.text(1 / seen.finest_um, 0.86, f"{seen.finest_um:.2f} µm ", fontsize=8, ha="right")


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
