"""A scan's process is killed outright, at moments that nobody chose, and the scan is resumed by the command line."""

import json
import random
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

SCAN = ("--specimen", "blood-smear", "--area", "0.15x0.1", "--seed", "3", "--json")
WITHIN_S = 300


def command(*words):
    return [sys.executable, "-m", "parfocal", *map(str, words)]


def killed_after(lines, delay_s, toml, folder):
    """Begin a scan and kill it so long after so many fields are on disk; what was on disk then."""
    records = folder / "fields.jsonl"
    with subprocess.Popen(command("scan", toml, "--out", folder, *SCAN), stdout=subprocess.DEVNULL) as process:
        end_s = time.monotonic() + WITHIN_S
        while time.monotonic() < end_s and process.poll() is None:
            if records.exists() and records.read_bytes().count(b"\n") >= lines:
                break
            time.sleep(0.005)
        time.sleep(delay_s)
        process.kill()
    told = [json.loads(line) for line in records.read_bytes().split(b"\n")[:-1]]
    return {record["file"]: (folder / record["file"]).read_bytes() for record in told}


@pytest.mark.parametrize("lines", [pytest.param(0, marks=pytest.mark.long), 3])
def test_what_was_on_disk_is_there_after_a_resume_byte_for_byte_and_once(small_toml, tmp_path, lines):
    folder = tmp_path / "scan"
    before = killed_after(lines, random.Random(lines).uniform(0.0, 0.4), small_toml(), folder)
    assert len(before) >= lines
    resumed = subprocess.run(
        command("scan", "--resume", folder, "--json"), capture_output=True, text=True, timeout=WITHIN_S
    )
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["fields"] == 4
    verified = subprocess.run(command("verify", folder, "--json"), capture_output=True, text=True, timeout=WITHIN_S)
    assert verified.returncode == 0
    assert json.loads(verified.stdout) == {
        "fields": 4, "verified": 4, "missing": 0, "corrupt": 0, "duplicates": 0, "torn": 0, "complete": True,
        "problems": [],
    }  # fmt: skip
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".jsonl", "", ".tif", ".jpg", ".png"}
