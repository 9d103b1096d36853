"""One scan while it is made: visit the planned fields, focus each, take doubtful ones again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from parfocal.devices.approach import GuardedZ
from parfocal.devices.base import Frame, Truth
from parfocal.devices.microscope import Microscope
from parfocal.devices.sideways import CompensatedXY
from parfocal.errors import BudgetError, InstrumentError, LimitError
from parfocal.focus.controller import within_budget
from parfocal.focus.decision import FLOOR_FACTOR, FocusSettings
from parfocal.focus.field import Eyes, Field, Shot
from parfocal.focus.kept import Judgement
from parfocal.focus.policies import FieldPolicy, Visit, make_policy
from parfocal.focus.result import FocusResult
from parfocal.focus.search import SweepResult, initial_focus
from parfocal.focus.surface import Expectation, FocusDrift
from parfocal.focus.unfocused import Unfocused
from parfocal.scan.calibration import CHECK_IMAGES, check_backlash
from parfocal.scan.journal import Beat, Journal, NoJournal, journalled, no_beat
from parfocal.scan.knowledge import Asked, SlideKnowledge
from parfocal.scan.lost_steps import Doubt
from parfocal.scan.plan import PlannedField, ScanPlan
from parfocal.scan.progress import ScanProgress, ScanSummary
from parfocal.scan.recall import focus_found, learn_again
from parfocal.scan.settings import ScanSettings
from parfocal.scan.settling import Settling
from parfocal.scan.whereabouts import Sighting
from parfocal.scan.witness import Witness
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord

_SWEEPS_AT_MOST = 4
_RICH_FIELDS = 3
_RESCANS = 2  # rounds: a field taken again can put its neighbour in doubt
_COUNT_EVERY = 20  # fields: how often those still worth a visit are counted


class ScanRun:
    """The state of one scan: where the focus is, what was kept, how much was done.

    Args:
        microscope: the instrument; its lamp is lit by the caller.
        settings: how it focuses.
        eyes: what looks at the frames.
        plan: all fields.
        truth: of a simulated instrument; it is only written down.
        journal: takes every move and search.
        beat: called at every move and exposure.
    """

    def __init__(
        self,
        microscope: Microscope,
        settings: ScanSettings,
        eyes: Eyes,
        plan: ScanPlan,
        truth: Truth | None = None,
        journal: Journal | None = None,
        beat: Beat = no_beat,
    ) -> None:
        self._journal = journal or NoJournal()
        self._began_s = microscope.clock.now_s
        self._witness = None if truth is None else Witness(microscope.camera, truth)
        microscope = replace(microscope, camera=self._witness) if self._witness else microscope
        self._microscope = journalled(microscope, self._journal, beat)
        self._settings = settings
        self._eyes = eyes
        self._plan = plan
        self._policy = self._make_policy(settings.focus)
        self._xy = CompensatedXY(self._microscope.xy, settings.xy_backlash_um)
        self._z = GuardedZ(self._microscope.z, microscope.clock, self._policy.approach, settings.limits)
        self.knowledge = SlideKnowledge(microscope, settings, eyes, plan, self._policy.follows)
        self._think: Callable[[], None] | None = None
        self._doubt: Doubt | None = None
        self._wanted = len(plan)
        self.lost: tuple[int, ...] = ()
        """Fields of an earlier run whose frame is missing, damaged or of another place: they are taken first."""
        self.images = 0
        self._images_before = 0
        self._is_gone_on_with = False
        self._settling = Settling(self._xy, self._z, self._snap, self.knowledge.steps, self._journal)

    @property
    def now_s(self) -> float:
        """Instrument time since the scan began, in s."""
        return self._microscope.clock.now_s - self._began_s

    @property
    def new_images(self) -> int:
        """Exposures since a scan was gone on with."""
        return self.images - self._images_before

    @property
    def loss(self) -> Doubt | None:
        """Why the run was given up, where the stage lost steps."""
        return self._settling.loss

    @property
    def fields_done(self) -> int:
        """Fields with a verdict."""
        return len(self.knowledge.verdicts)

    @property
    def rescanned(self) -> tuple[int, ...]:
        """Fields that were taken again."""
        return tuple(self.knowledge.rescanned)

    @property
    def judgements(self) -> dict[int, Judgement]:
        """What is believed about kept frames, by field index; none before the end."""
        return dict(self.knowledge.judgements)

    @property
    def in_doubt(self) -> tuple[int, ...]:
        """Fields that are unsure, failed or probably out of focus, as far as is known."""
        return tuple(field.index for field in self.knowledge.doubtful())

    @property
    def focus_drift(self) -> FocusDrift | None:
        """How fast the focus moves everywhere; None where the focal surface does not tell.

        None too where fields are of an earlier run: zero is found again to a µm or two, a step that looks like a drift.
        """
        return None if self._is_gone_on_with else self.knowledge.surface.drift()

    def progress(self) -> ScanProgress:
        """How far it is."""
        in_doubt = self.knowledge.verdicts.count("unsure", "failed")
        if self.fields_done % _COUNT_EVERY == 0:
            self._wanted = self.knowledge.tissue.count()
        return ScanProgress(self.fields_done, max(self._wanted, self.fields_done), self.images, in_doubt)

    def summary(self, sweep: SweepResult) -> ScanSummary:
        """What it came to, after the last field."""
        return ScanSummary(
            images=self.images,
            modelled_time_s=self.now_s,
            sweep=sweep,
            policy=self._policy.name,
            rescanned=self.rescanned,
            judgements=self.judgements,
            in_doubt=self.in_doubt,
            focus_drift=self.focus_drift,
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
            planned, sweep = self._go_on_unfocused(sweeps)
            self._note_sweep(planned, sweep, None)
            return sweep
        floor = self._measure_noise()
        excess_um = check_backlash(self._microscope, self._z, sweep, self._settings.sweep.merit)
        self.images += CHECK_IMAGES if excess_um is not None else 0
        self.begin_at(planned, sweep.z_um)
        self._note_sweep(planned, sweep, floor)
        return sweep

    def _go_on_unfocused(self, sweeps: Sequence[tuple[PlannedField, SweepResult]]) -> tuple[PlannedField, SweepResult]:
        planned, sweep = sweeps[0]
        if any(one.verdict != "flat" for _, one in sweeps) or not self._is_rich(self._contrast(sweep.frame)):
            raise InstrumentError(f"no focus found in {len(sweeps)} sweeps; the last one: {sweeps[-1][1].reason}")
        middle_um = (self._settings.sweep.lowest_um + self._settings.sweep.highest_um) / 2
        self._take_unfocused(middle_um)
        self.begin_at(planned, middle_um)
        reason = f"the picture does not follow z, in {len(sweeps)} sweeps: every field is unsure"
        return planned, replace(sweep, z_um=middle_um, reason=reason)

    def _take_unfocused(self, z_um: float) -> None:
        policy = self._policy
        self._policy = Unfocused(policy.name, policy.approach, policy.focus_settings, z_um)

    def _note_sweep(self, planned: PlannedField, sweep: SweepResult, difference_floor: float | None) -> None:
        self._journal.note("focus found", field=planned.index, difference_floor=difference_floor, sweep=sweep.to_json())

    def begin_at(self, planned: PlannedField, z_um: float) -> None:
        """The focus of a field is known to a µm or so."""
        self.knowledge.begin_at(planned, z_um, self.now_s)

    def recall(self, folder: FieldsFolder, on_record: Callable[[int, int], None] | None = None) -> None:
        """Know what the fields of a folder told, as if this run had taken them; frames that are lost are taken again.

        Args:
            folder: of this plan, by these settings.
            on_record: called with how many records are learnt, of how many.
        """
        found = focus_found(folder)
        if found is not None and found["difference_floor"] is None:
            self._take_unfocused(float(found["sweep"]["z_um"]))
        elif found is not None:
            floor = float(found["difference_floor"])
            self._policy = self._make_policy(replace(self._settings.focus, difference_floor=floor))
        self.lost = learn_again(self.knowledge, folder, self._plan, self._policy.is_checked, on_record)

    def go_on_from(self, folder: FieldsFolder, sightings: Sequence[Sighting], images: int) -> None:
        """Count exposures and time on from where a scan broke off; foci that were measured since are learnt.

        Args:
            folder: of the scan.
            sightings: fields whose focus was measured again.
            images: exposures that this took.
        """
        self._is_gone_on_with = bool(folder.attempts)
        self._images_before = max((record.exposures for record in folder.attempts), default=0)
        self.images = self._images_before + images
        self._began_s = self._microscope.clock.now_s - max((r.taken_s or 0.0 for r in folder.attempts), default=0.0)
        for seen in sightings:
            x_um, y_um, z_um = seen.place_um
            self.knowledge.surface.add(x_um, y_um, z_um, seen.sd_um, time_s=self.now_s)

    def fields(self) -> Iterator[tuple[FieldRecord, Frame]]:
        """Visit and focus: sparse fields, the tissue, then what is in doubt. Yields each field as it is done."""
        for planned in [planned for planned in self._plan if planned.index in self.lost]:
            yield self._take(planned)
        if not self._settings.everywhere:
            for planned in self.knowledge.tissue.sparse():
                if planned.index not in self.knowledge.verdicts:
                    yield self._take(planned, is_sparse=True)
        for planned in self.knowledge.tissue.remaining():
            yield self._take(planned)
        self._end_round()
        if self._policy.is_checked:
            self.knowledge.hear_all()
            for _ in range(_RESCANS):
                for planned in [field for field in self.knowledge.doubtful() if field.index not in self.rescanned]:
                    yield self._take(planned)
                self._end_round()
                self.knowledge.hear_all()

    def again(self, indices: Sequence[int]) -> Iterator[tuple[FieldRecord, Frame]]:
        """Take fields again, measured, whatever was thought of them."""
        for planned in self._plan:
            if planned.index in indices:
                yield self._take(planned)
        self._end_round()
        self.knowledge.hear_all()

    def _make_policy(self, focus: FocusSettings) -> FieldPolicy:
        settings, depth_um = self._settings, self._microscope.depth_of_field_um
        return make_policy(
            settings.policy, settings.approach, focus, depth_um, settings.sure_of_dof, settings.arrival_error_um
        )

    def _promising(self) -> list[PlannedField]:
        """Up to four fields on which to sweep, richest first, of the sparse ones, then of all, until three are rich."""
        seen: list[tuple[float, PlannedField]] = []
        for planned in dict.fromkeys((*self.knowledge.tissue.sparse(), *self._plan)):
            self._xy.move_to(planned.x_um, planned.y_um)
            seen.append((self._contrast(self._snap()), planned))
            if sum(self._is_rich(contrast) for contrast, _ in seen) >= _RICH_FIELDS:
                break
        seen.sort(key=lambda entry: -entry[0])
        return [planned for _, planned in seen[:_SWEEPS_AT_MOST]]

    def _contrast(self, frame: Frame) -> float:
        return self._eyes.predictor.measure(frame, frame).image_sd

    def _is_rich(self, contrast: float) -> bool:
        return contrast >= 3 * self._settings.focus.empty_sd

    def _measure_noise(self) -> float:
        """The noise floor of a difference: two frames at the sweep's end, too blurred for vibration to matter."""
        first, second = self._snap(), self._snap()
        floor = FLOOR_FACTOR * self._eyes.predictor.measure(first, second).difference_sd
        self._policy = self._make_policy(replace(self._settings.focus, difference_floor=floor))
        return floor

    def _take(self, planned: PlannedField, is_sparse: bool = False) -> tuple[FieldRecord, Frame]:
        """Go to a field, focus it, learn from it; one that was taken before is measured."""
        attempt = self.knowledge.begin_attempt(planned)
        asked: list[Asked] = []
        visit = self._visit(planned, asked, attempt > 1, is_sparse)
        if self._witness:
            self._witness.forget()
        result = self._focus(planned, visit)
        self.images += result.images
        last = asked[-1] if asked else None
        focus = self.knowledge.learn(planned, attempt, visit.expected, result, last, self.now_s)
        self._think = lambda: self._think_about(planned, result, focus if self._policy.is_checked else None)
        return self._record(planned, visit, result, attempt, last), result.frame

    def _visit(self, planned: PlannedField, asked: list[Asked], again: bool, is_sparse: bool) -> Visit:
        def judge(shot: Shot) -> Judgement:
            asked.append(self.knowledge.ask(planned, shot, expected))
            return asked[-1].judgement

        expected, last_um = self.knowledge.expect(planned, self.now_s), self.knowledge.last_um
        if self._policy.follows:
            return Visit(expected, last_um)
        spaced_sd_um = self._settings.sure_of_dof * self._microscope.depth_of_field_um / 2
        far = is_sparse and expected.sd_um > spaced_sd_um
        doubted = again or self.knowledge.doubt_ahead
        return Visit(expected, last_um, judge, doubted or far, doubted, self.knowledge.kept.bend_per_um2)

    def _focus(self, planned: PlannedField, visit: Visit) -> FocusResult:
        """Arrive and focus; a field whose focus is expected where z may not go has failed, and is shown as it is."""
        field = Field(self._microscope, self._z, self._eyes, self._policy.focus_settings)
        try:
            self._arrive(planned, self._policy.first_um(visit))
            if self._doubt is not None:
                self._settle_doubt()
                self._arrive(planned, self._policy.first_um(visit))
            return within_budget(field, lambda: self._policy.focus(field, visit))
        except (LimitError, BudgetError) as error:
            self._xy.move_to(planned.x_um, planned.y_um)
            return field.result("failed", field.expose("single", visit.expected.z_um), str(error))

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

    def _end_round(self) -> None:
        """There is no next field to move to meanwhile."""
        self._think_now()
        if self._doubt is not None:
            self._settle_doubt()

    def _think_about(self, planned: PlannedField, result: FocusResult, focus: Expectation | None) -> None:
        """Whether a kept frame is as sharp as its neighbours, and whether it shows what it should of them."""
        if focus is not None:
            self._judge(planned, result, focus)
        if result.verdict == "focused":
            self._doubt = self.knowledge.steps.look(planned, result.frame, result.z_um)
        else:
            self.knowledge.steps.pass_by(planned)

    def _settle_doubt(self) -> None:
        doubt, self._doubt = self._doubt, None
        assert doubt is not None
        self._settling.settle(doubt, self.knowledge.attempts)

    def _snap(self) -> Frame:
        self.images += 1
        return self._microscope.camera.snap()

    def _judge(self, planned: PlannedField, result: FocusResult, focus: Expectation) -> None:
        self._microscope.clock.spend(self._microscope.decision_time_s)
        self.knowledge.judge(planned, result, focus, self.now_s)

    def _record(
        self, planned: PlannedField, visit: Visit, result: FocusResult, attempt: int, asked: Asked | None
    ) -> FieldRecord:
        x_um, y_um = self._xy.position_um
        was_asked = asked is not None and asked.shot.frame is result.frame
        expected = {
            "expected_um": visit.expected.z_um, "expected_sd_um": visit.expected.sd_um, "asked": was_asked
        }  # fmt: skip
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
            exposures=self.images,
            taken_s=round(self.now_s, 6),
        )
