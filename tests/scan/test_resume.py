"""A scan that broke off at any moment is gone on with: nothing durable is lost, nothing is taken twice."""

import json
import math
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import modelled
from knowing import Knowing
from parfocal import api, config
from parfocal.api import resuming
from parfocal.devices.approach import lamp_lit
from parfocal.devices.shifted import ShiftedXY, ShiftedZ
from parfocal.errors import FileError, InstrumentError, ScanStoppedError, SettingsError
from parfocal.focus.surface import FocusDrift, FocusSurface
from parfocal.scan.drift import drift_figures
from parfocal.scan.resume import ended, resume_fields
from parfocal.scan.run import ScanRun
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.light.fading import UNKNOWN_FADING

AREA_MM = (0.15, 0.1)
SEED = 3
WIDE_UM = (-1000.0, 1000.0)


def opened(toml, seed=SEED, specimen="blood-smear"):
    instrument = api.open_microscope(toml, specimen, seed)
    return api.Reopened(instrument, Knowing(instrument))


def stop_after(fields):
    def on_progress(progress):
        if progress.fields_done == fields:
            raise KeyboardInterrupt

    return on_progress


@pytest.fixture(scope="module")
def toml(small_toml):
    return small_toml()


@pytest.fixture(scope="module")
def whole(toml, tmp_path_factory):
    """A scan that was never interrupted: its folder and report."""
    folder, scope = tmp_path_factory.mktemp("whole") / "scan", opened(toml)
    report = api.scan(scope.instrument, folder, AREA_MM, predictor=scope.predictor)
    return FieldsFolder(folder), report


@pytest.fixture(scope="module")
def interrupted(toml, tmp_path_factory):
    """The same scan, stopped after two of its four fields."""
    folder, scope = tmp_path_factory.mktemp("interrupted") / "scan", opened(toml)
    with pytest.raises(ScanStoppedError, match="interrupted after 2 of 4 fields"):
        api.scan(scope.instrument, folder, AREA_MM, predictor=scope.predictor, on_progress=stop_after(2))
    return folder


@pytest.fixture
def folder(interrupted, tmp_path):
    return shutil.copytree(interrupted, tmp_path / "scan")


def frames_of(folder):
    return {path.name: path.read_bytes() for path in (folder / "frames").iterdir()}


class TestAScanThatWasInterrupted:
    @pytest.fixture(scope="class")
    @classmethod
    def resumed(cls, interrupted, toml, tmp_path_factory):
        folder = shutil.copytree(interrupted, tmp_path_factory.mktemp("resumed") / "scan")
        before, scope, beats = frames_of(folder), opened(toml), []
        report = api.resume(folder, scope, beat=lambda: beats.append(scope.instrument.microscope.lamp.is_on))
        return FieldsFolder(folder), report, before, scope, beats

    def test_every_field_is_there_once(self, resumed):
        fields, _, _, _, _ = resumed
        assert [record.index for record in fields.attempts if record.attempt == 1] == [0, 1, 2, 3]

    def test_frames_that_were_there_are_byte_for_byte_what_they_were(self, resumed):
        fields, _, before, _, _ = resumed
        assert len(before) == 2
        assert before.items() <= frames_of(fields.path).items()
        assert api.verify(fields.path).is_well

    def test_fields_taken_after_it_have_the_verdict_and_the_focus_of_an_uninterrupted_run(self, resumed, whole):
        fields, report, _, scope, _ = resumed
        depth_um = scope.instrument.microscope.depth_of_field_um
        one, other = ({record.index: record for record in folder.records} for folder in (fields, whole[0]))
        for index in (2, 3):
            assert one[index].verdict == other[index].verdict == "focused"
            assert abs(report["field_errors_um"][str(index)]) <= depth_um / 2

    def test_exposures_and_time_are_counted_on(self, resumed, whole):
        fields, report, _, _, _ = resumed
        records = sorted(fields.attempts, key=lambda record: record.taken_s)
        assert [record.index for record in records] == [record.index for record in fields.attempts]
        assert report["images_total"] == records[-1].exposures
        assert report["images_total"] > whole[1]["images_total"]  # it had to find its bearings
        assert report["sweep"] == whole[1]["sweep"]

    def test_it_makes_slide_and_report(self, resumed, whole):
        fields, report, _, _, _ = resumed
        assert {path.name for path in fields.path.iterdir()} == {path.name for path in whole[0].path.iterdir()}
        assert report["fields"] == 4
        assert report["stitching"]["rms_error_px"] < 1

    def test_the_lamp_is_off_and_it_has_beaten(self, resumed):
        _, _, _, scope, beats = resumed
        assert not scope.instrument.microscope.lamp.is_on
        assert len(beats) > 20

    def test_the_journal_tells_of_it(self, resumed):
        fields, _, _, _, _ = resumed
        told = [note["what"] for note in fields.notes("opened", "stopped", "reopened", "resumed", "ended")]
        assert told == ["opened", "stopped", "reopened", "resumed", "ended"]
        resumed_note = next(fields.notes("resumed"))
        assert resumed_note["fields"] == 2
        assert (resumed_note["z_shift_um"], resumed_note["xy_shift_um"]) == (0.0, [0.0, 0.0])
        assert set(resumed_note["seen"]) <= {0, 1}

    def test_where_all_is_done_nothing_is(self, resumed):
        fields, report, _, _, _ = resumed
        before = {path: path.stat().st_mtime_ns for path in fields.path.rglob("*")}
        assert api.resume(fields.path) == json.loads(json.dumps(report))
        assert {path: path.stat().st_mtime_ns for path in fields.path.rglob("*")} == before


