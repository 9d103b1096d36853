"""A calibration from the first step to the last: goes to a place that shows something, finds the focus, measures."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from parfocal.devices.approach import GuardedZ, lamp_lit
from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.errors import InstrumentError
from parfocal.focus.predictor import Predictor, flattened_sd
from parfocal.focus.search import SweepResult, initial_focus
from parfocal.scan.calibration import pictures
from parfocal.scan.calibration.figures import (
    BacklashFigures,
    Figures,
    LightFigures,
    SettleFigures,
    Spread,
    StageFigures,
    StartFigures,
)
from parfocal.scan.calibration.light import measure_illumination, measure_noise, optical_figures
from parfocal.scan.calibration.progress import OnProgress, silent
from parfocal.scan.calibration.record import StepName
from parfocal.scan.calibration.settle import measure_settling
from parfocal.scan.calibration.stage_map import stops_needed
from parfocal.scan.calibration.stage_moves import StagePlan, measure_stage
from parfocal.scan.calibration.start import choose_start, judge_pairs, make_card
from parfocal.scan.calibration.z_backlash import BacklashPlan, measure_z_backlash
from parfocal.scan.settings import ScanSettings

_RICH = 3.0  # times the empty level: a place that shows enough
_LOOKS = (0, 1, -1, 2, -2)
_LOOK_STEP = 1.5  # of a frame's longer side
_SWEEPS_AT_MOST = 3
_RUN_UP_UM = 200.0  # below a place before it is reached: more than any x-y slack
_SWEEP_STEP_UM = 2.0
_LIGHT_FIELDS = (4, 3)
_NOISE_PAIRS = 3
_NOISE_ABOVE_UM = 20.0
_CARD_FIELDS = 3
_THOUSANDTH = 0.001


@dataclass(frozen=True)
class CalibrationPlan:
    """How much a calibration measures.

    Attributes:
        repeats: pairs of sweeps for the z backlash.
        stage: lines and reversals of the x-y stage.
    """

    repeats: int = 10
    stage: StagePlan = field(default_factory=StagePlan)


@dataclass(frozen=True)
class StepResult:
    """One step's outcome.

    Attributes:
        name: of the step.
        figures: what goes into the file.
        settings: how it was measured, as JSON values.
        images: exposures, those of finding a place included in the first step that needed one.
        draw: draws its picture; None where there is nothing to see.
    """

    name: StepName
    figures: Figures
    settings: dict[str, Any]
    images: int
    draw: pictures.Draw | None


def run_steps(
    microscope: Microscope,
    settings: ScanSettings,
    predictor: Callable[[], Predictor],
    steps: Sequence[StepName],
    plan: CalibrationPlan,
    on_progress: OnProgress = silent,
) -> Generator[StepResult]:
    """Run steps one after the other. The lamp is off once the iterator is used up or closed, whatever happens.

    Args:
        microscope: the instrument.
        settings: how it is set up so far; its z limits hold throughout.
        predictor: makes the predictor, for the steps noise and start.
        steps: in this order.
        plan: how much is measured.
        on_progress: called with the step, how much of it is done, of how much.

    Raises:
        InstrumentError: if no place shows anything, or a step cannot be measured.
        LimitError: if a step would leave a limit, before the move that would.
    """
    bench = _Bench(microscope, settings, predictor, plan, on_progress)
    with lamp_lit(microscope.lamp):
        for step in steps:
            before = bench.images
            figures, values, draw = bench.run(step)
            yield StepResult(step, figures, values, bench.images - before, draw)


_Outcome = tuple[Figures, dict[str, Any], pictures.Draw | None]


class _Bench:
    """The instrument under calibration: where there is specimen, where its focus is, how many exposures it took."""

    def __init__(
        self,
        microscope: Microscope,
        settings: ScanSettings,
        predictor: Callable[[], Predictor],
        plan: CalibrationPlan,
        on_progress: OnProgress,
    ) -> None:
        self._microscope = microscope
        self._settings = settings
        self._predictor = predictor
        self._plan = plan
        self._on_progress = on_progress
        self._z = GuardedZ(microscope.z, microscope.clock, settings.approach, settings.limits)
        rows, columns = microscope.camera.frame_shape
        pixel_um = microscope.camera.pixel_size_um
        self._frame_um = (columns * pixel_um, rows * pixel_um)
        self._place_um: tuple[float, float] | None = None
        self.images = 0

    def run(self, step: StepName) -> _Outcome:
        """Measure one step."""
        measures: dict[StepName, Callable[[], _Outcome]] = {
            "backlash": self._backlash,
            "stage": self._stage,
            "settle": self._settle,
            "optics": self._optics,
            "light": self._light,
            "noise": self._noise,
            "start": self._start,
        }
        return measures[step]()

    def _backlash(self) -> _Outcome:
        plan = BacklashPlan.for_depth(self._microscope.depth_of_field_um, self._plan.repeats)
        _, sweep = self._focus()
        measured = measure_z_backlash(self._microscope, self._z, sweep, plan, partial(self._on_progress, "backlash"))
        self.images += measured.images
        figures = BacklashFigures(
            backlash_um=Spread.of(measured.slack),
            shifts_um=measured.slack.shifts_um,
            plateau=measured.plateau.verdict,
            plateau_travel_um=measured.plateau.travel_um,
            plateau_moved_um=measured.plateau.moved_um,
            planes=len(measured.up[0].z_um),
            step_um=plan.step_um,
        )
        return figures, asdict(plan), partial(pictures.draw_backlash, measured=measured)

    def _stage(self) -> _Outcome:
        place_um, plan = self._in_focus(), self._plan.stage
        measured = measure_stage(self._microscope, place_um, plan, partial(self._on_progress, "stage"))
        self.images += measured.images
        found, (back_x, back_y) = measured.stage_map, measured.backlash
        figures = StageFigures(
            xy_backlash_um=(Spread.of(back_x), Spread.of(back_y)),
            px_per_um=found.matrix,
            pixel_um=found.pixel_um,
            pixel_size_um=found.pixel_size_um,
            pixel_size_error=found.error,
            rotation_deg=found.rotation_deg,
            shear_deg=found.shear_deg,
            stage_error_um=found.stage_error_um,
            neighbour_error_um=measured.neighbour_error_um,
            stops=found.stops,
            stops_for_a_thousandth=stops_needed(max(found.stage_error_um, 1e-3), plan.length_um, _THOUSANDTH),
            length_um=plan.length_um,
        )
        return figures, asdict(plan), partial(pictures.draw_stage, measured=measured)

    def _settle(self) -> _Outcome:
        self._in_focus()
        settling = measure_settling(self._microscope, partial(self._on_progress, "settle"))
        self.images += settling.images
        figures = SettleFigures(settle_s=settling.settle_s, times_s=settling.times_s, differences=settling.differences)
        return figures, {}, partial(pictures.draw_settling, settling=settling)

    def _optics(self) -> _Outcome:
        return optical_figures(self._microscope.objective, self._microscope.sensor_pixel_um), {}, None

    def _light(self) -> _Outcome:
        x_um, y_um = self._place_um or self._microscope.xy.position_um
        columns, rows = _LIGHT_FIELDS
        frames = []
        for index in range(columns * rows):
            row, column = divmod(index, columns)
            right_um = (column - (columns - 1) / 2) * self._frame_um[0]
            down_um = (row - (rows - 1) / 2) * self._frame_um[1]
            frames.append(self._look(x_um + right_um, y_um + down_um))
            self._on_progress("light", index + 1, columns * rows)
        light = measure_illumination(frames)
        figures = LightFigures(
            flat=light.grid(),
            corner=light.corner,
            white=light.white,
            gains=light.gains,
            saturated=light.saturated,
            frames=len(frames),
        )
        return figures, {}, partial(pictures.draw_light, light=light)

    def _noise(self) -> _Outcome:
        self._focus()
        above_um = min(self._z.position_um + _NOISE_ABOVE_UM, self._z.highest_um)
        self._z.move_to(above_um)
        pairs = [(self._snap(), self._snap()) for _ in range(_NOISE_PAIRS)]
        return measure_noise(pairs, self._predictor()), {"pairs": _NOISE_PAIRS}, None

    def _start(self) -> _Outcome:
        (x_um, y_um), sweep = self._focus()
        predictor, approach = self._predictor(), self._settings.approach
        judged_um: list[tuple[float, float]] = []
        for index in range(_CARD_FIELDS):
            self._look(x_um + index * self._frame_um[0], y_um)

            def on_step(done: int, total: int, before: int = index) -> None:
                self.images += 1
                self._on_progress("start", before * total + done, _CARD_FIELDS * total)

            judged_um += judge_pairs(self._microscope, self._z, predictor, sweep.z_um, on_step)
        card = make_card(judged_um, approach.delta_um / 2)
        start = choose_start(card, approach.delta_um, self._settings.focus.return_within_um)
        figures = StartFigures(
            start_below_um=start.start_below_um,
            expected_error_um=start.error_um,
            defocus_um=card.defocus_um,
            error_um=card.error_um,
            pairs=len(judged_um),
        )
        draw = partial(pictures.draw_start, card=card, start=start, delta_um=approach.delta_um)
        return figures, {"delta_um": approach.delta_um, "fields": _CARD_FIELDS}, draw

    def _focus(self) -> tuple[tuple[float, float], SweepResult]:
        """A place that shows something, looked for once, and the sweep there. The stage stays at the sweep's top."""
        places = [self._place_um] if self._place_um else self._promising()
        sweep_settings = replace(
            self._settings.sweep, merit="tenengrad", step_um=min(self._settings.sweep.step_um, _SWEEP_STEP_UM)
        )
        reason = "nothing was tried"
        for place_um in places[:_SWEEPS_AT_MOST]:
            self._arrive(*place_um)
            sweep = initial_focus(self._microscope, self._z, sweep_settings)
            self.images += sweep.images
            if sweep.verdict == "found":
                self._place_um = place_um
                return place_um, sweep
            reason = sweep.reason
        raise InstrumentError(f"no focus found, and a calibration needs one: {reason}")

    def _in_focus(self) -> tuple[float, float]:
        """The place, with its focus reached from below."""
        place_um, sweep = self._focus()
        self._z.approach_from_below(sweep.z_um)
        return place_um

    def _promising(self) -> list[tuple[float, float]]:
        """Places around where the stage stands, richest first; looking ends at one that is rich enough."""
        x_um, y_um = self._microscope.xy.position_um
        step_um = _LOOK_STEP * max(self._frame_um)
        seen: list[tuple[float, tuple[float, float]]] = []
        for row in _LOOKS:
            for column in _LOOKS:
                place_um = (x_um + column * step_um, y_um + row * step_um)
                contrast = flattened_sd(np.ascontiguousarray(self._look(*place_um)))
                seen.append((contrast, place_um))
                if contrast >= _RICH * self._settings.focus.empty_sd:
                    return [place_um, *(place for _, place in sorted(seen[:-1], reverse=True))]
        return [place for _, place in sorted(seen, reverse=True)]

    def _look(self, x_um: float, y_um: float) -> Frame:
        self._arrive(x_um, y_um)
        return self._snap()

    def _arrive(self, x_um: float, y_um: float) -> None:
        """Reach a place from below along both axes, so that it is the same place every time."""
        self._microscope.xy.move_to(x_um - _RUN_UP_UM, y_um - _RUN_UP_UM)
        self._microscope.xy.move_to(x_um, y_um)

    def _snap(self) -> Frame:
        self.images += 1
        return self._microscope.camera.snap()
