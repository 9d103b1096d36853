"""parfocal microscope serve-emulator: what is told, what is written, what is refused."""

import json
import tomllib

import pytest

from parfocal.config.assembled import check_devices
from parfocal.config.tables import InstrumentFile
from parfocal.emulators.serving import EMULATORS

SERVE = ("microscope", "serve-emulator")


@pytest.mark.parametrize("name", EMULATORS)
def test_it_tells_addresses_and_an_instruments_file_that_can_be_put_together(parfocal, name):
    code, out, _ = parfocal(*SERVE, name, "--seconds", 0, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["emulator"] == name
    assert ("url" if name == "openflexure" else "port") in told
    file = InstrumentFile.model_validate(tomllib.loads(told["toml"]))
    assert file.name == f"emulated-{name}"
    check_devices(file)


def test_the_file_is_written_where_it_is_wanted_and_the_next_command_told(parfocal, tmp_path):
    code, out, _ = parfocal(*SERVE, "openflexure", "--api", "v2", "--seconds", 0, "--toml", tmp_path / "my.toml")
    assert code == 0
    assert f"parfocal scan {tmp_path / 'my.toml'}" in out
    assert tomllib.loads((tmp_path / "my.toml").read_text(encoding="utf-8"))["devices"]["lamp"]["driver"] == "always-on"


def test_without_a_file_it_is_shown(parfocal):
    _, out, _ = parfocal(*SERVE, "marlin", "--seconds", 0)
    assert 'driver = "marlin"' in out


@pytest.mark.parametrize("fault", ["fire@3", "reset", "reset@0", "reset@x"])
def test_a_fault_that_is_none_is_refused(parfocal, fault):
    code, _, err = parfocal(*SERVE, "grbl", "--fault", fault)
    assert code == 2
    assert "is not reset@N, alarm@N or unplug@N" in err


def test_an_unknown_specimen_or_folder_is_bad_input(parfocal, tmp_path):
    assert parfocal(*SERVE, "grbl", "--specimen", "cheese", "--seconds", 0)[0] == 2
    assert parfocal(*SERVE, "grbl", "--toml", tmp_path / "no" / "x.toml", "--seconds", 0)[0] == 2