@pytest.mark.slow
class TestAScanThatLostItsZero:
    """The stage counts from another zero after a power failure: what was z = 3 µm is z = 15 µm now."""

    def resume_shifted(self, folder, toml, z_um=0.0, xy_um=(0.0, 0.0)):
        scope = opened(toml)
        microscope = scope.instrument.microscope
        moved = replace(
            microscope, z=ShiftedZ(microscope.z, -z_um, WIDE_UM), xy=ShiftedXY(microscope.xy, (-xy_um[0], -xy_um[1]))
        )
        instrument = replace(scope.instrument, microscope=moved)
        api.resume(folder, api.Reopened(instrument, scope.predictor))
        return FieldsFolder(folder), next(FieldsFolder(folder).notes("resumed"))

    @pytest.mark.parametrize("z_um", [12.0, -9.0])
    def test_an_offset_of_z_is_measured_and_taken_out(self, folder, toml, whole, z_um):
        fields, resumed = self.resume_shifted(folder, toml, z_um=z_um)
        assert resumed["z_shift_um"] == pytest.approx(z_um, abs=0.6)
        other = {record.index: record for record in whole[0].records}
        for record in fields.records:
            assert record.verdict == "focused"
            assert record.stage_z_um == pytest.approx(other[record.index].stage_z_um, abs=1.2)
        errors_um = json.loads((fields.path / "report.json").read_text())["field_errors_um"]
        assert len(errors_um) == len(fields.records)
        assert max(map(abs, errors_um.values())) <= fields.header.depth_of_field_um / 2

    def test_an_offset_of_x_and_y_is_taken_out_so_that_the_fields_meet(self, folder, toml):
        fields, resumed = self.resume_shifted(folder, toml, xy_um=(24.0, -17.0))
        assert resumed["xy_shift_um"] == pytest.approx([24.0, -17.0], abs=6.0)
        for record in fields.records:
            true_x_um, true_y_um, _ = record.true_stage_um
            assert math.dist((record.stage_x_um, record.stage_y_um), (true_x_um, true_y_um)) < 60
        report = json.loads((fields.path / "report.json").read_text())
        assert report["stitching"]["accepted"] == report["stitching"]["seams"]


