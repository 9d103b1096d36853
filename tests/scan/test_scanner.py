"""A scan visits each planned field, hands over what it found, and puts the lamp out however it ends."""

import math
from dataclasses import replace

import numpy as np
import pytest

import modelled
from knowing import Knowing
from parfocal.config import open_microscope
from parfocal.devices.approach import lamp_lit
from parfocal.errors import FileError, InstrumentError, ScanStoppedError
from parfocal.focus.policies import BySurface
from parfocal.focus.search import SweepResult
from parfocal.scan import scanner
from parfocal.scan.knowledge import MOST_OUT, MOST_OUT_MEASURED, SlideKnowledge
from parfocal.scan.plan import plan_scan
from parfocal.scan.run import ScanRun
from parfocal.scan.scanner import scan_fields
from parfocal.scan.tissue import TissueMap
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter

AREA_MM = (0.15, 0.1)


@pytest.fixture
def instrument(small_toml):
    return open_microscope(small_toml(), "blood-smear", seed=1)


def planned(instrument, area_mm=AREA_MM):
    camera = instrument.microscope.camera
    limits_um = instrument.microscope.xy.limits_um
    error_um = instrument.settings.neighbour_error_um
    return plan_scan(area_mm, camera.frame_shape, camera.pixel_size_um, error_um, limits_um)


def header(instrument, plan):
    camera = instrument.microscope.camera
    return FieldsHeader(
        version="0", seed=1, microscope="small", specimen="blood-smear", pixel_size_um=camera.pixel_size_um,
        frame_shape=camera.frame_shape, magnification=20, na=0.75, immersion_index=1.0, depth_of_field_um=1.2,
        rows=plan.rows, columns=plan.columns, overlap=plan.overlap,
    )  # fmt: skip


def run(instrument, folder, predictor=None, on_field=lambda record, progress: None, area_mm=AREA_MM):
    plan = planned(instrument, area_mm)
    with FieldsWriter(folder, header(instrument, plan)) as writer:
        predictor = predictor or Knowing(instrument)
        return scan_fields(
            instrument.microscope, instrument.settings, predictor, plan, writer, on_field, instrument.truth
        )


def test_every_planned_field_is_focused_recorded_and_kept(instrument, tmp_path):
    seen = []
    summary = run(instrument, tmp_path, on_field=lambda record, progress: seen.append(progress))
    fields, plan = FieldsFolder(tmp_path), list(planned(instrument))
    assert [(r.index, r.row, r.column) for r in fields.records] == [(p.index, p.row, p.column) for p in plan]
    assert {record.verdict for record in fields.records} == {"focused"}
    for record in fields.records:
        assert fields.frame(record).shape == (240, 320, 3)
        x_um, y_um, z_um = record.true_stage_um
        assert abs(z_um - instrument.truth.best_focus_um(x_um, y_um)) <= 0.9  # z error ± 0.5 µm, twice
        assert math.dist((record.stage_x_um, record.stage_y_um), (x_um, y_um)) < 60
        assert len(record.focus["trace"]) == record.images
    assert [progress.fields_done for progress in seen] == list(range(1, len(plan) + 1))
    assert seen[-1].images == summary.images
    assert seen[-1].in_doubt == 0


class Unsettled(Knowing):
    """Never certain, so that the sharpest frame is kept, which need not be the last."""

    def predict(self, first, second, delta_um):
        return replace(super().predict(first, second, delta_um), spread_um=9.0)


def test_the_true_place_is_that_of_the_kept_frame_even_where_others_followed(instrument, tmp_path):
    run(instrument, tmp_path, Unsettled(instrument))
    records = FieldsFolder(tmp_path).records
    assert {record.verdict for record in records} == {"unsure"}
    assert any(record.stage_z_um != record.focus["trace"][-1]["z_um"] for record in records)
    for record in records:
        assert abs(record.true_stage_um[2] - record.stage_z_um) <= 0.5  # where its arrival's error is cut off


