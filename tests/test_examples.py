"""The instruments in examples/microscopes: each can be put together, and those without hardware scan."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from parfocal.config.assembled import check_devices
from parfocal.config.tables import read_instrument_file

EXAMPLES = Path(__file__).parent.parent / "examples" / "microscopes"
FILES = sorted(EXAMPLES.glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_says_what_its_drivers_can_be_told(file):
    instrument = read_instrument_file(str(file))
    assert instrument.name == file.stem
    instrument.scan_settings()
    check_devices(instrument)


@pytest.mark.slow
def test_micro_managers_demonstration_moves_and_exposes_and_no_field_is_called_focused(parfocal, tmp_path, network):
    pytest.importorskip("mm_test_adapters")
    demo = EXAMPLES / "micromanager-demo.toml"
    code, out, err = parfocal("scan", demo, "--out", tmp_path / "demo", "--area", "0.25x0.2", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["fields"] >= 2
    assert report["fields_unsure"] == report["fields"]
    assert report["sweep"]["verdict"] == "flat"


@pytest.mark.slow
def test_an_acquisition_of_pymmcore_plus_is_focused(network):
    pytest.importorskip("useq")
    example = EXAMPLES.parent / "autofocus_in_an_acquisition.py"
    done = subprocess.run([sys.executable, example], cwd=EXAMPLES.parent.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(left|right) (\w+)", done.stdout, re.MULTILINE) == [("left", "focused"), ("right", "focused")]


@pytest.mark.long  # docs/microscopes.md runs the same scan
def test_our_specimen_is_scanned_and_focused_through_micro_managers_core(parfocal, tmp_path, network):
    pytest.importorskip("pymmcore_plus")
    ours = EXAMPLES / "micromanager-unimmcore.toml"
    code, out, err = parfocal("scan", ours, "--out", tmp_path / "ours", "--area", "0.5x0.4", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["fields"] >= 2
    assert report["fields_unsure"] == 0
    assert report["sweep"]["verdict"] == "found"
