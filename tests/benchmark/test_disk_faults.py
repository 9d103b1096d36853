"""Faults of disk and network file: an error that says what is wrong, and nothing lost that was on disk."""

import pytest

from parfocal.benchmark.disk_faults import disk_cases, network_cases, run_disk_case, run_network_case
from parfocal.benchmark.fault_outcome import damaged
from parfocal.slide.fields.layout import RECORDS_FILE
from parfocal.slide.fields.verify import verify_fields
from parfocal.slide.fields.writer import FieldsWriter


def test_there_are_twelve_kinds_of_each():
    assert len(set(disk_cases())) >= 12
    assert len(set(network_cases())) >= 12


@pytest.mark.parametrize(
    ("kind", "outcome", "said"),
    [
        ("full", "stopped", "No space left on device"),
        ("fills-up", "stopped", "less than the reserve"),
        ("frame-flipped", "stopped", "parfocal verify: "),
        ("last-record-torn", "stopped", "1 torn, 14 of 15 fields"),
    ],
)
def test_what_becomes_of_a_fault_of_the_disk(tmp_path, kind, outcome, said):
    fault = run_disk_case(kind, tmp_path / "fields")
    assert (fault.outcome, fault.lost, fault.lamp_left_on, fault.failure) == (outcome, 0, False, "")
    assert said in fault.detail
    if kind == "full":
        frame = next((tmp_path / "fields" / "frames").iterdir())
        frame.write_bytes(frame.read_bytes() + b"more")
        assert damaged(tmp_path / "fields", 0) == 1


def test_frames_that_somebody_removes_are_counted_apart_and_a_resume_must_say_that_they_are_gone(tmp_path):
    fault = run_disk_case("folder-removed", tmp_path / "fields")
    assert (fault.outcome, fault.lost, fault.taken_away, fault.failure) == ("stopped", 0, 9, "")
    assert "a resume says" in fault.detail
    assert "frames, the folder of its frames, is not there" in fault.detail
    assert verify_fields(tmp_path / "fields").missing == 9


def test_a_line_that_a_disk_said_it_had_and_has_not_is_lost(tmp_path, monkeypatch):
    append, lines = FieldsWriter._append, []

    def lie(writer, file, name, line):
        lines.append(name)
        if lines.count(RECORDS_FILE) != 1 or name != RECORDS_FILE:
            append(writer, file, name, line)

    monkeypatch.setattr(FieldsWriter, "_append", lie)
    assert run_disk_case("slow", tmp_path / "fields").lost == 1


@pytest.mark.parametrize("kind", network_cases())
def test_what_is_no_network_is_refused_in_words_or_predicts_as_a_sound_one(tmp_path, network, kind):
    fault = run_network_case(kind, tmp_path, network)
    assert fault.outcome == "stopped" if kind != "contract-flipped" else fault.outcome in ("stopped", "recovered")
    assert fault.detail
