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
    with pytest.raises(FileError, match=r"100 fields and their slide may need 0\.12 GiB, and 0\.06 GiB are kept free"):
        check_room(tmp_path / "not" / "there", 100, SHAPE)


def test_nothing_is_made_by_looking(tmp_path):
    check_room(tmp_path / "new", 1, SHAPE)
    assert not (tmp_path / "new").exists()