def test_exposures_are_those_of_the_fields_and_those_of_the_search(instrument, tmp_path):
    exposures = []
    snap = instrument.microscope.camera.snap
    instrument.microscope.camera.snap = lambda: (exposures.append(instrument.microscope.clock.now_s), snap())[1]
    summary = run(instrument, tmp_path)
    assert summary.images == len(exposures)
    in_fields = sum(record.images for record in FieldsFolder(tmp_path).records)
    assert summary.images > in_fields + summary.sweep.images


def test_time_is_that_of_the_modelled_instrument(instrument, tmp_path):
    summary = run(instrument, tmp_path)
    now_s = instrument.microscope.clock.now_s
    assert summary.modelled_time_s == pytest.approx(now_s)
    fields = FieldsFolder(tmp_path).records
    assert now_s >= summary.images * 0.033 + len(fields) * 0.060 + len(fields) * 0.015


def test_a_scan_repeats_itself_exactly(small_toml, tmp_path):
    results = []
    for name in ("first", "second"):
        instrument = open_microscope(small_toml(), "blood-smear", seed=5)
        run(instrument, tmp_path / name)
        results.append(FieldsFolder(tmp_path / name))
    assert results[0].records == results[1].records
    for record in results[0].records:
        assert (results[0].frame(record) == results[1].frame(record)).all()


def with_picture(instrument, frame):
    """The same picture wherever the stage stands."""
    instrument.microscope.camera.snap = frame.copy
    return instrument


def test_a_picture_that_does_not_follow_z_is_scanned_and_no_field_is_called_focused(instrument, tmp_path):
    with lamp_lit(instrument.microscope.lamp):
        still = instrument.microscope.camera.snap()
    summary = run(with_picture(instrument, still), tmp_path)
    records = FieldsFolder(tmp_path).records
    assert len(records) == len(planned(instrument))
    assert {record.verdict for record in records} == {"unsure"}
    assert {record.stage_z_um for record in records} == {0.0}  # the middle of the sweep
    assert summary.in_doubt == tuple(record.index for record in records)
    assert "does not follow z" in summary.sweep.reason
    assert not instrument.microscope.lamp.is_on


def test_where_nothing_shows_no_focus_is_looked_for_any_longer(instrument, tmp_path):
    glass = np.full((240, 320, 3), 200, dtype=np.uint8)
    with pytest.raises(ScanStoppedError, match="no focus found"):
        run(with_picture(instrument, glass), tmp_path)


def interrupt(record, progress):
    if progress.fields_done == 2:
        raise KeyboardInterrupt


def break_down(record, progress):
    if progress.fields_done == 2:
        raise InstrumentError("the camera gave no frame within 2 s")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (interrupt, "interrupted after 2 of 4 fields"),
        (break_down, "stopped after 2 of 4 fields: the camera gave no frame within 2 s"),
    ],
)
def test_a_scan_that_ends_early_leaves_the_fields_so_far_and_the_lamp_off(instrument, tmp_path, end, message):
    with pytest.raises(ScanStoppedError, match=message):
        run(instrument, tmp_path, on_field=end)
    assert not instrument.microscope.lamp.is_on
    fields = FieldsFolder(tmp_path)
    assert [record.index for record in fields.records] == [0, 1]
    assert all(fields.frame(record).any() for record in fields.records)


def fail_to_write(record, progress):
    raise FileError("disk full: 0 of 4 MiB free")


def fail_unforeseen(record, progress):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("on_field", "error"),
    [(None, None), (fail_to_write, ScanStoppedError), (fail_unforeseen, ZeroDivisionError)],
)
def test_the_lamp_is_lit_in_the_scan_and_off_after_it(instrument, tmp_path, on_field, error):
    lit = []

    def watch(record, progress):
        lit.append(instrument.microscope.lamp.is_on)
        if on_field:
            on_field(record, progress)

    if error is None:
        run(instrument, tmp_path, on_field=watch)
    else:
        with pytest.raises(error):
            run(instrument, tmp_path, on_field=watch)
    assert set(lit) == {True}
    assert not instrument.microscope.lamp.is_on


