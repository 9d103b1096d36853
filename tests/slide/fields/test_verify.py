"""A folder is looked through: every line, every frame, byte for byte."""

import json
import shutil

import numpy as np
import pytest

from parfocal.errors import FileError
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.verify import verify_fields
from parfocal.slide.fields.writer import FieldsWriter
from sealing import resealed

HEADER = FieldsHeader(
    version="0", seed=1, microscope="small", specimen="s", pixel_size_um=0.345, frame_shape=(40, 60), magnification=20,
    na=0.75, immersion_index=1.0, depth_of_field_um=1.2, rows=1, columns=99, overlap=0.1, scan_id="aaaa",
    settings={"policy": "surface"},
)  # fmt: skip


def frame(value):
    return np.full((40, 60, 3), value, np.uint8)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Four fields, one of them taken twice; the scan has ended and has its report."""
    folder = tmp_path_factory.mktemp("verify") / "scan"
    with FieldsWriter(folder, HEADER) as writer:
        for index, attempt in ((0, 1), (1, 1), (2, 1), (3, 1), (1, 2)):
            one = FieldRecord(index, 0, index, 1.0, 2.0, 3.0, "focused", 1, attempt=attempt)
            writer.put(one, frame(10 * index + attempt))
        writer.note("ended", summary={})
    (folder / "slide.ome.tif").write_bytes(b"a slide")
    (folder / "report.json").write_text('{"attempts": 5}')
    return folder


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "scan")


def lines_of(folder):
    return (folder / "fields.jsonl").read_bytes().splitlines(keepends=True)


def write(folder, lines):
    (folder / "fields.jsonl").write_bytes(b"".join(lines))


def test_a_whole_folder_is_well(folder):
    seen = verify_fields(folder)
    assert seen.is_well
    assert seen.to_json() == {
        "fields": 4, "verified": 4, "missing": 0, "corrupt": 0, "duplicates": 0, "torn": 0, "complete": True,
        "problems": [],
    }  # fmt: skip


def test_progress_is_told_for_every_frame(folder):
    told = []
    verify_fields(folder, lambda *what: told.append(what))
    assert told == [("frames", done, 5) for done in range(1, 6)]


def test_a_missing_frame_is_counted_and_its_field_is_not_verified(folder):
    (folder / "frames" / "f00002.jpg").unlink()
    seen = verify_fields(folder)
    assert (seen.fields, seen.verified, seen.missing, seen.corrupt) == (4, 3, 1, 0)
    assert seen.problems == ("frames/f00002.jpg: missing; `parfocal rescan` takes it again, with --field 2",)
    assert not seen.is_well


def test_one_changed_byte_of_a_frame_is_found_also_of_an_attempt_that_does_not_count(folder):
    path = folder / "frames" / "f00001.jpg"
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    seen = verify_fields(folder)
    assert (seen.verified, seen.corrupt) == (3, 1)
    assert not seen.is_well


def test_a_changed_line_is_corrupt(folder):
    lines = lines_of(folder)
    write(folder, [lines[0].replace(b"3.0", b"4.0"), *lines[1:]])
    seen = verify_fields(folder)
    assert (seen.fields, seen.verified, seen.corrupt, seen.torn) == (3, 3, 1, 0)
    assert "line 1: damaged" in seen.problems[0]


def test_frames_whose_lines_are_lost_are_corrupt(folder):
    write(folder, lines_of(folder)[:1])
    seen = verify_fields(folder)
    assert (seen.fields, seen.verified, seen.corrupt) == (1, 1, len(list((folder / "frames").iterdir())) - 1)
    assert not seen.is_sound


def test_one_frame_without_a_line_is_where_the_scan_broke_off(folder):
    write(folder, lines_of(folder)[:-1])
    seen = verify_fields(folder)
    assert (seen.corrupt, seen.torn) == (0, 1)
    assert seen.is_sound
    assert not seen.is_well


@pytest.mark.parametrize("change", [{"slide_id": "another"}, {"pixel_size_um": 0.1}, {"rows": 4}])
def test_a_header_that_was_changed_is_corrupt(folder, change):
    path = folder / "scan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    seen = verify_fields(folder)
    assert seen.corrupt == 1
    assert "scan.json" in seen.problems[0]


def test_a_line_that_occurs_twice_is_a_duplicate(folder):
    lines = lines_of(folder)
    write(folder, [*lines, lines[2]])
    seen = verify_fields(folder)
    assert (seen.fields, seen.verified, seen.duplicates) == (4, 4, 1)
    assert not seen.is_well


def test_a_torn_end_is_told_apart_from_damage_and_the_folder_is_not_well(folder):
    whole = (folder / "fields.jsonl").read_bytes()
    (folder / "fields.jsonl").write_bytes(whole + whole[:40])
    seen = verify_fields(folder)
    assert (seen.fields, seen.verified, seen.corrupt, seen.torn) == (4, 4, 0, 1)
    assert seen.is_sound
    assert not seen.is_well


def test_a_line_of_another_scan_is_corrupt(folder):
    lines = lines_of(folder)
    write(folder, [*lines[:3], resealed(lines[3].decode().replace("aaaa", "bbbb")).encode(), lines[4]])
    assert (verify_fields(folder).corrupt, verify_fields(folder).verified) == (1, 3)


def test_a_record_that_points_outside_the_folder_is_corrupt_and_nothing_there_is_read(folder):
    lines = lines_of(folder)
    write(folder, [resealed(lines[0].decode().replace("frames/f00000.jpg", "../secret.jpg")).encode(), *lines[1:]])
    seen = verify_fields(folder)
    assert (seen.corrupt, seen.verified) == (1, 3)
    assert "lies outside" in seen.problems[0]


def test_settings_that_were_changed_are_found(folder):
    path = folder / "scan.json"
    path.write_text(path.read_text().replace('"policy": "surface"', '"policy": "paper"'))
    assert (verify_fields(folder).corrupt, verify_fields(folder).is_well) == (1, False)


def test_damage_in_the_journal_is_found_and_its_torn_end_is_none(folder):
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"at": "20')
    assert verify_fields(folder).is_well
    path.write_bytes(whole.replace(b'"opened"', b'"opemed"'))
    assert verify_fields(folder).corrupt == 1
    path.unlink()
    assert verify_fields(folder).missing == 1


@pytest.mark.parametrize("name", ["slide.ome.tif", "report.json", "ended"])
def test_a_scan_without_its_end_its_slide_or_its_report_is_not_complete(folder, name):
    if name == "ended":
        path = folder / "journal.jsonl"
        path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(keepends=True) if b"ended" not in line))
    else:
        (folder / name).unlink()
    seen = verify_fields(folder)
    assert not seen.complete
    assert seen.is_sound
    assert not seen.is_well


@pytest.mark.parametrize(("report", "complete"), [('{"attempts": 4}', False), ("{", False), ("{}", True)])
def test_a_report_of_fewer_attempts_than_there_are_is_not_the_last_one(folder, report, complete):
    (folder / "report.json").write_text(report)
    assert verify_fields(folder).complete == complete


def test_a_folder_of_an_older_version_is_verified_as_far_as_it_can_be(folder):
    header = json.loads((folder / "scan.json").read_text())
    (folder / "scan.json").write_text(json.dumps({**header, "format": "parfocal-fields-1"}))
    plain = []
    for line in lines_of(folder):
        values = json.loads(line)
        del values["crc32"], values["sha256"], values["file_bytes"]
        plain.append(json.dumps(values).encode() + b"\n")
    write(folder, plain)
    (folder / "journal.jsonl").unlink()
    assert verify_fields(folder).is_well
    path = folder / "frames" / "f00003.jpg"
    path.write_bytes(path.read_bytes()[:-1])
    assert (verify_fields(folder).corrupt, verify_fields(folder).verified) == (1, 3)


def test_what_is_no_scan_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match=r"scan\.json: cannot read"):
        verify_fields(tmp_path)
