"""Stage against camera: the moves and exposures. `stage_map` does the arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.errors import InstrumentError, SettingsError
from parfocal.scan.calibration.curves import Slack
from parfocal.scan.calibration.progress import OnStep, silent
from parfocal.scan.calibration.stage_map import StageMap, Stop, fit_stage_map
from parfocal.slide.registration.translation import measure_translation

_LEAST_QUALITY = 0.5
_SEARCH_SHARE = 0.15  # of a step: a camera turned by 8°, or a pixel size that is off by as much
_SEARCH_UM = 20.0  # and what the stage itself may be off by
_LARGEST_SLACK_SHARE = 0.5  # of a frame's shorter side: the rest must still overlap


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """How stage and camera are measured against each other.

    Attributes:
        length_um: of the lines along x and along y, in µm.
        passes: how often each line is gone along.
        overlap: of neighbouring frames.
        reversals: pairs of arrivals from either side, for the backlash.

    Raises:
        SettingsError: if a value is out of range.
    """

    length_um: float = 4000.0
    passes: int = 2
    overlap: float = 0.4
    reversals: int = 6

    def __post_init__(self) -> None:
        if not self.length_um > 0 or self.passes < 1 or self.reversals < 1 or not 0.2 <= self.overlap <= 0.8:
            raise SettingsError(
                f"lines of {self.length_um:g} µm, {self.passes} passes, {self.reversals} reversals or an overlap of "
                f"{self.overlap:g} cannot be measured: above 0, 1 or more, 0.2 … 0.8"
            )


@dataclass(frozen=True)
class StageMeasurement:
    """Stage and camera.

    Attributes:
        stage_map: pixel size, rotation, and the stage's own error.
        backlash: of x and of y.
        neighbour_error_um: standard deviation of the distance of two neighbouring stops along an axis, in µm.
        runs: the stops.
        images: exposures.
    """

    stage_map: StageMap
    backlash: tuple[Slack, Slack]
    neighbour_error_um: float
    runs: tuple[tuple[Stop, ...], ...]
    images: int


def measure_stage(
    microscope: Microscope, centre_um: tuple[float, float], plan: StagePlan, on_step: OnStep = silent
) -> StageMeasurement:
    """Go along two lines through a place and back and forth at it. The caller lights the lamp, near the focus.

    Along the lines every stop is reached upwards, so no slack is in them; neighbouring frames overlap and are chained.
    For the backlash the place itself is reached from below and from above along both axes at once. The pictures need
    not be sharp: at 12 µm of defocus links are as good.

    Args:
        microscope: camera and x-y stage are used.
        centre_um: the place in stage µm, with specimen around it.
        plan: lines and repeats.
        on_step: called after each exposure with how many are done, of how many.

    Raises:
        LimitError: if the lines would leave the stage's limits, before the move that would.
        InstrumentError: if too few neighbouring pictures can be linked.
    """
    walk = _Walk(microscope, plan, on_step)
    runs = [run for _ in range(plan.passes) for axis in (0, 1) for run in walk.line(centre_um, axis)]
    stage_map = fit_stage_map(runs)
    shifts_um = [walk.reversal(centre_um, turn % 2 == 0, stage_map) for turn in range(plan.reversals)]
    backlash = Slack(tuple(x for x, _ in shifts_um)), Slack(tuple(y for _, y in shifts_um))
    return StageMeasurement(
        stage_map, backlash, _neighbour_error(runs, stage_map), tuple(tuple(run) for run in runs), walk.images
    )


class _Walk:
    """Moves, exposures and links between them."""

    def __init__(self, microscope: Microscope, plan: StagePlan, on_step: OnStep) -> None:
        self._microscope = microscope
        self._plan = plan
        self._on_step = on_step
        self._pixel_um = microscope.camera.pixel_size_um
        rows, columns = microscope.camera.frame_shape
        self._frame_um = (columns * self._pixel_um, rows * self._pixel_um)
        self._largest_um = _LARGEST_SLACK_SHARE * min(self._frame_um)
        self._stops = [math.ceil(plan.length_um / (side * (1 - plan.overlap))) + 1 for side in self._frame_um]
        self.images = 0
        self._total = plan.passes * sum(self._stops) + 2 * plan.reversals

    def line(self, centre_um: tuple[float, float], axis: int) -> list[list[Stop]]:
        """Runs of linked stops along an axis, rising all the way."""
        step_um = self._frame_um[axis] * (1 - self._plan.overlap)
        first_um = centre_um[axis] - (self._stops[axis] - 1) / 2 * step_um
        self._go(_placed(centre_um, axis, first_um - self._largest_um))
        runs: list[list[Stop]] = []
        last: tuple[Frame, Stop] | None = None
        for index in range(self._stops[axis]):
            stage_um = _placed(centre_um, axis, first_um + index * step_um)
            self._go(stage_um)
            frame = self._snap()
            stop = None if last is None else self._linked(*last, frame, stage_um)
            if stop is None:
                stop = Stop(stage_um, (0.0, 0.0))
                runs.append([])
            runs[-1].append(stop)
            last = frame, stop
        return runs

    def reversal(
        self, place_um: tuple[float, float], from_below_first: bool, stage_map: StageMap
    ) -> tuple[float, float]:
        """How much higher (x, y) the slide stands after coming from above than from below, in µm."""
        frames = {}
        for from_below in (from_below_first, not from_below_first):
            way_um = -2 * self._largest_um if from_below else 2 * self._largest_um
            self._go((place_um[0] + way_um, place_um[1] + way_um))
            self._go(place_um)
            frames[from_below] = self._snap()
        middle_px = self._largest_um / 2 / self._pixel_um
        reach_px = middle_px + _SEARCH_UM / self._pixel_um
        found = measure_translation(_grey(frames[True]), _grey(frames[False]), (middle_px, middle_px), reach_px)
        if found is None or found.quality < _LEAST_QUALITY:
            raise InstrumentError(
                f"pictures taken at one place from either side do not match: no specimen there, or more than "
                f"{self._largest_um:.0f} µm of x-y backlash"
            )
        return stage_map.to_um((found.dx, found.dy))

    def _linked(self, before: Frame, stop: Stop, frame: Frame, stage_um: tuple[float, float]) -> Stop | None:
        """The next stop of a run; None where the pictures do not match."""
        way_px = [(b - a) / self._pixel_um for a, b in zip(stop.stage_um, stage_um, strict=True)]
        search_px = _SEARCH_SHARE * max(map(abs, way_px)) + _SEARCH_UM / self._pixel_um
        found = measure_translation(_grey(before), _grey(frame), (way_px[0], way_px[1]), search_px)
        if found is None or found.quality < _LEAST_QUALITY:
            return None
        return Stop(stage_um, (stop.picture_px[0] + found.dx, stop.picture_px[1] + found.dy))

    def _go(self, place_um: tuple[float, float]) -> None:
        self._microscope.xy.move_to(*place_um)

    def _snap(self) -> Frame:
        self.images += 1
        frame = self._microscope.camera.snap()
        self._on_step(self.images, self._total)
        return frame


def _placed(centre_um: tuple[float, float], axis: int, along_um: float) -> tuple[float, float]:
    return (along_um, centre_um[1]) if axis == 0 else (centre_um[0], along_um)


def _grey(frame: Frame) -> NDArray[np.uint8]:
    return np.ascontiguousarray(frame[..., 1])


def _neighbour_error(runs: list[list[Stop]], stage_map: StageMap) -> float:
    """Standard deviation in µm of the distance of neighbours from what the map says, along the axis that moved."""
    off_um = []
    for run in runs:
        for before, after in pairwise(run):
            way_um = np.subtract(after.stage_um, before.stage_um)
            seen_um = stage_map.to_um(
                (after.picture_px[0] - before.picture_px[0], after.picture_px[1] - before.picture_px[1])
            )
            off_um.append(float((seen_um - way_um)[int(np.argmax(np.abs(way_um)))]))
    return float(np.sqrt(np.mean(np.square(off_um))))