def test_while_the_disk_is_far_behind_the_lamp_is_off(instrument, tmp_path, monkeypatch):
    monkeypatch.setattr(scanner, "_LIT_AT_MOST_S", 0.0)
    answers, lit, beats = iter([False, False, False]), [], []

    def has_room(_writer):
        lit.append(instrument.microscope.lamp.is_on)
        return next(answers, True)

    monkeypatch.setattr(FieldsWriter, "has_room", property(has_room))
    run(instrument, tmp_path)
    assert lit == [True, False, False, False, True, True, True]
    assert len(list(FieldsFolder(tmp_path).notes("waiting for the disk"))) == 1

    with FieldsWriter(tmp_path / "more", header(instrument, planned(instrument))) as writer:
        answers = iter([False, False])
        scanner.wait_for_disk(writer, instrument.microscope.lamp, lambda: beats.append("alive"))
    assert len(beats) == 2


def test_what_is_queued_in_the_end_is_waited_for_in_the_dark(instrument, tmp_path, monkeypatch):
    lamp, lit, sync = instrument.microscope.lamp, [], FieldsWriter.sync
    monkeypatch.setattr(FieldsWriter, "sync", lambda writer: lit.append(lamp.is_on) or sync(writer))
    run(instrument, tmp_path)
    assert set(lit) == {False}


def test_a_field_whose_first_image_lies_outside_the_z_limits_has_failed_and_the_scan_goes_on(instrument, tmp_path):
    limits = replace(instrument.settings.limits, highest_um=20.1)
    cramped = replace(instrument, settings=replace(instrument.settings, limits=limits))
    expect = SlideKnowledge.expect

    def too_high(self, planned, now_s):
        expected = expect(self, planned, now_s)
        return replace(expected, z_um=60.0) if planned.index == 1 else expected

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SlideKnowledge, "expect", too_high)
        run(cramped, tmp_path)
    records = {record.index: record for record in FieldsFolder(tmp_path).records}
    assert records[1].verdict == "failed"
    assert "outside the limits -120 … 20.1 µm" in records[1].focus["reason"]
    assert {records[index].verdict for index in (0, 2, 3)} == {"focused"}
    assert FieldsFolder(tmp_path).frame(records[1]).any()


class Blind(Knowing):
    """Sees something in the first look at a field, and nothing once pairs are taken."""

    def measure(self, first, second):
        contrast = super().measure(first, second)
        return contrast if first is second else type(contrast)(0.5, contrast.difference_sd)


def test_an_empty_field_takes_the_pivots_z_and_is_marked(instrument, tmp_path):
    run(instrument, tmp_path, Blind(instrument))
    records = FieldsFolder(tmp_path).records
    assert {record.verdict for record in records} == {"empty"}
    assert len({record.stage_z_um for record in records}) == 1
    assert all(record.images <= 3 for record in records)
    assert all(record.focus["focus_um"] is None for record in records)


def modelled_run(scan, side, settings=None):
    """A scan of the modelled instrument before its first field, and its plan."""
    plan = modelled.square_plan(side)
    run = ScanRun(scan.microscope, settings or modelled.paper_settings(), scan.eyes, plan, scan.truth)
    first = next(iter(plan))
    run.begin_at(first, scan.known_um(first))
    return run, plan


def no_sweep():
    return SweepResult("found", 0.0, None, (0.0,), (1.0,), "known beforehand")


