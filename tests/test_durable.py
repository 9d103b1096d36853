"""Files and folders that are whole or not there, whoever was killed in between."""

import subprocess
import sys

import pytest

from parfocal.durable import all_written_aside

KILLED = """
import os, sys
from pathlib import Path
from parfocal import durable
folder = Path(sys.argv[1])
rename = Path.rename
def killed(path, target):
    if sys.argv[2] in str(target):
        os._exit(9)
    return rename(path, target)
Path.rename = killed
with durable.all_written_aside(folder) as aside:
    (aside / "slide.tif").write_text("new")
    if sys.argv[2] == "at once":
        os._exit(9)
"""


@pytest.mark.parametrize("moment", ["at once", "out/slide.tif"])
def test_what_was_there_is_back_after_a_kill_and_nothing_is_left_over(tmp_path, moment):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "slide.tif").write_text("earlier")
    assert subprocess.run([sys.executable, "-c", KILLED, folder, moment]).returncode == 9
    assert len(list(folder.glob(".parfocal-*.part"))) == 1
    with pytest.raises(RuntimeError), all_written_aside(folder):
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["slide.tif"]
    assert (folder / "slide.tif").read_text() == "earlier"


def test_what_another_process_is_writing_is_left_alone(tmp_path):
    with all_written_aside(tmp_path) as one, all_written_aside(tmp_path) as other:
        (one / "one.tif").write_text("one")
        (other / "other.tif").write_text("other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.tif", "other.tif"]
