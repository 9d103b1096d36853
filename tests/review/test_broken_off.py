"""Scans that can be gone on with from the page: those without their end, and those that grew since."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
from reviewing import write_scan

from parfocal.review.instrument.broken_off import broken_off, scans
from parfocal.review.shelf.shelf import Shelved
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import header_text
from parfocal.slide.fields.writer import FieldsWriter


@pytest.fixture
def folder(tmp_path):
    """A scan of four fields, by a plan, that was not stitched yet."""
    write_scan(tmp_path / "mine")
    header = FieldsFolder(tmp_path / "mine").header
    (tmp_path / "mine" / "scan.json").write_text(header_text(replace(header, plan={"rows": 2})), encoding="utf-8")
    return tmp_path / "mine"


def listed(folder):
    """(whether it can be gone on with, whether it has ended)."""
    shelf = SimpleNamespace(slides=lambda: [Shelved("1", "mine", folder)])
    assert {*broken_off(shelf), *scans(shelf)} <= {"mine"}
    return bool(broken_off(shelf)), bool(scans(shelf))


def end(folder, attempts=4):
    (folder / "slide.ome.tif").touch()
    (folder / "report.json").write_text(f'{{"attempts": {attempts}}}')


def grow_older(path, by_s):
    seen = path.stat()
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns - by_s * 10**9))


def test_one_without_a_report_broke_off_and_one_with_a_report_did_not(folder):
    assert listed(folder) == (True, False)
    end(folder)
    assert listed(folder) == (False, True)


def test_one_whose_fields_were_taken_again_since_its_report_broke_off_too(folder):
    end(folder)
    grow_older(folder / "report.json", 10)
    before = FieldsFolder(folder)
    with FieldsWriter.reopen(before) as writer:
        writer.put(replace(before.records[1], attempt=2), before.frame(before.records[1]))
    assert listed(folder) == (True, True)
    end(folder, attempts=5)
    assert listed(folder) == (False, True)


def test_files_that_were_copied_in_another_order_make_no_difference(folder):
    end(folder)
    grow_older(folder / "report.json", 10)
    assert listed(folder) == (False, True)


def test_photographs_and_folders_that_are_damaged_cannot_be_gone_on_with(folder, tmp_path):
    write_scan(tmp_path / "photographs")
    assert listed(tmp_path / "photographs") == (False, False)
    (folder / "scan.json").write_text("{")
    assert listed(folder) == (False, False)
