"""The scan itself: visit the planned fields, focus each, hand the kept frames over, take doubtful ones again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from parfocal.devices.approach import GuardedZ, lamp_lit
from parfocal.devices.base import Camera, Frame, Truth
from parfocal.devices.microscope import Microscope
from parfocal.devices.sideways import CompensatedXY
from parfocal.errors import InstrumentError, ScanStoppedError, SettingsError
from parfocal.focus.controller import within_budget
from parfocal.focus.decision import FLOOR_FACTOR, FocusSettings
from parfocal.focus.field import Eyes, Field, Shot, eyes_of
from parfocal.focus.kept import Judgement, KeptFrames
from parfocal.focus.policies import FieldPolicy, Visit, make_policy
from parfocal.focus.predictor import Predictor
from parfocal.focus.result import FocusResult
from parfocal.focus.search import SweepResult, initial_focus
from parfocal.focus.surface import Expectation, FocusSurface
from parfocal.focus.unfocused import Unfocused
from parfocal.scan.calibration import CHECK_IMAGES, check_backlash
from parfocal.scan.plan import PlannedField, ScanPlan
from parfocal.scan.settings import ScanSettings
from parfocal.scan.tissue import TissueMap
from parfocal.slide.fields import FieldsFolder
from parfocal.slide.records import FieldRecord

MOST_OUT, MOST_OUT_MEASURED = 0.4, 0.6
"""Probability of being out of focus from which a kept frame is taken again; where the focus was measured, by images of
its own, neighbours must be surer to overrule it."""

LEAST_LIKE = 2.0
"""By how much ln sharpness of a single image may lie below the usual: less than a seventh of the slide's detail lies in
its centre, which may have a focus of its own."""

BORDER_SPARE = 0.06
"""Share of the frame's side by which neighbours may share more than planned."""

_SWEEPS_AT_MOST = 4
_RICH_FIELDS = 3
_SWEEP_SD_UM = 1.0
_HEARSAY_SD_UM = 0.3  # beside what a comparison itself leaves open: neighbours share their errors
_TELLS = 0.85  # share of its deviation that a comparison must leave at most, to be learnt from
_RESCANS = 2  # rounds: a field taken again can put its neighbour in doubt
_COUNT_EVERY = 20  # fields: how often those still worth a visit are counted


@dataclass(frozen=True)
class ScanProgress:
    """How far a scan is.

    Attributes:
        fields_done: fields with a verdict.
        fields: fields worth a visit, as far as is known; they may become more.
        images: exposures so far, sweeps included.
        in_doubt: fields so far that are unsure or failed.
    """

    fields_done: int
    fields: int
    images: int
    in_doubt: int


@dataclass(frozen=True)
class ScanSummary:
    """What a finished scan says about itself.

    Attributes:
        images: all exposures.
        modelled_time_s: instrument time from the first move to the last frame.
        sweep: how the initial focal plane was found.
        policy: how fields were focused.
        rescanned: fields that were taken again at the end.
        judgements: by field index, what is believed about the frame that was kept; none where nothing was asked.
        in_doubt: fields that are unsure, failed or probably out of focus after all.
    """

    images: int
    modelled_time_s: float
    sweep: SweepResult
    policy: str
    rescanned: tuple[int, ...]
    judgements: dict[int, Judgement]
    in_doubt: tuple[int, ...]


class FieldSink(Protocol):
    """Takes what a scan hands over (`slide.fields.FieldsWriter`)."""

    def put(self, record: FieldRecord, frame: Frame) -> None:
        """One field and its kept frame."""


OnField = Callable[[FieldRecord, ScanProgress], None]


def scan_fields(
    microscope: Microscope,
    settings: ScanSettings,
    predictor: Predictor,
    plan: ScanPlan,
    writer: FieldSink,
    on_field: OnField,
    truth: Truth | None = None,
) -> ScanSummary:
    """Scan the planned fields (paper, section 4.3). The lamp is off afterwards, whatever happens.

    Sparse fields are visited first and show where the tissue is and how the slide lies; then the tissue and its border;
    then, once more, the fields whose frame is in doubt.

    Args:
        microscope: the instrument.
        settings: how it focuses.
        predictor: defocus from pairs of frames.
        plan: fields in the order of the visit.
        writer: takes each field's record and kept frame.
        on_field: called after each field.
        truth: of a simulated instrument; it is only written down.

    Raises:
        SettingsError: if the stage's slack is larger than it is set up for; nothing was scanned.
        ScanStoppedError: if the instrument fails or the scan is interrupted; the fields so far are kept.
        FileError: if the folder cannot be written any more.
    """
    border = plan.overlap + BORDER_SPARE
    run = ScanRun(microscope, settings, eyes_of(microscope, predictor, border), plan, truth)
    try:
        with lamp_lit(microscope.lamp):
            sweep = run.find_focus()
            for record, frame in run.fields():
                writer.put(record, frame)
                on_field(record, run.progress())
    except InstrumentError as error:
        raise ScanStoppedError(f"stopped after {run.fields_done} of {len(plan)} fields: {error}") from error
    except KeyboardInterrupt as error:
        raise ScanStoppedError(f"interrupted after {run.fields_done} of {len(plan)} fields") from error
    return run.summary(sweep)


