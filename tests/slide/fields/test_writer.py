"""The writer of a fields folder: in order, on disk, within the room that there is, its journal beside the fields."""

import json
import os
import shutil
import threading
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parfocal.errors import FileError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.sealed import is_whole
from parfocal.slide.fields.writer import FieldsWriter

Usage = namedtuple("Usage", "total used free")
HEADER = FieldsHeader(
    version="0", seed=1, microscope="small", specimen="s", pixel_size_um=0.345, frame_shape=(40, 60), magnification=20,
    na=0.75, immersion_index=1.0, depth_of_field_um=1.2, rows=1, columns=99, overlap=0.1, scan_id="aaaa",
)  # fmt: skip
FRAME = np.full((40, 60, 3), 90, np.uint8)


def record(index=0):
    return FieldRecord(index, 0, index, 10.0 * index, 0.0, 1.0, "focused", 1)


@pytest.fixture
def synced(monkeypatch):
    """Names of files and folders in the order in which they were brought to the disk."""
    names, fsync = [], os.fsync

    def noted(descriptor):
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return names


class TestWhatIsOnDiskAndWhen:
    def test_the_header_is_on_disk_before_anything_can_be_put(self, tmp_path, synced):
        with FieldsWriter(tmp_path / "scan", HEADER):
            assert synced[-2:] == ["scan.json.part", "scan"]
            assert json.loads((tmp_path / "scan" / "scan.json").read_text())["scan_id"] == "aaaa"

    def test_a_frame_is_on_disk_before_its_line_and_its_line_before_sync_returns(self, tmp_path, synced):
        with FieldsWriter(tmp_path / "scan", HEADER) as writer:
            writer.sync()
            synced.clear()
            writer.put(record(), FRAME)
            writer.sync()
            assert synced == ["f00000.jpg.part", "frames", "fields.jsonl", "journal.jsonl"]

    def test_nothing_is_written_by_the_thread_that_puts(self, tmp_path, monkeypatch):
        threads = set()
        fsync = os.fsync
        with FieldsWriter(tmp_path / "scan", HEADER) as writer:
            writer.sync()
            monkeypatch.setattr(os, "fsync", lambda fd: (threads.add(threading.current_thread()), fsync(fd)))
            for index in range(5):
                writer.note("move", to_um=index)
                writer.put(record(index), FRAME)
        assert threading.main_thread() not in threads
        assert len(threads) == 1


def test_it_knows_how_many_attempts_were_put_now_and_before(tmp_path):
    with FieldsWriter(tmp_path, HEADER) as writer:
        writer.put(record(7), FRAME)
        writer.put(record(9), FRAME)
        assert writer.attempts == 2
    with FieldsWriter.reopen(FieldsFolder(tmp_path)) as writer:
        writer.put(replace(record(7), attempt=2), FRAME)
        assert writer.attempts == 3


class TestTheJournal:
    def test_notes_stand_in_order_each_with_its_time_and_checksum(self, tmp_path):
        with FieldsWriter(tmp_path, HEADER) as writer:
            for index in range(3):
                writer.note("move", axis="z", to_um=index)
        lines = (tmp_path / "journal.jsonl").read_bytes().splitlines()
        assert all(is_whole(line) for line in lines)
        notes = list(FieldsFolder(tmp_path).notes("move"))
        assert [note["to_um"] for note in notes] == [0, 1, 2]
        assert [note["at"] for note in notes] == sorted(note["at"] for note in notes)
        assert [note["what"] for note in map(json.loads, lines)] == ["opened", "move", "move", "move"]

    def test_a_damaged_line_is_left_out_by_who_reads_it(self, tmp_path):
        with FieldsWriter(tmp_path, HEADER) as writer:
            for index in range(3):
                writer.note("move", to_um=index)
        path = tmp_path / "journal.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"to_um": 1', b'"to_um": 7'))
        assert [note["to_um"] for note in FieldsFolder(tmp_path).notes("move")] == [0, 2]

    def test_one_that_is_opened_again_says_so_and_a_torn_end_is_cut(self, tmp_path):
        with FieldsWriter(tmp_path, HEADER) as writer:
            writer.put(record(), FRAME)
        path = tmp_path / "journal.jsonl"
        whole = path.read_bytes()
        path.write_bytes(whole + b"\0" * 50 + b'\n{"at": "2026')
        FieldsWriter.reopen(FieldsFolder(tmp_path)).close()
        assert path.read_bytes().startswith(whole + b'{"at"')
        assert [note["fields"] for note in FieldsFolder(tmp_path).notes("reopened")] == [1]


