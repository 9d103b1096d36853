"""A long scan, made short; and what a field on disk costs."""

import threading

from parfocal.benchmark.endurance import durability, endure
from parfocal.slide.fields.writer import FieldsWriter


def test_a_scan_of_many_fields_is_all_there(tmp_path):
    told = []
    endured = endure(60, tmp_path / "fields", lambda *progress: told.append(progress))
    assert endured.fields >= 60
    assert endured.damaged == 0
    assert endured.journal_lines > 2 * endured.fields  # a move of x-y and one of z for each
    assert 10 < endured.settled_mib <= endured.end_mib + 50
    assert told[-1] == ("scanning", endured.fields, endured.fields)


def test_durability_is_the_writers_business(tmp_path, monkeypatch):
    writes, write = [], FieldsWriter._write
    monkeypatch.setattr(FieldsWriter, "_write", lambda *field: (writes.append(threading.get_ident()), write(*field)))
    cost = durability(tmp_path / "fields", 4)
    assert len(writes) == 4
    assert threading.get_ident() not in writes
    assert min(cost.writer_ms, cost.encode_ms, cost.control_ms) > 0
