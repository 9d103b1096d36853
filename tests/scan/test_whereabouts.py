"""A stage that counts from another zero, or a slide that was moved, is found out before anything is taken."""

import json
import shutil
from dataclasses import replace

import pytest

from parfocal.benchmark.painted import painted_header, painted_scan, surface_um
from parfocal.devices.shifted import ShiftedXY, ShiftedZ
from parfocal.errors import InstrumentError, ScanStoppedError
from parfocal.scan.rescan import rescan_fields
from parfocal.scan.resume import resume_fields
from parfocal.scan.scanner import scan_fields
from parfocal.scan.whereabouts import known_fields
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.writer import FieldsWriter

SIDE_MM = 0.15
WIDE_UM = (-1000.0, 1000.0)


def untold(record, progress):
    """Nobody listens."""


def scanned(folder, fields=None):
    """A scan that is stopped after so many fields; after its sweep where that is 0."""
    scan = painted_scan(SIDE_MM, seed=5)
    done = 0

    def on_field(record, progress):
        nonlocal done
        done += 1
        if done == fields:
            raise KeyboardInterrupt

    with FieldsWriter(folder, painted_header(scan)) as writer:
        if fields == 0:
            note = writer.note

            def noted(what, **values):
                note(what, **values)
                if what == "focus found":
                    raise KeyboardInterrupt

            writer.note = noted
        try:
            scan_fields(scan.microscope, scan.settings, scan.predictor, scan.plan, writer, on_field, scan.truth)
        except ScanStoppedError:
            writer.note = FieldsWriter.note.__get__(writer)
    return folder


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return scanned(tmp_path_factory.mktemp("swept") / "scan", 0)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    return scanned(tmp_path_factory.mktemp("begun") / "scan", 3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return scanned(tmp_path_factory.mktemp("whole") / "scan")


def moved(scan, z_um=0.0, xy_um=(0.0, 0.0)):
    """The stage counts so much more than it did."""
    one = scan.microscope
    return replace(one, z=ShiftedZ(one.z, -z_um, WIDE_UM), xy=ShiftedXY(one.xy, (-xy_um[0], -xy_um[1])))


def resumed(folder, microscope_of=lambda scan: scan.microscope):
    scan = painted_scan(SIDE_MM, seed=6)
    resume_fields(
        microscope_of(scan), scan.settings, scan.predictor, scan.plan, FieldsFolder(folder), untold, scan.truth
    )
    return FieldsFolder(folder)


def defocus_um(record):
    x_um, y_um, z_um = record.true_stage_um
    return z_um - surface_um(x_um, y_um)


class TestAScanThatMeasuredNothing:
    @pytest.mark.parametrize("z_um", [0.0, 10.0])
    def test_its_sweep_is_not_believed_wherever_the_stage_stands_now(self, swept, tmp_path, z_um):
        fields = resumed(shutil.copytree(swept, tmp_path / "scan"), lambda scan: moved(scan, z_um))
        assert {record.verdict for record in fields.records} == {"focused"}
        assert max(abs(defocus_um(record)) for record in fields.records) < 1.0
        assert len(list(fields.notes("focus found"))) == 2

    def test_the_sweep_that_is_believed_afterwards_is_the_new_one(self, swept, tmp_path):
        folder = shutil.copytree(swept, tmp_path / "scan")

        def stops(record, progress):
            raise KeyboardInterrupt

        scan = painted_scan(SIDE_MM, seed=6)
        with pytest.raises(ScanStoppedError):
            resume_fields(
                moved(scan, 10.0), scan.settings, scan.predictor, scan.plan, FieldsFolder(folder), stops, scan.truth
            )
        fields = resumed(folder, lambda scan: moved(scan, 10.0))
        first, second = fields.notes("focus found")
        summary = next(fields.notes("ended"))["summary"]
        assert summary["sweep"]["z_um"] == second["sweep"]["z_um"] == pytest.approx(first["sweep"]["z_um"] + 10, abs=2)


class TestAScanThatMeasuredFields:
    def test_it_needs_no_journal_to_know_where_the_focus_lies(self, begun, tmp_path):
        folder = shutil.copytree(begun, tmp_path / "scan")
        journal = folder / "journal.jsonl"
        kept = [line for line in journal.read_bytes().splitlines(True) if b'"focus found"' not in line]
        journal.write_bytes(b"".join(kept))
        fields, as_ever = resumed(folder), resumed(shutil.copytree(begun, tmp_path / "as-ever"))
        assert not list(fields.notes("focus found"))
        assert fields.attempts[-1].exposures == as_ever.attempts[-1].exposures
        assert {record.verdict for record in fields.records} == {"focused"}

    def test_only_frames_of_fields_that_are_looked_for_are_read_and_in_the_dark(self, whole, tmp_path, monkeypatch):
        folder = FieldsFolder(shutil.copytree(whole, tmp_path / "scan"))
        many = folder.with_attempts([replace(folder.records[0], index=index) for index in range(30)])
        scan, read = painted_scan(SIDE_MM, seed=6), []
        damage = FieldsFolder.damage

        def looked_at(self, record):
            read.append(scan.microscope.lamp.is_on)
            return damage(self, record)

        monkeypatch.setattr(FieldsFolder, "damage", looked_at)
        assert [record.index for record in known_fields(many)] == list(range(29, 21, -1))
        assert len(read) == 8
        resume_fields(scan.microscope, scan.settings, scan.predictor, scan.plan, folder, untold, scan.truth)
        assert not any(read)

    def test_a_stage_that_does_not_find_its_reference_stops_it_and_the_journal_says_so(self, begun, tmp_path):
        class Lost:
            def __init__(self, stage):
                self._stage = stage

            def __getattr__(self, name):
                return getattr(self._stage, name)

            def home(self):
                raise InstrumentError("no switch within 20 mm")

        folder = shutil.copytree(begun, tmp_path / "scan")
        with pytest.raises(ScanStoppedError, match="no switch within 20 mm"):
            resumed(folder, lambda scan: replace(scan.microscope, z=Lost(scan.microscope.z)))
        told = [
            (note["what"], note.get("to_um")) for note in FieldsFolder(folder).notes("move", "not arrived", "stopped")
        ]
        assert told[-3:] == [("move", "reference"), ("not arrived", None), ("stopped", None)]


class TestFieldsThatAreTakenAgain:
    def test_they_lie_where_they_lay_though_the_stage_counts_otherwise(self, whole, tmp_path):
        folder = shutil.copytree(whole, tmp_path / "scan")
        scan, before = painted_scan(SIDE_MM, seed=7), {record.index: record for record in FieldsFolder(folder).records}
        rescan_fields(
            moved(scan, 12.0, (24.0, -17.0)), scan.settings, scan.predictor, scan.plan, FieldsFolder(folder), [0, 3],
            untold, scan.truth,
        )  # fmt: skip
        after = {record.index: record for record in FieldsFolder(folder).records}
        for index in (0, 3):
            assert (after[index].attempt, after[index].verdict) == (2, "focused")
            assert after[index].stage_z_um == pytest.approx(before[index].stage_z_um, abs=1.5)
            apart_um = [
                one - other for one, other in zip(after[index].true_stage_um, before[index].true_stage_um, strict=True)
            ]
            assert max(map(abs, apart_um)) < 12
        note = next(FieldsFolder(folder).notes("taking again"))
        assert note["z_shift_um"] == pytest.approx(12.0, abs=1.0)
        assert json.loads(json.dumps(note))["xy_shift_um"] == pytest.approx([24.0, -17.0], abs=8.0)
        assert after[0].exposures > max(record.exposures for record in before.values())

    def test_another_slide_is_refused_before_anything_is_taken(self, whole, tmp_path):
        folder = shutil.copytree(whole, tmp_path / "scan")
        scan = painted_scan(SIDE_MM, seed=7)
        elsewhere = replace(scan.microscope, xy=ShiftedXY(scan.microscope.xy, (333.0, 250.0)))
        before = len(FieldsFolder(folder).attempts)
        with pytest.raises(ScanStoppedError, match="does not look as it did"):
            rescan_fields(
                elsewhere, scan.settings, scan.predictor, scan.plan, FieldsFolder(folder), [0], untold, scan.truth
            )
        assert len(FieldsFolder(folder).attempts) == before