class TestWhatIsRefused:
    def refused(self, folder, scope, kind=SettingsError, **how):
        before_s = scope.instrument.microscope.clock.now_s
        with pytest.raises(kind) as failure:
            api.resume(folder, scope, **how)
        assert not scope.instrument.microscope.lamp.is_on
        if kind is SettingsError:
            assert scope.instrument.microscope.clock.now_s == before_s
        return str(failure.value)

    def test_another_slide_by_name_or_seed(self, folder, toml):
        assert "its seed was 3, and is 4" in self.refused(folder, opened(toml, seed=4))
        said = self.refused(folder, opened(toml, specimen="marrow"))
        assert "its specimen was 'blood-smear', and is 'marrow'" in said
        assert "--accept-changes" in said

    def test_another_instrument_or_other_settings(self, folder, small_toml):
        other = small_toml('name = "small"', 'name = "tiny"')
        assert "its instrument was 'small', and is 'tiny'" in self.refused(folder, opened(other))
        said = self.refused(folder, opened(small_toml("lowest_um = -120.0", "lowest_um = -110.0")))
        assert "the setting limits.lowest_um (-120.0, now -110.0) is another" in said

    def test_another_version(self, folder, toml):
        path = folder / "scan.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "version": "0.0.1"}))
        assert "its version of Parfocal was '0.0.1'" in self.refused(folder, opened(toml))

    def test_settings_that_were_changed_in_the_header(self, folder, toml):
        path = folder / "scan.json"
        path.write_text(path.read_text().replace('"arrival_error_um": 0.17', '"arrival_error_um": 0.2'))
        assert "its header, the settings among it, was changed since" in self.refused(folder, opened(toml))

    @pytest.mark.slow
    def test_another_slide_that_looks_different_is_seen(self, folder, toml, monkeypatch):
        path = folder / "scan.json"
        header = json.loads(path.read_text())
        scope = opened(toml, seed=8)
        del header["sha256"]
        path.write_text(json.dumps({**header, "seed": 8}))
        said = self.refused(folder, scope, ScanStoppedError)
        assert "does not look as it did" in said or "none came into focus again" in said
        assert len(FieldsFolder(folder).records) == 2

    @pytest.mark.parametrize(
        ("was", "now", "message"),
        [
            ('"pixel_size_um": 0.345', '"pixel_size_um": 0.35', "its pixel size in µm was 0.35, and is 0.345"),
            ('"centre_um": [\n      0.0', '"centre_um": [\n      90000.0', "µm in x; the stage reaches from"),
        ],
    )
    def test_what_makes_no_slide_together_whatever_is_accepted(self, folder, toml, was, now, message):
        path = folder / "scan.json"
        assert was in path.read_text()
        path.write_text(path.read_text().replace(was, now))
        assert message in self.refused(folder, opened(toml), accept_changes=True)

    def test_frames_of_another_shape_whatever_is_accepted(self, folder, small_toml):
        scope = opened(small_toml("frame_shape = [240, 320]", "frame_shape = [260, 340]"))
        said = self.refused(folder, scope, accept_changes=True)
        assert "its frame shape was (240, 320), and is (260, 340): the frames make no slide together" in said

    def test_a_folder_that_does_not_tell_how_its_instrument_was_opened(self, folder):
        path = folder / "scan.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "origin": None}))
        with pytest.raises(SettingsError, match="did not write down how its instrument was opened"):
            api.open_again(folder)

    def test_a_folder_without_a_plan(self, folder):
        path = folder / "scan.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "plan": {}}))
        with pytest.raises(FileError, match="holds no plan"):
            api.resume(folder)

    @pytest.mark.slow
    def test_changes_can_be_accepted(self, folder, small_toml):
        scope = opened(small_toml("lowest_um = -120.0", "lowest_um = -110.0"))
        report = api.resume(folder, scope, accept_changes=True)
        assert report["fields"] == 4
        (told,) = report["changes_accepted"]
        assert told["after_fields"] == 2
        assert told["changes"][-1] == "the setting limits.lowest_um (-120.0, now -110.0) is another"

    def test_changes_that_were_accepted_stand_in_the_journal_before_anything_moves(self, folder, small_toml):
        scope = opened(small_toml("lowest_um = -120.0", "lowest_um = -110.0"))

        def fail():
            raise InstrumentError("the cable came loose")

        before = sum(1 for _ in FieldsFolder(folder).notes("move"))
        with pytest.raises(ScanStoppedError):
            api.resume(folder, scope, accept_changes=True, beat=fail)
        fields = FieldsFolder(folder)
        note = next(fields.notes("changes accepted"))
        assert note["fields"] == 2
        assert note["changes"][-1] == "the setting limits.lowest_um (-120.0, now -110.0) is another"
        assert sum(1 for _ in fields.notes("move")) == before


