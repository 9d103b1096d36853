"""Whatever a predictor answers, z stays within limits and budgets, and a field ends in a verdict, or the scan stops."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelled import modelled, paper_settings, serial, slide_named, square_plan, with_z
from parfocal.benchmark.modelled import ModelledScan
from parfocal.devices.approach import ApproachSettings, GuardLimits, lamp_lit
from parfocal.devices.simulated import PlayAxis
from parfocal.errors import InstrumentError
from parfocal.focus.field import Eyes
from parfocal.focus.policies import PolicyName
from parfocal.scan.run import ScanRun
from parfocal.scan.settings import ScanSettings
from parfocal.slide.fields.records import FieldRecord

SIDE = 3
CLOSE_UM = 1e-6


class Guessing:
    """A network that answers anything: the truth, a guess, no number, or with any spread."""

    def __init__(self, predictor, rng, honesty, largest_um):
        self._predictor = predictor
        self._rng = rng
        self._honesty = honesty
        self._largest_um = largest_um

    def measure(self, first, second):
        return self._predictor.measure(first, second)

    def predict(self, first, second, delta_um):
        said = self._predictor.predict(first, second, delta_um)
        if self._rng.random() < self._honesty:
            return said
        defocus_um = float(self._rng.uniform(-self._largest_um, self._largest_um))
        if self._rng.random() < 0.05:
            defocus_um = math.nan
        spread_um = float(self._rng.choice([0.1, 0.9, 3.0, math.nan]))
        return replace(said, defocus_um=defocus_um, spread_um=spread_um)


@dataclass
class Exposure:
    """What the stage had done when a frame was taken."""

    rose: bool
    slack_closed: bool


@dataclass
class Watched:
    """A z stage that writes down where it went, and a camera that writes down what the stage had done."""

    stage: object
    clock: object
    began_s: float = 0.0
    travels_um: list[float] = field(default_factory=list)
    places_um: list[float] = field(default_factory=list)
    late_moves: list[float] = field(default_factory=list)
    exposures: dict[int, Exposure] = field(default_factory=dict)
    budget_s: float = math.inf
    arrived_s: float = -1.0
    rose: bool = True

    def __getattr__(self, name):
        return getattr(self.stage, name)

    def begin_field(self):
        self.began_s = self.clock.now_s
        self.travels_um.append(0.0)

    def move_to(self, z_um):
        before_um, now_s = self.stage.position_um, self.clock.now_s
        is_way_back_up = now_s == self.arrived_s and not self.rose  # of an approach that began in time
        if now_s - self.began_s >= self.budget_s and not is_way_back_up:
            self.late_moves.append(z_um)
        self.stage.move_to(z_um)
        self.arrived_s = self.clock.now_s
        self.places_um.append(z_um)
        self.travels_um[-1] += abs(z_um - before_um)
        if z_um != before_um:
            self.rose = z_um > before_um

    def watch(self, camera):
        snap = camera.snap

        def snapped():
            frame = snap()
            play = self.stage._play
            closed = abs(play.output_um - self.stage.position_um) < CLOSE_UM
            self.exposures[serial(frame)] = Exposure(self.rose, closed)
            return frame

        camera.snap = snapped


@dataclass(frozen=True)
class Trial:
    """One scan with everything drawn by chance."""

    seed: int
    policy: PolicyName
    honesty: float
    largest_um: float
    backlash_um: float
    slack_um: float
    room_um: tuple[float, float]
    travel_budget_um: float
    time_budget_s: float
    drift_um_per_minute: float
    empty_columns: int


@dataclass(frozen=True)
class Scanned:
    """The settings, records with their frames' numbers, what was watched, and how it stopped."""

    how: ScanSettings
    records: list[tuple[FieldRecord, int]]
    watched: Watched
    stopped: InstrumentError | None
    scan: ModelledScan
    run: ScanRun


policies = st.sampled_from(["surface", "pair-then-keep", "paper", "parabola", "stack", "sweep"])
trials = st.builds(
    Trial,
    seed=st.integers(0, 2**16),
    policy=st.one_of(st.just("surface"), policies),
    honesty=st.sampled_from([0.0, 0.5, 0.9]),
    largest_um=st.sampled_from([3.0, 15.0, 60.0]),
    backlash_um=st.floats(0, 25),
    slack_um=st.floats(0, 1),
    room_um=st.tuples(st.floats(26, 90), st.floats(3, 90)),
    travel_budget_um=st.floats(40, 400),
    time_budget_s=st.floats(0.15, 5),
    drift_um_per_minute=st.sampled_from([0.0, 0.0, 60.0, -300.0]),
    empty_columns=st.integers(0, SIDE),
)