class TestTheDisk:
    def test_a_scan_stops_before_the_disk_is_full_with_all_that_was_written_whole(self, tmp_path, monkeypatch):
        with FieldsWriter(tmp_path, HEADER, reserve_bytes=2**20) as writer:
            writer.put(record(0), FRAME)
            writer.sync()
            monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, 2**20 - 1))
            writer.put(record(1), FRAME)
            with pytest.raises(FileError, match=r"1 MiB are free on the disk, less than the reserve of 1 MiB"):
                writer.sync()
        folder = FieldsFolder(tmp_path)
        assert [one.index for one in folder.records] == [0]
        assert folder.damage(folder.records[0]) is None

    def test_while_the_disk_is_slow_few_frames_wait_in_memory(self, tmp_path, monkeypatch):
        slow, fsync = threading.Event(), os.fsync
        writer = FieldsWriter(tmp_path, HEADER)
        writer.sync()
        monkeypatch.setattr(os, "fsync", lambda fd: (slow.wait(), fsync(fd)))
        put = []

        def put_many():
            for index in range(30):
                writer.put(record(index), FRAME)
                put.append(index)

        scan = threading.Thread(target=put_many)
        scan.start()
        scan.join(0.5)
        assert scan.is_alive()
        assert len(put) <= 9
        slow.set()
        scan.join(20)
        writer.close()
        assert len(FieldsFolder(tmp_path).records) == 30

    @pytest.mark.parametrize("name", ["_records", "_journal"])
    def test_a_line_that_the_disk_has_no_room_for_is_told_once(self, tmp_path, name):
        writer = FieldsWriter(tmp_path, HEADER)
        writer.sync()

        def write():
            with writer:
                writer.note("move")
                writer.put(record(), FRAME)

        with Path("/dev/full").open("ab", buffering=0) as full:
            setattr(writer, name, full)
            with pytest.raises(FileError, match=r"\.jsonl: cannot write: No space left"):
                write()

    def test_moves_are_brought_to_the_disk_though_no_field_comes(self, tmp_path, synced, monkeypatch):
        monkeypatch.setattr("parfocal.slide.fields.writer._SYNC_JOURNAL_S", 0.0)
        with FieldsWriter(tmp_path, HEADER) as writer:
            writer.sync()
            synced.clear()
            writer.note("move")
            writer.note("move")
            writer.sync()
        assert synced[:3] == ["journal.jsonl"] * 3


class TestTwoAtOnce:
    """One process writes a folder at a time."""

    def test_a_second_scan_or_resume_is_refused_and_harms_nothing(self, tmp_path):
        with FieldsWriter(tmp_path, HEADER) as writer:
            writer.put(record(0), FRAME)
            writer.sync()
            with pytest.raises(FileError, match="writing here right now"):
                FieldsWriter.reopen(FieldsFolder(tmp_path))
            with pytest.raises(FileError, match="writing here right now"):
                FieldsWriter(tmp_path, HEADER, overwrite=True)
            writer.put(record(1), FRAME)
        assert len(FieldsFolder(tmp_path).records) == 2
        FieldsWriter.reopen(FieldsFolder(tmp_path)).close()

    def test_what_was_written_since_a_folder_was_read_is_not_taken_for_torn(self, tmp_path):
        with FieldsWriter(tmp_path, HEADER) as writer:
            writer.put(record(0), FRAME)
        read = FieldsFolder(tmp_path)
        with FieldsWriter.reopen(FieldsFolder(tmp_path)) as writer:
            writer.put(record(1), FRAME)
        with pytest.raises(FileError, match="has 2 lines, 1 when it was read"):
            FieldsWriter.reopen(read)
        assert len(list((tmp_path / "frames").iterdir())) == 2


def test_an_overwriting_that_is_killed_leaves_what_may_be_overwritten(tmp_path, monkeypatch):
    with FieldsWriter(tmp_path, HEADER) as writer:
        writer.put(record(), FRAME)
    removed, unlink = [], Path.unlink

    def killed(path, missing_ok=False):
        if len(removed) == 2:
            raise KeyboardInterrupt
        removed.append(path.name)
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            FieldsWriter(tmp_path, HEADER, overwrite=True)
    FieldsWriter(tmp_path, HEADER, overwrite=True).close()


class TestAFolderThatNeverBegan:
    """Killed before its header was on disk, a scan has lost nothing: the same command may be given again."""

    def test_it_may_be_written_without_further_ado(self, tmp_path):
        FieldsWriter(tmp_path, HEADER).close()
        (tmp_path / "scan.json").rename(tmp_path / "scan.json.part")
        with FieldsWriter(tmp_path, HEADER) as writer:
            writer.put(record(), FRAME)
        assert len(FieldsFolder(tmp_path).records) == 1

    @pytest.mark.parametrize("name", ["frames/f00000.jpg", "thesis.txt"])
    def test_where_it_holds_anything_else_it_may_not(self, tmp_path, name):
        FieldsWriter(tmp_path, HEADER).close()
        (tmp_path / "scan.json").unlink()
        (tmp_path / name).write_bytes(b"precious")
        with pytest.raises(FileError, match="not empty"):
            FieldsWriter(tmp_path, HEADER)
        assert (tmp_path / name).read_bytes() == b"precious"
