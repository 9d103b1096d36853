"""A slide leaves under a pseudonym; who it belongs to stays in the folder unless somebody says otherwise."""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.label import read_label
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.formats.description import describe, pseudonym
from parfocal.slide.formats.privacy import deidentify

HEADER = FieldsHeader(
    version="0.1.0",
    seed=1,
    microscope="simulated-20x",
    specimen="biopsy of Jane Roe, born 1961-02-03",
    pixel_size_um=0.345,
    frame_shape=(32, 48),
    magnification=20,
    na=0.75,
    immersion_index=1.0,
    depth_of_field_um=1.21,
    rows=1,
    columns=2,
    overlap=0.1,
    slide_id="S26-0012-A",
    scan_id="7b0c4a0f6f3a4d6c",
    started_at=datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC),
    serial_number="SN-77",
)
LABEL = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)


def folder_of(path, header=HEADER, label=LABEL, x_um=0.0):
    with FieldsWriter(path, header, label=label) as writer:
        for index in range(2):
            record = FieldRecord(index, 0, index, x_um + 10.0 * index, 0.0, 0.0, "focused", 1)
            writer.put(record, np.full((32, 48, 3), 200, np.uint8))
    return FieldsFolder(path)


@pytest.fixture
def folder(tmp_path):
    return folder_of(tmp_path / "Jane Roe")


def test_identity_is_kept_in_the_folder(folder):
    assert folder.header == HEADER
    assert np.array_equal(folder.label(), LABEL)


def test_a_slide_is_named_by_a_pseudonym(folder):
    told = describe(folder)
    assert told.name == told.pseudonym
    assert re.fullmatch(r"slide-[0-9a-f]{12}", told.name)


def test_nothing_that_the_user_typed_is_in_the_description(folder):
    text = repr(asdict(replace(describe(folder), label=None))).casefold()
    for secret in ("jane", "roe", "1961", "s26-0012", HEADER.scan_id, str(folder.path).casefold()):
        assert secret not in text


def test_the_slides_id_is_its_name_where_that_was_asked_for(folder, tmp_path):
    assert describe(folder, identified=True).name == "S26-0012-A"
    without = folder_of(tmp_path / "other", replace(HEADER, slide_id=""))
    assert describe(without, identified=True).name == pseudonym(without)


def test_the_pseudonym_hangs_on_the_random_id_alone(folder, tmp_path):
    same = folder_of(tmp_path / "same", replace(HEADER, specimen="x", slide_id="y", seed=7), x_um=5.0)
    other = folder_of(tmp_path / "other", replace(HEADER, scan_id="another"))
    assert pseudonym(same) == pseudonym(folder) != pseudonym(other)


def test_an_older_scan_has_a_pseudonym_too_which_taking_fields_again_does_not_change(tmp_path):
    old = folder_of(tmp_path / "old", replace(HEADER, scan_id=""))
    elsewhere = folder_of(tmp_path / "elsewhere", replace(HEADER, scan_id=""), x_um=0.001)
    before = pseudonym(old)
    assert before != pseudonym(elsewhere)
    with FieldsWriter.reopen(old) as writer:
        again = FieldRecord(1, 0, 1, 10.2, 0.0, 1.0, "focused", 3, attempt=2)
        writer.put(again, np.full((32, 48, 3), 100, np.uint8))
    assert pseudonym(FieldsFolder(old.path)) == before


def test_the_pseudonym_of_a_scan_stays_as_versions_go(folder, tmp_path):
    assert pseudonym(folder) == "slide-44589677ff16"
    assert pseudonym(folder_of(tmp_path / "old", replace(HEADER, scan_id=""))) == "slide-1ad076ff96aa"


def test_deidentifying_strips_label_time_and_serial_number_and_says_so(folder):
    bare, stripped = deidentify(describe(folder, identified=True))
    assert (bare.label, bare.scanned_at, bare.serial_number) == (None, None, "")
    assert bare.name == pseudonym(folder)
    assert stripped == ("slide id", "label image", "time of the scan", "serial number of the instrument")
    assert bare.icc_profile == describe(folder).icc_profile != b""


def test_an_overview_of_the_glass_may_show_the_label_and_goes_too(folder):
    bare, stripped = deidentify(replace(describe(folder), overview=LABEL))
    assert bare.overview is None
    assert "overview image" in stripped


def test_where_there_is_nothing_to_strip_nothing_is_said(tmp_path):
    plain = replace(HEADER, slide_id="", started_at=None, serial_number="")
    bare, stripped = deidentify(describe(folder_of(tmp_path / "plain", plain, label=None)))
    assert stripped == ()
    assert bare == describe(FieldsFolder(tmp_path / "plain"))


def test_a_folder_from_before_there_were_ids_still_reads(folder):
    path = folder.path / "scan.json"
    values = json.loads(path.read_text())
    for name in ("slide_id", "scan_id", "started_at", "serial_number"):
        del values[name]
    path.write_text(json.dumps(values))
    header = FieldsFolder(folder.path).header
    assert (header.slide_id, header.scan_id, header.started_at, header.serial_number) == ("", "", None, "")


def test_a_label_goes_with_the_scan_that_is_replaced(folder):
    folder_of(folder.path / "new", label=None)
    with FieldsWriter(folder.path / "new", HEADER, overwrite=True, label=LABEL):
        pass
    with FieldsWriter(folder.path / "new", HEADER, overwrite=True):
        pass
    assert FieldsFolder(folder.path / "new").label() is None


def test_of_a_photograph_only_the_pixels_are_taken(tmp_path):
    path = tmp_path / "photo.jpg"
    cv2.imwrite(str(path), np.full((3000, 4096, 3), (200, 100, 50), np.uint8))
    label = read_label(path)
    assert label.shape == (1500, 2048, 3)
    assert np.abs(label[0, 0].astype(int) - (50, 100, 200)).max() <= 3


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_label_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "label.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=r"label\.png"):
        read_label(path)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"started_at": datetime.datetime(2026, 1, 1)}, "time zone"),
        ({"slide_id": "two\nlines"}, "slide_id"),
        ({"slide_id": "x" * 65}, "64"),
    ],
)
def test_what_cannot_be_is_refused(values, match):
    with pytest.raises(FileError, match=match):
        replace(HEADER, **values)