def test_devices_are_let_go_of_whatever_happens(whole, folder, toml, tmp_path, monkeypatch):
    closed = []

    def open_microscope(*how, **options):
        return replace(config.open_microscope(*how, **options), close=lambda: closed.append(how))

    def counted():
        instrument = open_microscope(toml, "blood-smear", SEED)
        return api.Reopened(instrument, Knowing(instrument))

    api.resume(whole[0].path, counted())
    assert len(closed) == 1
    with pytest.raises(FileError):
        api.resume(tmp_path / "none", counted())
    assert len(closed) == 2
    monkeypatch.setattr(resuming, "open_microscope", open_microscope)
    with pytest.raises(FileError, match="moved"):
        api.open_again(folder, network=tmp_path / "moved.onnx")
    assert len(closed) == 3


class TestWhatTheFolderKnows:
    def test_it_knows_instrument_slide_and_settings(self, toml, tmp_path):
        scope = opened(toml)
        with pytest.raises(ScanStoppedError):
            api.scan(
                scope.instrument, tmp_path, AREA_MM, predictor=scope.predictor, policy="paper", everywhere=True,
                on_progress=stop_after(1),
            )  # fmt: skip
        assert api.needs_instrument(tmp_path)
        again = api.open_again(tmp_path).instrument
        assert (again.microscope.name, again.specimen, again.seed) == ("small", "blood-smear", SEED)
        assert (again.settings.policy, again.settings.everywhere) == ("paper", True)

    def test_another_network_is_noticed(self, toml, tmp_path, network):
        instrument = api.open_microscope(toml, "blood-smear", SEED)
        with pytest.raises(ScanStoppedError):
            api.scan(instrument, tmp_path / "scan", AREA_MM, on_progress=stop_after(1))
        origin = FieldsFolder(tmp_path / "scan").header.origin
        assert origin.network == str(network)
        path = tmp_path / "scan" / "scan.json"
        path.write_text(path.read_text().replace(origin.network_sha256, "0" * 64))
        with pytest.raises(SettingsError, match=r"the network was SHA-256 000000000000…, this one is SHA-256"):
            api.resume(tmp_path / "scan")

    def test_one_whose_last_line_is_lost_has_not_ended(self, whole, tmp_path):
        shutil.copytree(whole[0].path, tmp_path / "cut")
        lines = tmp_path / "cut" / "fields.jsonl"
        lines.write_bytes(lines.read_bytes()[:-10])
        assert ended(FieldsFolder(tmp_path / "cut")) is None

    def test_an_ended_scan_says_what_it_came_to(self, whole):
        summary = ended(whole[0])
        assert summary.images == whole[1]["images_total"]
        summary = replace(summary, focus_drift=FocusDrift(0.4, 0.1))
        told = json.loads(json.dumps(summary.to_json()))
        assert type(summary).from_json(told).focus_drift == summary.focus_drift
        assert json.loads(json.dumps(type(summary).from_json(told).to_json())) == told


class TestAScanThatWasStoppedWhileItsSlideWasMade:
    @pytest.mark.parametrize("left", ["slide.ome.tif.part", pytest.param("report.json.part", marks=pytest.mark.slow)])
    def test_the_slide_is_made_and_nothing_moves(self, whole, tmp_path, left):
        folder = shutil.copytree(whole[0].path, tmp_path / "scan")
        for name in ("slide.ome.tif", "overview.jpg", "report.json", "focus.png"):
            (folder / name).unlink()
        (folder / left).write_bytes(b"half")
        moves = sum(1 for _ in FieldsFolder(folder).notes("move"))
        assert not api.needs_instrument(folder)
        report = api.resume(folder)
        assert {**report, "wall_time_s": 0, "peak_memory_mib": 0} == {
            **whole[1], "wall_time_s": 0, "peak_memory_mib": 0
        }  # fmt: skip
        assert sum(1 for _ in FieldsFolder(folder).notes("move")) == moves
        assert not list(folder.rglob("*.part"))
        assert (folder / "slide.ome.tif").read_bytes() == (whole[0].path / "slide.ome.tif").read_bytes()