def scanned(trial):
    """The scan that a trial asks for, watched."""
    tilted = slide_named("tilted")
    filled = replace(tilted, is_empty=lambda x_um, y_um: x_um > (SIDE / 2 - trial.empty_columns) * 288.0)
    scan = modelled(filled, SIDE, trial.seed)
    clock = scan.microscope.clock
    scan.microscope.z._play = PlayAxis(trial.backlash_um * trial.slack_um)
    watched = Watched(scan.microscope.z, clock, budget_s=trial.time_budget_s)
    drifting = with_z(
        replace(scan, microscope=replace(scan.microscope, z=watched)),
        lambda: trial.drift_um_per_minute * clock.now_s / 60,
    )
    microscope = drifting.microscope
    watched.watch(microscope.camera)
    rng = np.random.default_rng(trial.seed)
    eyes = Eyes(Guessing(scan.eyes.predictor, rng, trial.honesty, trial.largest_um), scan.eyes.sharpness)
    plan = square_plan(SIDE)
    first = next(iter(plan))
    known_um = scan.known_um(first)
    plain = paper_settings()
    how = replace(
        plain,
        policy=trial.policy,
        approach=ApproachSettings(
            backlash_um=trial.backlash_um, start_below_um=1.5, take_up_um=trial.backlash_um + 1.0, delta_um=3.0
        ),
        limits=GuardLimits(
            lowest_um=known_um - trial.room_um[0],
            highest_um=known_um + trial.room_um[1],
            travel_budget_um=trial.travel_budget_um,
            time_budget_s=trial.time_budget_s,
        ),
        sweep=replace(plain.sweep, lowest_um=known_um, highest_um=known_um + 2.0, step_um=0.5),
    )
    run = ScanRun(microscope, how, eyes, plan, scan.truth)
    run.begin_at(first, known_um)
    start_field = run._z.start_field
    run._z.start_field = lambda: (watched.begin_field(), start_field())
    records, stopped = [], None
    try:
        with lamp_lit(microscope.lamp):
            records.extend((record, serial(frame)) for record, frame in run.fields())
    except InstrumentError as error:
        stopped = error
    return Scanned(how, records, watched, stopped, scan, run)


BASE = Trial(0, "surface", 0.5, 15.0, 20.0, 1.0, (60.0, 60.0), 300.0, 5.0, 0.0, 1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(trials)
@example(BASE)
@example(replace(BASE, honesty=0.0, largest_um=60.0, room_um=(26.0, 3.0)))
@example(replace(BASE, travel_budget_um=40.0, policy="stack"))
@example(replace(BASE, time_budget_s=0.15, policy="sweep", drift_um_per_minute=-300.0))
def test_whatever_is_predicted_z_keeps_its_limits_and_every_field_ends_in_a_verdict(trial):
    done = scanned(trial)
    limits, watched = done.how.limits, done.watched
    assert all(limits.lowest_um - CLOSE_UM <= z_um <= limits.highest_um + CLOSE_UM for z_um in watched.places_um)
    assert max(watched.travels_um) <= limits.travel_budget_um + CLOSE_UM
    assert watched.late_moves == []
    assert not done.scan.microscope.lamp.is_on
    for record, number in done.records:
        assert record.verdict in ("focused", "empty", "unsure", "failed")
        assert 1 <= record.images == len(record.focus["trace"])
        assert watched.exposures[number] == Exposure(rose=True, slack_closed=True)
    if done.stopped is None:
        assert {planned.index for planned in done.run.knowledge.tissue.sparse()} <= {r.index for r, _ in done.records}
    else:
        assert "µm" in str(done.stopped) or " s " in str(done.stopped)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(0, 2**16), st.floats(0, 25), st.sampled_from([0, 1, 2]))
def test_with_a_good_network_and_room_enough_every_tissue_field_is_focused(seed, backlash_um, empty_columns):
    done = scanned(replace(BASE, seed=seed, honesty=1.0, backlash_um=backlash_um, empty_columns=empty_columns))
    assert done.stopped is None
    verdicts = {(record.row, record.column): record.verdict for record, _ in done.records}
    for planned in square_plan(SIDE):
        cell = planned.row, planned.column
        if done.scan.slide.texture(cell) is not None:
            assert verdicts[cell] == "focused"
        else:
            assert verdicts.get(cell, "empty") == "empty"


@pytest.mark.parametrize("slack_um", [1.5, 2.5])
def test_with_more_slack_than_the_approach_closes_exposures_are_not_where_the_stage_says(slack_um):
    done = scanned(replace(BASE, backlash_um=20.0, slack_um=slack_um, honesty=1.0))
    assert not all(exposure.slack_closed for exposure in done.watched.exposures.values())
