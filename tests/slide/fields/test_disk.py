"""Before a scan it is known whether the disk can hold it."""

import shutil
from collections import namedtuple

import pytest

from parfocal.errors import FileError
from parfocal.slide.fields.disk import check_room, needed_bytes
from parfocal.slide.fields.writer import RESERVE_BYTES

Usage = namedtuple("Usage", "total used free")
SHAPE = (1024, 1224)


def with_free(monkeypatch, free):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, free))


def test_room_enough_is_what_the_fields_need_and_the_reserve(monkeypatch, tmp_path):
    enough = needed_bytes(100, SHAPE) + RESERVE_BYTES
    with_free(monkeypatch, enough)
    check_room(tmp_path / "not" / "there", 100, SHAPE)
    with_free(monkeypatch, enough - 1)
    with pytest.raises(FileError, match=r"100 fields and their slide may need 0\.15 GiB, and 0\.06 GiB are kept free"):
        check_room(tmp_path / "not" / "there", 100, SHAPE)


def test_what_is_gone_on_with_needs_frames_for_what_is_missing_and_the_slide_of_all(monkeypatch, tmp_path):
    px = SHAPE[0] * SHAPE[1]
    assert needed_bytes(100, SHAPE, 10) == round(px * (10 * 0.8 + 100 * 0.5))
    enough = needed_bytes(100, SHAPE, 0) + RESERVE_BYTES
    assert enough > RESERVE_BYTES + 60 * px * 0.8
    with_free(monkeypatch, enough)
    check_room(tmp_path, 100, SHAPE, to_take=0)
    with_free(monkeypatch, enough - 1)
    with pytest.raises(FileError):
        check_room(tmp_path, 100, SHAPE, to_take=0)


def test_a_scan_that_is_replaced_makes_room(monkeypatch, tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "f00000.jpg").write_bytes(b"x" * 1000)
    with_free(monkeypatch, needed_bytes(100, SHAPE) + RESERVE_BYTES - 1000)
    check_room(tmp_path, 100, SHAPE, overwrite=True)
    with pytest.raises(FileError):
        check_room(tmp_path, 100, SHAPE)


def test_nothing_is_made_by_looking(tmp_path):
    check_room(tmp_path / "new", 1, SHAPE)
    assert not (tmp_path / "new").exists()
