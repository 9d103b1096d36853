"""The fields folder: what was put is there, complete or not at all, and what is damaged is named."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import time
from dataclasses import replace

import numpy as np
import pytest

from parfocal.errors import FileError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter
from sealing import resealed

HEADER = FieldsHeader(
    version="0.1.0",
    seed=7,
    microscope="simulated-20x",
    specimen="he-tissue",
    pixel_size_um=0.345,
    frame_shape=(40, 60),
    magnification=20,
    na=0.75,
    immersion_index=1.0,
    depth_of_field_um=1.21,
    rows=10,
    columns=2,
    overlap=0.1,
    settings={"delta_um": 2.0},
)


def record(index=0, **changes):
    values = {
        "index": index,
        "row": index // 2,
        "column": index % 2,
        "stage_x_um": 10.5 * index,
        "stage_y_um": 3.0,
        "stage_z_um": -1.25,
        "verdict": "focused",
        "images": 2,
        "focus": {"pairs": [{"z_um": [1.0, 3.0], "defocus_um": 0.4}]},
        "true_stage_um": (10.4 * index, 3.1, -1.2),
    }
    return FieldRecord(**{**values, **changes})


def frame(value=0):
    ramp = np.tile(np.linspace(40, 200, 60, dtype=np.uint8), (40, 1))
    return np.stack([ramp, ramp[:, ::-1], np.full_like(ramp, value)], axis=-1)


@pytest.fixture
def folder(tmp_path):
    with FieldsWriter(tmp_path / "scan", HEADER) as writer:
        for index in range(3):
            writer.put(record(index), frame(index * 50))
    return tmp_path / "scan"


def test_header_and_records_come_back_as_they_went_in(folder):
    read = FieldsFolder(folder)
    assert read.header == HEADER
    as_put = [replace(kept, sha256="", file_bytes=0) for kept in read.records]
    assert as_put == [record(i, file=f"frames/f{i:05d}.jpg") for i in range(3)]


def test_a_record_tells_the_sha_256_and_the_length_of_its_frame(folder):
    for kept in FieldsFolder(folder).records:
        written = (folder / kept.file).read_bytes()
        assert kept.sha256 == hashlib.sha256(written).hexdigest()
        assert kept.file_bytes == len(written)


def test_frames_come_back_in_rgb_with_small_jpeg_loss(folder):
    read = FieldsFolder(folder)
    for i, kept in enumerate(read.records):
        loss = read.frame(kept).astype(int) - frame(i * 50)
        assert np.abs(loss).max() <= 8


def test_png_frames_come_back_exactly(tmp_path):
    with FieldsWriter(tmp_path, HEADER, frame_format="png") as writer:
        writer.put(record(), frame(9))
    read = FieldsFolder(tmp_path)
    assert np.array_equal(read.frame(read.records[0]), frame(9))


def test_a_frame_that_changes_after_put_is_stored_as_it_was(tmp_path):
    picture = frame(9)
    with FieldsWriter(tmp_path, HEADER, frame_format="png") as writer:
        writer.put(record(), picture)
        picture[:] = 0
    read = FieldsFolder(tmp_path)
    assert np.array_equal(read.frame(read.records[0]), frame(9))


def test_the_writer_refuses_a_folder_with_anything_in_it(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(FileError, match="not empty"):
            FieldsWriter(tmp_path, HEADER, overwrite=overwrite)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_an_earlier_scan_is_refused_unless_it_may_be_overwritten(folder):
    with pytest.raises(FileError, match="not empty"):
        FieldsWriter(folder, HEADER)
    (folder / "slide.ome.tif").write_bytes(b"old")
    with FieldsWriter(folder, HEADER, overwrite=True) as writer:
        writer.put(record(5), frame())
    assert [r.index for r in FieldsFolder(folder).records] == [5]
    assert not (folder / "slide.ome.tif").exists()
    assert [p.name for p in (folder / "frames").iterdir()] == ["f00005.jpg"]


@pytest.mark.parametrize("name", ["notes.txt", "frames/mine.jpg", "frames/deeper/f00001.jpg", "old/scan.json"])
def test_overwriting_removes_nothing_when_the_folder_holds_something_foreign(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("precious")
    before = sorted(folder.rglob("*"))
    with pytest.raises(FileError, match="not part of a scan"):
        FieldsWriter(folder, HEADER, overwrite=True)
    assert sorted(folder.rglob("*")) == before


def test_a_folder_that_cannot_be_made_is_a_file_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file"):
        FieldsWriter(tmp_path / "file" / "scan", HEADER)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_a_file_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(FileError, match="Permission denied"):
        FieldsWriter(tmp_path / "scan", HEADER)


def test_a_frame_of_another_shape_or_a_field_twice_is_refused(tmp_path):
    with FieldsWriter(tmp_path, HEADER) as writer:
        with pytest.raises(FileError, match=r"\(10, 60, 3\)"):
            writer.put(record(), frame()[:10])
        writer.put(record(), frame())
        with pytest.raises(FileError, match="field 0 was already written"):
            writer.put(record(), frame())


def test_a_field_that_the_plan_has_not_is_refused(tmp_path):
    with FieldsWriter(tmp_path, HEADER) as writer, pytest.raises(FileError, match="field 20 is none of the plan's 20"):
        writer.put(record(20), frame())


def test_a_trace_that_json_cannot_hold_is_refused_at_once(tmp_path):
    with FieldsWriter(tmp_path, HEADER) as writer:
        with pytest.raises(ValueError, match="JSON"):
            writer.put(record(focus={"spread_um": float("nan")}), frame())
        writer.put(record(), frame())
    assert len(FieldsFolder(tmp_path).records) == 1


def test_a_full_disk_surfaces_and_what_was_written_stays_usable(tmp_path):
    writer = FieldsWriter(tmp_path, HEADER, frame_format="png")
    writer.put(record(0), frame())
    while not (tmp_path / "fields.jsonl").read_bytes().endswith(b"\n"):
        time.sleep(0.01)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # no file may grow beyond 2000 bytes
    try:
        writer.put(record(1), noise)
        with pytest.raises(FileError, match=r"f00001\.png: cannot write: File too large"):
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    read = FieldsFolder(tmp_path)
    assert [r.index for r in read.records] == [0]
    assert np.array_equal(read.frame(read.records[0]), frame())
    assert not list(tmp_path.rglob("*.part"))


def test_an_error_surfaces_within_a_queue_of_puts_and_nothing_follows_it(tmp_path):
    writer = FieldsWriter(tmp_path, HEADER)
    (tmp_path / "frames").rmdir()

    def put_many():
        for index in range(20):
            writer.put(record(index), frame())

    with pytest.raises(FileError, match=r"f00000\.jpg: cannot write: No such file"):
        put_many()
    (tmp_path / "frames").mkdir()
    writer.close()
    assert FieldsFolder(tmp_path).records == []


def test_an_error_while_scanning_is_not_hidden_by_one_while_writing(tmp_path):
    def scan_that_fails():
        with FieldsWriter(tmp_path, HEADER) as writer:
            (tmp_path / "frames").rmdir()
            writer.put(record(), frame())
            raise RuntimeError("lamp failed")

    with pytest.raises(RuntimeError, match="lamp") as caught:
        scan_that_fails()
    assert "f00000.jpg: cannot write" in caught.value.__notes__[0]


def test_a_torn_last_line_is_left_out(folder):
    path = folder / "fields.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert [r.index for r in FieldsFolder(folder).records] == [0, 1]


def test_any_other_malformed_line_is_named(folder):
    path = folder / "fields.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{torn\n" + lines[2])
    with pytest.raises(FileError, match=r"fields\.jsonl, line 2"):
        FieldsFolder(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("verdict", "sharp"),
        ("stage_x_um", "left"),
        ("stage_x_um", float("inf")),
        ("index", -1),
        ("true_stage_um", [1.0]),
        ("file", None),
    ],
)
def test_a_record_with_an_impossible_value_is_named(folder, key, value):
    path = folder / "fields.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = resealed(json.dumps({**json.loads(lines[1]), key: value})).rstrip()
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(FileError, match=r"fields\.jsonl, line 2"):
        FieldsFolder(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("pixel_size_um", 0), ("frame_shape", [40]), ("overlap", 1.0), ("na", "high"), ("format", "other")],
)
def test_a_header_with_an_impossible_value_is_named(folder, key, value):
    path = folder / "scan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(FileError, match=r"scan\.json"):
        FieldsFolder(folder)


def test_a_missing_folder_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match=r"scan\.json: cannot read: No such file"):
        FieldsFolder(tmp_path)


def test_a_truncated_missing_or_wrong_frame_is_named(folder):
    read = FieldsFolder(folder)
    first, second, third = (folder / r.file for r in read.records)
    first.write_bytes(first.read_bytes()[:-100])
    second.unlink()
    third.write_bytes(b"not an image\xff\xd9")
    for kept, reason in zip(read.records, ("cut short", "cannot read", "not an image"), strict=True):
        with pytest.raises(FileError, match=f"f0000{kept.index}.*{reason}"):
            read.frame(kept)


def test_a_frame_of_another_size_is_named(folder, tmp_path):
    with FieldsWriter(tmp_path / "other", replace(HEADER, frame_shape=(20, 60))) as writer:
        writer.put(record(), frame()[:20])
    (tmp_path / "other/frames/f00000.jpg").replace(folder / "frames/f00000.jpg")
    read = FieldsFolder(folder)
    with pytest.raises(FileError, match=r"\(20, 60\) px"):
        read.frame(read.records[0])


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/passwd", "", "frames/../../secret.jpg", "frames/\0.jpg"])
def test_a_record_cannot_point_outside_the_folder(folder, path):
    read = FieldsFolder(folder)
    read.records[0] = replace(read.records[0], file=path)
    for reading in (lambda: read.frame(read.records[0]), read.check):
        with pytest.raises(FileError, match="outside"):
            reading()


class TestAttempts:
    """A field in doubt is taken again; both frames stay, and the last attempt counts."""

    @pytest.fixture
    def again(self, tmp_path):
        with FieldsWriter(tmp_path, HEADER, frame_format="png") as writer:
            writer.put(record(0), frame(10))
            writer.put(record(1, verdict="unsure"), frame(20))
            writer.put(record(2), frame(30))
            writer.put(record(1, attempt=2), frame(40))
        return FieldsFolder(tmp_path)

    def test_each_has_a_frame_file_of_its_own(self, again):
        names = sorted(path.name for path in (again.path / "frames").iterdir())
        assert names == ["f00000.png", "f00001-2.png", "f00001.png", "f00002.png"]
        for kept, value in zip(again.attempts, (10, 20, 30, 40), strict=True):
            assert np.array_equal(again.frame(kept), frame(value))

    def test_the_last_one_counts_and_all_are_told(self, again):
        assert [(r.index, r.attempt) for r in again.records] == [(0, 1), (2, 1), (1, 2)]
        assert [(r.index, r.attempt) for r in again.attempts] == [(0, 1), (1, 1), (2, 1), (1, 2)]
        assert {r.verdict for r in again.records} == {"focused"}

    def test_an_attempt_is_put_once(self, tmp_path):
        with FieldsWriter(tmp_path, HEADER) as writer:
            writer.put(record(0), frame())
            writer.put(record(0, attempt=2), frame())
            with pytest.raises(FileError, match="field 0 was already written"):
                writer.put(record(0, attempt=2), frame())

    def test_attempts_that_do_not_rise_are_refused_when_read(self, again):
        path = again.path / "fields.jsonl"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines, lines[1]]) + "\n")
        with pytest.raises(FileError, match="attempt 1 of field 1 occurs twice"):
            FieldsFolder(again.path)

    @pytest.mark.parametrize("attempt", [0, -1])
    def test_they_count_from_one(self, attempt):
        with pytest.raises(FileError, match=f"attempt {attempt} of field 0 is below 1"):
            record(attempt=attempt)

    def test_a_record_from_before_there_were_attempts_is_a_first_one(self, folder):
        path = folder / "fields.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            del line["attempt"]
        path.write_text("".join(resealed(json.dumps(line)) for line in lines))
        assert {r.attempt for r in FieldsFolder(folder).records} == {1}

    def test_frames_taken_again_are_a_scans_own_and_may_be_overwritten(self, again):
        with FieldsWriter(again.path, HEADER, overwrite=True) as writer:
            writer.put(record(3), frame())
        assert [path.name for path in (again.path / "frames").iterdir()] == ["f00003.jpg"]

    @pytest.mark.parametrize("name", ["f00001--2.png", "f00001-2-3.png", "f-.png", "g00001-2.png"])
    def test_other_names_are_foreign(self, again, name):
        (again.path / "frames" / name).write_text("precious")
        with pytest.raises(FileError, match="not part of a scan"):
            FieldsWriter(again.path, HEADER, overwrite=True)

    def test_a_scan_stopped_while_a_field_is_taken_again_keeps_the_first_frame(self, again):
        path = again.path / "fields.jsonl"
        whole = path.read_bytes()
        path.write_bytes(whole[:-30])
        read = FieldsFolder(again.path)
        assert [(r.index, r.attempt) for r in read.records] == [(0, 1), (1, 1), (2, 1)]
        assert np.array_equal(read.frame(read.records[1]), frame(20))


class TestReopened:
    """Fields of a finished scan are taken again into the same folder."""

    def test_further_attempts_are_added_and_what_was_there_stays(self, folder):
        before = {path.name: path.read_bytes() for path in (folder / "frames").iterdir()}
        with FieldsWriter.reopen(FieldsFolder(folder)) as writer:
            writer.put(record(1, attempt=2), frame(200))
        read = FieldsFolder(folder)
        assert read.header == HEADER
        assert [(r.index, r.attempt) for r in read.attempts] == [(0, 1), (1, 1), (2, 1), (1, 2)]
        after = {path.name: path.read_bytes() for path in (folder / "frames").iterdir()}
        assert before.items() <= after.items()
        assert after.keys() - before.keys() == {"f00001-2.jpg"}

    def test_frames_are_added_in_the_format_of_those_that_are_there(self, tmp_path):
        with FieldsWriter(tmp_path, HEADER, frame_format="png") as writer:
            writer.put(record(), frame(9))
        with FieldsWriter.reopen(FieldsFolder(tmp_path)) as writer:
            writer.put(record(attempt=2), frame(10))
        read = FieldsFolder(tmp_path)
        assert np.array_equal(read.frame(read.records[0]), frame(10))

    def test_an_attempt_that_is_there_already_is_refused(self, folder):
        with (
            FieldsWriter.reopen(FieldsFolder(folder)) as writer,
            pytest.raises(FileError, match="field 1 was already written"),
        ):
            writer.put(record(1), frame())
        assert len(FieldsFolder(folder).attempts) == 3

    def test_what_a_scan_that_broke_off_left_half_written_is_removed_and_the_field_can_be_put_again(self, folder):
        path, whole = folder / "fields.jsonl", (folder / "fields.jsonl").read_bytes()
        path.write_bytes(whole[:-5])
        for name in ("frames/f00003.jpg.part", "slide.ome.tif.part"):
            (folder / name).write_bytes(b"half")
        with FieldsWriter.reopen(FieldsFolder(folder)) as writer:
            writer.put(record(2), frame(100))
        assert path.read_bytes() == whole
        assert sorted(file.name for file in (folder / "frames").iterdir()) == [f"f{i:05d}.jpg" for i in range(3)]
        assert not list(folder.rglob("*.part"))

    def test_more_than_one_frame_without_a_line_is_a_loss_and_nothing_is_removed(self, folder):
        path, lines = folder / "fields.jsonl", (folder / "fields.jsonl").read_bytes().splitlines(keepends=True)
        path.write_bytes(lines[0])
        with pytest.raises(FileError, match=r"tells of 2 frames \(f00001\.jpg …\).*is lost"):
            FieldsWriter.reopen(FieldsFolder(folder))
        assert len(list((folder / "frames").iterdir())) == 3

    def test_a_last_line_that_lacks_its_end_only_is_kept(self, folder):
        path, whole = folder / "fields.jsonl", (folder / "fields.jsonl").read_bytes()
        path.write_bytes(whole[:-1])
        with FieldsWriter.reopen(FieldsFolder(folder)) as writer:
            writer.put(record(3), frame())
        assert path.read_bytes().startswith(whole)
        assert [r.index for r in FieldsFolder(folder).records] == [0, 1, 2, 3]

    def test_a_folder_of_an_older_version_stays_one(self, folder):
        header = json.loads((folder / "scan.json").read_text())
        (folder / "scan.json").write_text(json.dumps({**header, "format": "parfocal-fields-1"}))
        lines = [json.loads(line) for line in (folder / "fields.jsonl").read_text().splitlines()]
        for line in lines:
            del line["crc32"], line["sha256"], line["file_bytes"]
        (folder / "fields.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "journal.jsonl").unlink()
        with FieldsWriter.reopen(FieldsFolder(folder)) as writer:
            writer.put(record(1, attempt=2), frame(200))
        read = FieldsFolder(folder)
        assert [(r.index, r.attempt, r.sha256) for r in read.attempts] == [
            (0, 1, ""),
            (1, 1, ""),
            (2, 1, ""),
            (1, 2, ""),
        ]


class TestDamage:
    """A line whose bytes changed is known by its checksum; the last one may be torn, and is left out."""

    @pytest.mark.parametrize("line", [0, 1])
    def test_a_bit_that_turned_over_is_found(self, folder, line):
        path = folder / "fields.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        lines[line] = lines[line].replace(b"-1.25", b"-1.35")
        path.write_bytes(b"".join(lines))
        with pytest.raises(FileError, match=rf"fields\.jsonl, line {line + 1}: damaged, its checksum is wrong"):
            FieldsFolder(folder)

    @pytest.mark.parametrize("end", [b'{"index": 3', b"\0" * 300, b'{"index": 3}\n'])
    def test_a_torn_end_is_left_out(self, folder, end):
        path = folder / "fields.jsonl"
        path.write_bytes(path.read_bytes() + end)
        assert [r.index for r in FieldsFolder(folder).records] == [0, 1, 2]

    def test_two_damaged_lines_at_the_end_are_no_torn_end(self, folder):
        path = folder / "fields.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"index": 1', b'"index": 7').replace(b'"index": 2', b'"index": 8'))
        with pytest.raises(FileError, match=r"fields\.jsonl, line 2: damaged, as is all that follows"):
            FieldsFolder(folder)


@pytest.mark.parametrize("frame_format", ["jpg", "png"])
def test_a_small_frame_is_the_means_of_blocks(tmp_path, frame_format):
    rng = np.random.default_rng(0)
    coarse = rng.integers(30, 220, (6, 9, 3)).astype(np.uint8)
    picture = np.pad(coarse.repeat(8, axis=0).repeat(8, axis=1), ((0, 5), (0, 3), (0, 0)), mode="edge")
    header = replace(HEADER, frame_shape=(53, 75))
    with FieldsWriter(tmp_path / "scan", header, frame_format=frame_format) as writer:
        writer.put(record(0), picture)
    folder = FieldsFolder(tmp_path / "scan")
    small = folder.small(folder.records[0])
    assert small.shape == (6, 9, 3)
    assert np.abs(small.astype(int) - coarse).max() <= (4 if frame_format == "jpg" else 0)


def test_a_small_frame_that_is_cut_short_is_refused_too(tmp_path):
    with FieldsWriter(tmp_path / "scan", HEADER) as writer:
        writer.put(record(0), frame())
    folder = FieldsFolder(tmp_path / "scan")
    path = folder.path / folder.records[0].file
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FileError, match="cut short"):
        folder.small(folder.records[0])