class TestOrderOfTheVisit:
    SIDE = 12

    @pytest.fixture(scope="class")
    @classmethod
    def half_empty(cls):
        """A slide whose right half is empty: the outcome, and whether a field (row, column) holds tissue."""
        scan = modelled.modelled("half-empty", cls.SIDE)
        return modelled.run(scan, cls.SIDE), lambda row, column: scan.slide.texture((row, column)) is not None

    def test_sparse_fields_come_first(self, half_empty):
        outcome, _ = half_empty
        sparse = TissueMap(modelled.square_plan(self.SIDE)).sparse()
        assert [record.index for record in outcome.attempts[: len(sparse)]] == [field.index for field in sparse]

    def test_then_the_tissue_and_its_border_in_the_plans_order(self, half_empty):
        outcome, holds_tissue = half_empty
        sparse = len(TissueMap(modelled.square_plan(self.SIDE)).sparse())
        then = [record for record in outcome.attempts[sparse:] if record.attempt == 1]
        assert [record.index for record in then] == sorted(record.index for record in then)
        visited = {(record.row, record.column) for record in outcome.last.values()}
        tissue = {(row, col) for row in range(self.SIDE) for col in range(self.SIDE) if holds_tissue(row, col)}
        border = {(row, col + 1) for row, col in tissue} - tissue
        assert tissue | border <= visited
        assert len(visited) < self.SIDE * (self.SIDE - 2)

    def test_empty_fields_are_called_so_and_no_other(self, half_empty):
        outcome, holds_tissue = half_empty
        for record in outcome.last.values():
            assert (record.verdict == "empty") != holds_tissue(record.row, record.column)

    def test_everywhere_means_every_field_in_the_plans_order(self):
        settings = replace(modelled.paper_settings(), everywhere=True)
        outcome = modelled.run(modelled.modelled("half-empty", 6), 6, settings=settings)
        firsts = [record.index for record in outcome.attempts if record.attempt == 1]
        assert firsts == list(range(36))

    def test_progress_knows_how_many_fields_are_worth_a_visit(self):
        scan = modelled.modelled("half-empty", self.SIDE)
        run, _ = modelled_run(scan, self.SIDE)
        seen = []
        with lamp_lit(scan.microscope.lamp):
            for _ in run.fields():
                seen.append(run.progress())
        assert [progress.fields_done for progress in seen] == sorted(progress.fields_done for progress in seen)
        assert all(progress.fields_done <= progress.fields <= len(modelled.square_plan(self.SIDE)) for progress in seen)
        assert seen[-1].fields < 144
        assert seen[-1].images == len(scan.microscope.camera.seen)


class TestTakenAgain:
    SIDE = 8

    @pytest.fixture(scope="class")
    @classmethod
    def scanned(cls, tmp_path_factory):
        """A scan in which the stage stood 2 µm too high for one field, unnoticed until others were seen."""
        scan = modelled.modelled("tissue", cls.SIDE, seed=1)
        wrong, off_um = 27, [0.0]
        scan = modelled.with_z(scan, lambda: off_um[0])
        run, plan = modelled_run(scan, cls.SIDE)
        folder = tmp_path_factory.mktemp("again")
        header = FieldsHeader(
            version="0", seed=1, microscope="modelled", specimen="tissue", pixel_size_um=0.345, frame_shape=(1, 2),
            magnification=40, na=0.65, immersion_index=1.0, depth_of_field_um=1.4, rows=plan.rows,
            columns=plan.columns, overlap=plan.overlap,
        )  # fmt: skip
        order = list(TissueMap(plan).sparse())
        order += [field for field in plan if field not in order]
        with lamp_lit(scan.microscope.lamp), FieldsWriter(folder, header, frame_format="png") as writer:
            for done, (record, frame) in enumerate(run.fields(), 1):
                writer.put(record, frame)
                off_um[0] = 2.0 if done < len(order) and order[done].index == wrong else 0.0
        cls.seen = scan.microscope.camera.seen
        return FieldsFolder(folder), run.summary(no_sweep()), wrong

    def test_it_is_a_second_attempt_after_all_others(self, scanned):
        fields, summary, _ = scanned
        attempts = [record.attempt for record in fields.attempts]
        assert attempts == sorted(attempts)
        assert set(attempts) == {1, 2}
        again = [record.index for record in fields.attempts if record.attempt == 2]
        assert again == list(summary.rescanned) == sorted(again)

    def test_it_has_another_frame_file(self, scanned):
        fields, _, _ = scanned
        files = [record.file for record in fields.attempts]
        assert len(files) == len(set(files))
        for record in fields.attempts:
            assert fields.frame(record).shape == (1, 2, 3)
            assert ("-2." in record.file) == (record.attempt == 2)

    def test_the_last_attempt_counts(self, scanned):
        fields, _, _ = scanned
        assert len(fields.records) == self.SIDE**2
        for record in fields.attempts:
            if record.attempt == 2:
                assert record in fields.records

    def test_few_are_taken_again_and_their_focus_is_measured(self, scanned):
        fields, summary, _ = scanned
        assert len(summary.rescanned) <= 0.15 * self.SIDE**2
        for record in fields.attempts:
            if record.attempt == 2 and record.verdict == "focused":
                assert record.focus["focus_um"] is not None

    def test_what_is_believed_of_every_kept_frame_is_told(self, scanned):
        fields, summary, _ = scanned
        assert summary.policy == "surface"
        assert set(summary.judgements) == {record.index for record in fields.records if record.verdict == "focused"}
        measured = {record.index for record in fields.records if record.focus["focus_um"] is not None}
        doubted = {
            index
            for index, judged in summary.judgements.items()
            if judged.out_of_focus > (MOST_OUT_MEASURED if index in measured else MOST_OUT)
        }
        assert doubted <= set(summary.in_doubt)
        assert summary.images == sum(record.images for record in fields.attempts)

    def test_a_scan_is_recalled_from_its_folder_and_fields_that_are_named_are_taken_again(self, scanned):
        before, _, _ = scanned
        scan = modelled.modelled("tissue", self.SIDE, seed=1)
        scan.microscope.camera.seen.extend(self.seen)
        run, _ = modelled_run(scan, self.SIDE)
        run.recall(before)
        named = [3, 40]
        with lamp_lit(scan.microscope.lamp):
            taken = [record for record, _ in run.again(named)]
        assert [record.index for record in taken] == named
        earlier = {record.index: record.attempt for record in before.records}
        for record in taken:
            assert record.attempt == earlier[record.index] + 1
            assert record.verdict == "focused"
            assert record.focus["focus_um"] is not None
            off_um = record.true_stage_um[2] - scan.slide.focus_um[record.row, record.column]
            assert abs(off_um) <= scan.microscope.depth_of_field_um / 2

    def test_the_papers_way_takes_nothing_again(self):
        outcome = modelled.run(
            modelled.modelled("tissue", 5), 5, settings=replace(modelled.paper_settings(), policy="paper")
        )
        assert {record.attempt for record in outcome.attempts} == {1}