class TestFieldsThatWereTakenAgainSince:
    @pytest.fixture
    def stale(self, whole, tmp_path):
        """A rescan of field 1 was killed before it made the slide anew."""
        folder = FieldsFolder(shutil.copytree(whole[0].path, tmp_path / "scan"))
        before = folder.records[1]
        with FieldsWriter.reopen(folder) as writer:
            writer.note("taking again", fields=[1, 2])
            again = replace(before, attempt=before.attempt + 1, verdict="unsure", exposures=999, taken_s=99.0)
            writer.put(again, folder.frame(folder.records[0]))
        return folder.path

    @pytest.mark.slow
    def test_the_slide_is_made_of_them_without_an_instrument(self, stale):
        slide = (stale / "slide.ome.tif").read_bytes()
        assert not api.verify(stale).complete
        assert not api.needs_instrument(stale)
        report = api.resume(stale)
        assert (stale / "slide.ome.tif").read_bytes() != slide
        assert api.verify(stale).is_well
        assert (report["attempts"], report["images_total"], report["rescanned"]) == (5, 999, 1)
        assert 1 in report["fields_in_doubt"]
        assert "1" not in report["out_of_focus"]


@pytest.mark.slow
class TestFramesThatWereLost:
    @pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
    def test_their_fields_are_taken_again(self, folder, toml, damage):
        path = folder / FieldsFolder(folder).records[1].file
        whole = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(whole[:-10] if damage == "cut" else whole[:500] + b"?" + whole[501:])
        api.resume(folder, opened(toml))
        fields = FieldsFolder(folder)
        assert [(r.index, r.attempt) for r in fields.attempts][2] == (1, 2)
        assert {record.index for record in fields.records} == set(range(4))
        assert next(fields.notes("resumed"))["lost_frames"] == [1]
        assert all(fields.damage(record) is None for record in fields.records)


@pytest.mark.slow
def test_a_scan_that_broke_off_before_its_first_field_begins_anew(toml, tmp_path):
    scope = opened(toml)

    def fail():
        if scope.instrument.microscope.clock.now_s > 1.0:
            raise InstrumentError("the camera gave no frame within 2 s")

    with pytest.raises(ScanStoppedError, match="stopped after 0 of 4 fields"):
        api.scan(scope.instrument, tmp_path, AREA_MM, predictor=scope.predictor, beat=fail)
    assert api.resume(tmp_path, opened(toml))["fields"] == 4
    assert api.verify(tmp_path).is_well


@pytest.mark.slow
def test_a_scan_can_be_stopped_again_and_again(toml, tmp_path):
    scope, switch = opened(toml), api.ScanSwitch()
    switch.stop()
    with pytest.raises(ScanStoppedError, match="stopped as asked after 1 fields"):
        api.scan(scope.instrument, tmp_path, AREA_MM, predictor=scope.predictor, switch=switch)
    with pytest.raises(ScanStoppedError, match="stopped as asked after 2 fields"):
        api.resume(tmp_path, opened(toml), switch=switch)
    assert api.resume(tmp_path, opened(toml))["fields"] == 4
    assert [record.index for record in FieldsFolder(tmp_path).attempts if record.attempt == 1] == [0, 1, 2, 3]