class ScanRun:
    """The state of one scan: where the focus is, what was kept, how much was done.

    Args:
        microscope: the instrument; its lamp is lit by the caller.
        settings: how it focuses.
        eyes: what looks at the frames.
        plan: all fields.
        truth: of a simulated instrument; it is only written down.
    """

    def __init__(
        self, microscope: Microscope, settings: ScanSettings, eyes: Eyes, plan: ScanPlan, truth: Truth | None = None
    ) -> None:
        self._began_s = microscope.clock.now_s
        self._witness = None if truth is None else _Witness(microscope.camera, truth)
        self._microscope = replace(microscope, camera=self._witness) if self._witness else microscope
        self._settings = settings
        self._eyes = eyes
        self._plan = plan
        self._policy = self._make_policy(settings.focus)
        self._xy = CompensatedXY(microscope.xy, settings.xy_backlash_um)
        self._z = GuardedZ(microscope.z, microscope.clock, self._policy.approach, settings.limits)
        self._tissue = TissueMap(plan, settings.everywhere)
        self._surface = FocusSurface(0.0, self._pitch_um)
        self._kept = KeptFrames(
            eyes.sharpness,
            (plan.step_um[0] / microscope.camera.pixel_size_um, plan.step_um[1] / microscope.camera.pixel_size_um),
            microscope.objective.canonical_z_um,
            microscope.depth_of_field_um,
            settings.arrival_error_um,
        )
        self._last_um = 0.0
        self._asked: tuple[Shot, Judgement] | None = None
        self._think: Callable[[], None] | None = None
        self._doubt_ahead = False
        self._verdicts: dict[int, str] = {}
        self._wanted = len(plan)
        self._attempts: dict[int, int] = {}
        self._rescanned: list[int] = []
        self._judgements: dict[int, Judgement] = {}
        self._measured_ones: set[int] = set()
        self._centres: dict[int, float] = {}
        self.images = 0

    @property
    def fields_done(self) -> int:
        """Fields with a verdict."""
        return len(self._verdicts)

    @property
    def rescanned(self) -> tuple[int, ...]:
        """Fields that were taken again."""
        return tuple(self._rescanned)

    @property
    def judgements(self) -> dict[int, Judgement]:
        """What is believed about kept frames, by field index; none before the end."""
        return dict(self._judgements)

    @property
    def in_doubt(self) -> tuple[int, ...]:
        """Fields that are unsure, failed or probably out of focus, as far as is known."""
        return tuple(field.index for field in self._doubtful())

    def progress(self) -> ScanProgress:
        """How far it is."""
        in_doubt = sum(verdict in ("unsure", "failed") for verdict in self._verdicts.values())
        if self.fields_done % _COUNT_EVERY == 0:
            self._wanted = self._tissue.count()
        return ScanProgress(self.fields_done, max(self._wanted, self.fields_done), self.images, in_doubt)

    def summary(self, sweep: SweepResult) -> ScanSummary:
        """What it came to, after the last field."""
        return ScanSummary(
            images=self.images,
            modelled_time_s=self._microscope.clock.now_s - self._began_s,
            sweep=sweep,
            policy=self._policy.name,
            rescanned=self.rescanned,
            judgements=self._judgements,
            in_doubt=self.in_doubt,
        )

    def find_focus(self) -> SweepResult:
        """Sweep at the first field that shows something; where none does, at the first (paper, section 4.3.1).

        Where there is a picture that no sweep changes, fields are taken at the sweep's middle, all of them unsure.

        Raises:
            InstrumentError: if there is nothing to see, or the focus lies beyond the sweep.
        """
        sweeps: list[tuple[PlannedField, SweepResult]] = []
        for planned in self._promising():
            self._xy.move_to(planned.x_um, planned.y_um)
            sweep = initial_focus(self._microscope, self._z, self._settings.sweep)
            self.images += sweep.images
            if sweep.verdict == "found":
                break
            sweeps.append((planned, sweep))
        else:
            return self._go_on_unfocused(sweeps)
        self._measure_noise()
        excess_um = check_backlash(self._microscope, self._z, sweep, self._settings.sweep.merit)
        self.images += CHECK_IMAGES if excess_um is not None else 0
        self.begin_at(planned, sweep.z_um)
        return sweep

    def _go_on_unfocused(self, sweeps: Sequence[tuple[PlannedField, SweepResult]]) -> SweepResult:
        planned, sweep = sweeps[0]
        if any(one.verdict != "flat" for _, one in sweeps) or not self._is_rich(self._contrast(sweep.frame)):
            raise InstrumentError(f"no focus found in {len(sweeps)} sweeps; the last one: {sweeps[-1][1].reason}")
        middle_um = (self._settings.sweep.lowest_um + self._settings.sweep.highest_um) / 2
        policy = self._policy
        self._policy = Unfocused(policy.name, policy.approach, policy.focus_settings, middle_um)
        self.begin_at(planned, middle_um)
        reason = f"the picture does not follow z, in {len(sweeps)} sweeps: every field is unsure"
        return replace(sweep, z_um=middle_um, reason=reason)

    def begin_at(self, planned: PlannedField, z_um: float) -> None:
        """The focus of a field is known to a µm or so."""
        self._surface = FocusSurface(z_um, self._pitch_um)
        self._surface.add(planned.x_um, planned.y_um, z_um, _SWEEP_SD_UM, time_s=self._microscope.clock.now_s)
        self._last_um = z_um

    def fields(self) -> Iterator[tuple[FieldRecord, Frame]]:
        """Visit and focus: sparse fields, the tissue, then what is in doubt. Yields each field as it is done."""
        if not self._settings.everywhere:
            for planned in self._tissue.sparse():
                yield self._take(planned, is_sparse=True)
        for planned in self._tissue.remaining():
            yield self._take(planned)
        self._think_now()
        if self._policy.is_checked:
            self._hear_all()
            for _ in range(_RESCANS):
                for planned in [field for field in self._doubtful() if field.index not in self._rescanned]:
                    yield self._take(planned)
                self._think_now()
                self._hear_all()

    def recall(self, folder: FieldsFolder) -> None:
        """Go on from an earlier scan: the foci that it measured, and its frames, to compare new ones with."""
        measured = [record for record in folder.records if record.focus.get("focus_sd_um") is not None]
        if not measured:
            raise SettingsError(f"{folder.path}: no field's focus was measured, there is nothing to go by")
        planned = {field.index: field for field in self._plan}
        self.begin_at(planned[measured[0].index], float(measured[0].focus["focus_um"]))
        for record in measured:
            focus = self._measured(record.focus["focus_um"], record.focus["focus_sd_um"])
            field = planned[record.index]
            self._surface.add(field.x_um, field.y_um, focus.z_um, focus.sd_um)
        for record in folder.records:
            self._verdicts[record.index] = record.verdict
            self._attempts[record.index] = record.attempt
            field = planned[record.index]
            self._tissue.learn(field, record.verdict != "empty")
            if record.verdict == "focused":
                told = record.focus.get("focus_sd_um")
                focus = self._surface.expect(field.x_um, field.y_um, self._microscope.clock.now_s)
                focus = focus if told is None else self._measured(record.focus["focus_um"], told)
                self._keep(field, folder.frame(record), record.stage_z_um, focus, measured=told is not None)

    def again(self, indices: Sequence[int]) -> Iterator[tuple[FieldRecord, Frame]]:
        """Take fields again, measured, whatever was thought of them."""
        for planned in self._plan:
            if planned.index in indices:
                yield self._take(planned)
        self._think_now()
        self._hear_all()

    def _measured(self, focus_um: float, sd_um: float) -> Expectation:
        return Expectation(focus_um, math.hypot(sd_um, self._settings.arrival_error_um))

    @property
    def _pitch_um(self) -> float:
        return math.sqrt(self._plan.step_um[0] * self._plan.step_um[1])

    def _make_policy(self, focus: FocusSettings) -> FieldPolicy:
        settings, depth_um = self._settings, self._microscope.depth_of_field_um
        return make_policy(
            settings.policy, settings.approach, focus, depth_um, settings.sure_of_dof, settings.arrival_error_um
        )

    def _promising(self) -> list[PlannedField]:
        """Up to four fields on which to sweep, richest first, of the sparse ones, then of all, until three are rich."""
        seen: list[tuple[float, PlannedField]] = []
        for planned in dict.fromkeys((*self._tissue.sparse(), *self._plan)):
            self._xy.move_to(planned.x_um, planned.y_um)
            frame = self._microscope.camera.snap()
            self.images += 1
            seen.append((self._contrast(frame), planned))
            if sum(self._is_rich(contrast) for contrast, _ in seen) >= _RICH_FIELDS:
                break
        seen.sort(key=lambda entry: -entry[0])
        return [planned for _, planned in seen[:_SWEEPS_AT_MOST]]

    def _contrast(self, frame: Frame) -> float:
        return self._eyes.predictor.measure(frame, frame).image_sd

    def _is_rich(self, contrast: float) -> bool:
        return contrast >= 3 * self._settings.focus.empty_sd

    def _measure_noise(self) -> None:
        """The noise floor of a difference: two frames at the sweep's end, too blurred for vibration to matter."""
        first, second = self._microscope.camera.snap(), self._microscope.camera.snap()
        self.images += 2
        floor = FLOOR_FACTOR * self._eyes.predictor.measure(first, second).difference_sd
        self._policy = self._make_policy(replace(self._settings.focus, difference_floor=floor))

    def _take(self, planned: PlannedField, is_sparse: bool = False) -> tuple[FieldRecord, Frame]:
        """Go to a field, focus it, learn from it; one that was taken before is measured."""
        attempt = self._attempts.get(planned.index, 0) + 1
        if attempt > 1:
            self._rescanned.append(planned.index)
        self._kept.forget_if_there((planned.row, planned.column))
        visit = self._visit(planned, attempt > 1, is_sparse)
        if self._witness:
            self._witness.forget()
        self._asked = None
        self._arrive(planned, self._policy.first_um(visit))
        field = Field(self._microscope, self._z, self._eyes, self._policy.focus_settings)
        result = within_budget(field, lambda: self._policy.focus(field, visit))
        self.images += result.images
        self._verdicts[planned.index] = result.verdict
        self._attempts[planned.index] = attempt
        self._learn(planned, visit, result)
        return self._record(planned, visit, result, attempt), result.frame

    def _visit(self, planned: PlannedField, again: bool, is_sparse: bool) -> Visit:
        def judge(shot: Shot) -> Judgement:
            judgement = self._keep(planned, shot.frame, shot.z_um, expected)
            self._asked = (shot, judgement)
            return judgement

        if self._policy.follows:
            return Visit(Expectation(self._last_um, _SWEEP_SD_UM), self._last_um)
        expected = self._surface.expect(planned.x_um, planned.y_um, self._microscope.clock.now_s)
        spaced_sd_um = self._settings.sure_of_dof * self._microscope.depth_of_field_um / 2
        far = is_sparse and expected.sd_um > spaced_sd_um
        measure = again or self._doubt_ahead or far
        doubted = again or self._doubt_ahead
        return Visit(expected, self._last_um, judge, measure, doubted, self._kept.bend_per_um2)

    def _keep(
        self, planned: PlannedField, frame: Frame, z_um: float, focus: Expectation, measured: bool = False
    ) -> Judgement:
        cell = (planned.row, planned.column)
        return self._kept.put(cell, frame, z_um, focus, self._surface.between_sd_um, measured)

    def _arrive(self, planned: PlannedField, first_um: float) -> None:
        """x and y move, z goes to below its first image and up, and what was left to think about is thought about."""
        self._z.start_field()
        think, self._think = self._think, None

        def sideways() -> None:
            self._xy.move_to(planned.x_um, planned.y_um)

        def upward() -> None:
            self._z.approach_from_below(self._z.reachable_um(first_um))

        actions = (sideways, upward) if think is None else (sideways, upward, think)
        self._microscope.clock.together(*actions)

    def _think_now(self) -> None:
        think, self._think = self._think, None
        if think is not None:
            think()

    def _learn(self, planned: PlannedField, visit: Visit, result: FocusResult) -> None:
        """What a field tells about the others: tissue, surface, and whether it is as sharp as its neighbours."""
        self._tissue.learn(planned, result.verdict != "empty")
        if result.verdict != "focused":
            self._kept.forget_if_there((planned.row, planned.column))  # it may have been asked about
            return
        self._measured_ones.discard(planned.index)
        if result.focus_um is None or result.focus_sd_um is None:
            focus = visit.expected
            if self._asked is not None:
                self._learn_from_neighbours(planned, focus, result.z_um, self._asked[1])
        else:
            focus = self._measured(result.focus_um, result.focus_sd_um)
            self._measured_ones.add(planned.index)
            if not self._policy.follows:
                self._surface.add(
                    planned.x_um, planned.y_um, focus.z_um, focus.sd_um, time_s=self._microscope.clock.now_s
                )
            self._last_um = result.focus_um
            self._doubt_ahead = False
        if result.bend_per_um2 is not None:
            self._kept.learn_bend(result.bend_per_um2)
        if self._policy.is_checked and not self._is_kept_already(result):
            self._think = lambda: self._judge(planned, result, focus)

    def _is_kept_already(self, result: FocusResult) -> bool:
        return self._asked is not None and self._asked[0].frame is result.frame

    def _judge(self, planned: PlannedField, result: FocusResult, focus: Expectation) -> None:
        """Compare a kept frame with its neighbours; where it is worse, the surface is not to be relied on ahead."""
        self._microscope.clock.spend(self._microscope.decision_time_s)
        self._centres[planned.index] = self._eyes.sharpness.centre(result.frame)
        judgement = self._keep(planned, result.frame, result.z_um, focus, measured=result.focus_um is not None)
        if judgement.out_of_focus > MOST_OUT:
            self._doubt_ahead = True
        if result.focus_um is None:
            self._learn_from_neighbours(planned, focus, result.z_um, judgement)

    def _learn_from_neighbours(
        self, planned: PlannedField, expected: Expectation, z_um: float, judgement: Judgement
    ) -> None:
        """A frame that was only looked at beside its neighbours tells of the focus what its prior did not know."""
        prior_sd_um = math.hypot(expected.sd_um, self._settings.arrival_error_um)
        if judgement.sd_um > _TELLS * prior_sd_um:
            return
        precision = judgement.sd_um**-2 - prior_sd_um**-2
        defocus_um = (judgement.defocus_um / judgement.sd_um**2 - (z_um - expected.z_um) / prior_sd_um**2) / precision
        sd_um = math.hypot(precision**-0.5, _HEARSAY_SD_UM, self._settings.arrival_error_um)
        self._surface.add(
            planned.x_um, planned.y_um, z_um - defocus_um, sd_um, time_s=self._microscope.clock.now_s, hearsay=True
        )

    def _hear_all(self) -> None:
        cells = self._kept.settle()
        self._judgements = {
            planned.index: cells[planned.row, planned.column]
            for planned in self._plan
            if (planned.row, planned.column) in cells
        }

    def _doubtful(self) -> list[PlannedField]:
        """Fields that are unsure, failed, probably out of focus or unlike the others, in the plan's order."""
        doubtful = {index for index, verdict in self._verdicts.items() if verdict in ("unsure", "failed")}
        for index, judged in self._judgements.items():
            if judged.out_of_focus > (MOST_OUT_MEASURED if index in self._measured_ones else MOST_OUT):
                doubtful.add(index)
        return [planned for planned in self._plan if planned.index in doubtful | self._unlike()]

    def _unlike(self) -> set[int]:
        """Fields of a single image with far less detail than the slide's others."""
        if not self._centres:
            return set()
        least = float(np.median(list(self._centres.values()))) - LEAST_LIKE
        return {index for index, centre in self._centres.items() if centre < least} - self._measured_ones

    def _record(self, planned: PlannedField, visit: Visit, result: FocusResult, attempt: int) -> FieldRecord:
        x_um, y_um = self._xy.position_um
        expected = {"expected_um": visit.expected.z_um, "expected_sd_um": visit.expected.sd_um}
        return FieldRecord(
            index=planned.index,
            row=planned.row,
            column=planned.column,
            stage_x_um=x_um,
            stage_y_um=y_um,
            stage_z_um=result.z_um,
            verdict=result.verdict,
            images=result.images,
            focus=result.to_json() | ({} if self._policy.follows else expected),
            true_stage_um=None if self._witness is None else self._witness.position_um(result.frame),
            attempt=attempt,
        )


class _Witness:
    """A simulated instrument's camera that remembers where the stage truly stood at each frame.

    The frame that is kept need not be the last one.
    """

    def __init__(self, camera: Camera, truth: Truth) -> None:
        self._camera = camera
        self._truth = truth
        self._seen: list[tuple[Frame, tuple[float, float, float]]] = []

    @property
    def frame_shape(self) -> tuple[int, int]:
        return self._camera.frame_shape

    @property
    def pixel_size_um(self) -> float:
        return self._camera.pixel_size_um

    def snap(self) -> Frame:
        frame = self._camera.snap()
        self._seen.append((frame, self._truth.stage_position_um))
        return frame

    def forget(self) -> None:
        """A new field begins."""
        self._seen.clear()

    def position_um(self, frame: Frame) -> tuple[float, float, float]:
        """True (x, y, z) in µm at which one of the field's frames was taken."""
        return next(position_um for seen, position_um in self._seen if seen is frame)
