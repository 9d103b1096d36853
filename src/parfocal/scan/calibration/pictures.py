"""One picture for each step of a calibration, to be understood at a glance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from parfocal.errors import FileError
from parfocal.scan.calibration.curves import FocusCurve, Plateau
from parfocal.scan.calibration.light import Illumination
from parfocal.scan.calibration.settle import Settling
from parfocal.scan.calibration.stage_moves import StageMeasurement
from parfocal.scan.calibration.start import Card, Start
from parfocal.scan.calibration.z_backlash import BacklashMeasurement

Draw = Callable[[Figure], None]

_UP, _DOWN, _ACCENT = "#2a9d8f", "#d1495b", "#30638e"


def save_picture(draw: Draw, path: Path) -> Path:
    """Draw a step into a PNG. Raises FileError if it cannot be written."""
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from error
    return path


def draw_backlash(figure: Figure, measured: BacklashMeasurement) -> None:
    """Curves as commanded; the downward ones moved by the slack; the slack of each pair; the plateau."""
    slack_um = measured.slack.mean_um
    commanded, matched, pairs, plateau = figure.subplots(1, 4)
    for axes, shift_um, title in ((commanded, 0.0, "As commanded"), (matched, slack_um, "Down, moved by the slack")):
        for curves, colour, name, moved_um in (
            (measured.up, _UP, "up", 0.0),
            (measured.down, _DOWN, "down", shift_um),
        ):
            for index, curve in enumerate(curves):
                label = name if index == 0 else None
                axes.plot(_moved(curve, moved_um), curve.log_merit, ".-", color=colour, lw=0.7, ms=4, label=label)
        axes.set(title=title, xlabel="z, µm", ylabel="ln (Tenengrad / mean²)")
        axes.legend(frameon=False)
    pairs.plot(np.arange(1, len(measured.slack.shifts_um) + 1), measured.slack.shifts_um, "o", color=_ACCENT)
    pairs.axhline(slack_um, color=_ACCENT, lw=1)
    title = f"Backlash {slack_um:.2f} ± {measured.slack.sd_um:.2f} µm"
    pairs.set(title=title, xlabel="pair of sweeps", ylabel="slack, µm")
    _draw_plateau(plateau, measured.plateau, slack_um)


def _moved(curve: FocusCurve, shift_um: float) -> list[float]:
    return [z_um + shift_um for z_um in curve.z_um]


def _draw_plateau(axes: Axes, plateau: Plateau, slack_um: float) -> None:
    if plateau.travel_um:
        travel = np.linspace(0, max(plateau.travel_um), 100)
        axes.plot(travel, np.maximum(0, travel - slack_um), "-", color="grey", label="play")
        elastic = travel - slack_um * (1 - np.exp(-travel / slack_um))
        axes.plot(travel, elastic, "--", color="grey", label="hysteresis")
        axes.plot(plateau.travel_um, plateau.moved_um, "o", color=_DOWN, label="seen")
        axes.legend(frameon=False)
    axes.set(title=f"After a reversal: {plateau.verdict}", xlabel="commanded travel, µm", ylabel="motion seen, µm")


def draw_stage(figure: Figure, measured: StageMeasurement) -> None:
    """How far each stop lies from the map along x and along y, and the backlash of each reversal."""
    along_x, along_y, backlash = figure.subplots(1, 3)
    for axes, axis, name in ((along_x, 0, "x"), (along_y, 1, "y")):
        for run in measured.runs:
            stage_um = np.array([stop.stage_um for stop in run])
            if len(run) < 3 or np.ptp(stage_um[:, axis]) == 0:
                continue
            seen_um = np.array([measured.stage_map.to_um(stop.picture_px) for stop in run])
            off_um = (seen_um - stage_um)[:, axis]
            axes.plot(stage_um[:, axis] / 1000, off_um - off_um.mean(), ".-", lw=0.7)
        axes.set(title=f"Stops along {name} against the map", xlabel=f"{name}, mm", ylabel="µm")
    for slack, colour, name in zip(measured.backlash, (_ACCENT, _DOWN), "xy", strict=True):
        label = f"{name}: {slack.mean_um:.1f} ± {slack.sd_um:.1f} µm"
        backlash.plot(np.arange(1, len(slack.shifts_um) + 1), slack.shifts_um, "o", color=colour, label=label)
    backlash.set(title="Backlash of x and y", xlabel="reversal", ylabel="µm")
    backlash.legend(frameon=False)


def draw_settling(figure: Figure, settling: Settling) -> None:
    """How much the picture differs from the last of its burst, over the time since the move."""
    axes = figure.subplots()
    axes.plot(1000 * np.array(settling.times_s), settling.differences, "o-", color=_ACCENT)
    found = "never still" if settling.settle_s is None else f"still after {1000 * settling.settle_s:.0f} ms"
    axes.set(title=f"After a move: {found}", xlabel="ms", ylabel="difference from the last frame, grey levels")
    axes.set_ylim(bottom=0)


def draw_light(figure: Figure, light: Illumination) -> None:
    """Relative illumination of each channel."""
    for channel, (axes, name) in enumerate(zip(figure.subplots(1, 3), ("Red", "Green", "Blue"), strict=True)):
        picture = axes.imshow(light.flat[::4, ::4, channel], cmap="viridis")
        axes.set(
            title=f"{name}: white {light.white[channel]:.0f}, corners {light.corner[channel]:.0%}", xticks=[], yticks=[]
        )
        figure.colorbar(picture, ax=axes, shrink=0.8)


def draw_start(figure: Figure, card: Card, start: Start, delta_um: float) -> None:
    """The network's error over the defocus of the second image, and where a pair that begins at z1 has it."""
    axes = figure.subplots()
    axes.plot(card.defocus_um, card.error_um, "o-", color=_ACCENT)
    second_um = delta_um - start.start_below_um
    axes.axvline(second_um, color=_DOWN, label=f"second image of a pair that begins {start.start_below_um:g} µm below")
    axes.set(title="Error of the network here", xlabel="defocus of the second image, µm", ylabel="mean |error|, µm")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