class TestOnTheModelledInstrument:
    """A larger slide, half of it empty, broken off after any number of fields."""

    SIDE = 8
    SLIDE = "half-empty"

    @pytest.fixture(scope="class")
    @classmethod
    def uninterrupted(cls):
        return modelled.run(modelled.modelled(cls.SLIDE, cls.SIDE), cls.SIDE)

    def run_of(self, scan, plan):
        return ScanRun(scan.microscope, modelled.paper_settings(), scan.eyes, plan, scan.truth)

    @pytest.mark.parametrize("after", [1, 3, 9, 20, 33, 45])
    def test_the_rest_is_taken_as_if_nothing_had_happened(self, tmp_path, uninterrupted, after):
        plan = modelled.square_plan(self.SIDE)
        header = FieldsHeader(
            version="0", seed=1, microscope="modelled", specimen=self.SLIDE, pixel_size_um=0.345, frame_shape=(1, 2),
            magnification=40, na=0.65, immersion_index=1.0, depth_of_field_um=1.4, rows=plan.rows,
            columns=plan.columns, overlap=plan.overlap,
        )  # fmt: skip
        scan = modelled.modelled(self.SLIDE, self.SIDE)
        run, first = self.run_of(scan, plan), next(iter(plan))
        run.begin_at(first, scan.known_um(first))
        with lamp_lit(scan.microscope.lamp), FieldsWriter(tmp_path, header, frame_format="png") as writer:
            for done, (record, frame) in enumerate(run.fields(), 1):
                writer.put(record, frame)
                if done == after:
                    break
        second = modelled.modelled(self.SLIDE, self.SIDE, seed=0)
        second.microscope.camera.seen.extend(scan.microscope.camera.seen)
        resumed, before = self.run_of(second, plan), FieldsFolder(tmp_path)
        if not any(record.focus.get("focus_sd_um") is not None for record in before.records):
            resumed.begin_at(first, scan.known_um(first))
        resumed.recall(before)
        resumed.go_on_from(before, (), 0)
        with lamp_lit(second.microscope.lamp), FieldsWriter.reopen(before) as writer:
            for record, frame in resumed.fields():
                writer.put(record, frame)
        fields = FieldsFolder(tmp_path)
        firsts = [record.index for record in fields.attempts if record.attempt == 1]
        assert len(firsts) == len(set(firsts))
        assert set(firsts) == set(uninterrupted.last)
        half_um, blurred = second.microscope.depth_of_field_um / 2, 0
        for record in fields.records:
            assert record.verdict == uninterrupted.last[record.index].verdict
            off_um = record.true_stage_um[2] - second.truth.best_focus_um(*record.true_stage_um[:2])
            blurred += record.verdict == "focused" and abs(off_um) > half_um
        assert blurred <= sum(abs(error_um) > half_um for error_um in uninterrupted.error_um.values()) + 1
        images = sum(record.images for record in fields.attempts)
        assert images <= 1.25 * sum(record.images for record in uninterrupted.attempts)


@pytest.mark.parametrize(("fields_before", "warnings"), [(0, 1), (30, 0)])
def test_a_step_of_the_focus_where_a_scan_was_gone_on_with_is_not_called_a_drift(fields_before, warnings):
    """Its zero was found again wrongly, by 2 µm; in a scan without a break the instrument did move."""
    scan, plan, pitch_um = modelled.modelled(), modelled.square_plan(6), 100.0
    run = ScanRun(scan.microscope, modelled.paper_settings(), scan.eyes, plan)
    run.knowledge.surface = surface = FocusSurface(0.0, pitch_um)
    rng = np.random.default_rng(1)
    for done, place in enumerate(rng.permutation(60)):
        z_um = (2.0 if done >= 30 else 0.0) + 0.05 * rng.normal()
        surface.add(pitch_um * (place % 10), pitch_um * (place // 10), z_um, 0.05, time_s=4.0 * done)
    record = SimpleNamespace(exposures=1, taken_s=1.0)
    run.go_on_from(SimpleNamespace(attempts=[record] * fields_before), (), 0)
    assert len(drift_figures(UNKNOWN_FADING, run.focus_drift)["warnings"]) == warnings


@pytest.mark.slow
def test_resume_fields_leaves_the_lamp_off_where_no_focus_is_found_again(folder, toml):
    scope = opened(toml)
    fields = FieldsFolder(folder)
    settings = replace(scope.instrument.settings, sweep=replace(scope.instrument.settings.sweep, highest_um=-12.0))
    plan = api.scanning.plan_of(scope.instrument, AREA_MM)
    with pytest.raises(ScanStoppedError, match="none came into focus again"):
        resume_fields(
            scope.instrument.microscope, settings, scope.predictor, plan, fields, lambda record, progress: None,
            scope.instrument.truth,
        )  # fmt: skip
    assert not scope.instrument.microscope.lamp.is_on