class TestTime:
    """On the modelled clock: x and y step 60 ms, z a few µm in less, a frame 33 ms, a decision 15 ms."""

    def begun_s(self, side=5, **settings):
        """When x-y and z moves began, and when frames were done, with the outcome."""
        scan = modelled.modelled("tilted", side)
        microscope, begun = scan.microscope, {"xy": [], "z": [], "frame": []}
        for name, device in (("xy", microscope.xy), ("z", microscope.z)):
            move_to = device.move_to

            def noted(*place, move_to=move_to, name=name):
                begun[name].append(microscope.clock.now_s)
                move_to(*place)

            device.move_to = noted
        snap = microscope.camera.snap

        def snapped():
            frame = snap()
            begun["frame"].append(microscope.clock.now_s)
            return frame

        microscope.camera.snap = snapped
        outcome = modelled.run(scan, side, settings=replace(modelled.paper_settings(), **settings))
        return begun, outcome

    @pytest.mark.parametrize("policy", ["surface", "paper"])
    def test_x_y_and_z_move_together(self, policy):
        begun, outcome = self.begun_s(policy=policy)
        arrivals_s = begun["xy"][1:]  # the first move comes from below, in two
        assert len(arrivals_s) == len(outcome.attempts)
        assert len(set(arrivals_s[1:]) & set(begun["z"])) == len(arrivals_s) - 1

    def test_a_field_of_one_image_takes_a_step_and_a_frame_and_thinking_takes_place_meanwhile(self):
        begun, outcome = self.begun_s(side=7)
        took_s = [
            after_s - before_s
            for record, before_s, after_s in zip(outcome.attempts[1:], begun["xy"][2:], begun["xy"][3:], strict=False)
            if record.images == 1
        ]
        assert len(took_s) > 20
        assert min(took_s) == pytest.approx(0.060 + 0.033)
        assert max(took_s) == pytest.approx(0.060 + 0.033 + 0.015)  # where neighbours were asked

    def test_z_stands_at_the_first_image_when_x_and_y_arrive(self):
        scan = modelled.modelled("tilted", 4)
        approached, approach = [], BySurface.first_um

        def noted(self, visit):
            approached.append(approach(self, visit))
            return approached[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BySurface, "first_um", noted)
            outcome = modelled.run(scan, 4)
        assert {record.focus["trace"][0]["z_um"] for record in outcome.attempts} == set(approached)
