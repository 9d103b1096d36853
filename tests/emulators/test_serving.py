"""A whole scan through each emulated instrument comes to what it comes to without: the control code cannot tell."""

import math
from dataclasses import replace

import pytest

from knowing import Knowing
from parfocal import api
from parfocal.config import open_microscope
from parfocal.config.tables import read_instrument_file
from parfocal.config.writing import instrument_text
from parfocal.emulators.firmware import Faults
from parfocal.emulators.serving import serve
from parfocal.errors import ScanStoppedError
from parfocal.slide.fields.folder import FieldsFolder

AREA_MM = (0.15, 0.12)


def described(toml, served, path):
    """Write the same instrument's file, its devices behind drivers."""
    file = read_instrument_file(toml)
    values = file.model_dump(exclude_unset=True, exclude={"simulated", "kind"})
    behind = type(file).model_validate({**values, "kind": "devices", "devices": served.devices})
    path.write_text(instrument_text(behind), encoding="utf-8")


@pytest.fixture(scope="module")
def scan_through(small_toml, tmp_path_factory):
    """Scan through an emulator: `report, microscope = scan_through("grbl")`; the microscope is the simulated one."""

    def scan(name, faults=None, out=None, **options):
        simulated = open_microscope(small_toml(), "blood-smear", 2)
        out = out or tmp_path_factory.mktemp(name) / "scan"
        with serve(name, simulated.microscope, haste=math.inf, faults=faults, **options) as served:
            path = out.parent / f"{name}.toml"
            described(small_toml(), served, path)
            with open_microscope(str(path), "blood-smear", 2) as opened:
                instrument = replace(opened, truth=simulated.truth)
                return api.scan(instrument, out, AREA_MM, predictor=Knowing(instrument)), simulated.microscope

    return scan


@pytest.fixture(scope="module")
def direct(small_toml, tmp_path_factory):
    instrument = open_microscope(small_toml(), "blood-smear", 2)
    return api.scan(instrument, tmp_path_factory.mktemp("direct") / "scan", AREA_MM, predictor=Knowing(instrument))


slow = pytest.mark.slow


# the other emulators: tests/benchmark/test_adapters.py, without stitching
@pytest.mark.parametrize(("name", "options"), [("grbl", {}), pytest.param("openflexure", {"api": "v2"}, marks=slow)])
def test_a_scan_through_it_is_as_well_in_focus_as_without(scan_through, direct, name, options):
    report, microscope = scan_through(name, **options)
    assert report["fields"] == direct["fields"] >= 4
    assert report["focus"]["in_focus_fraction"] == direct["focus"]["in_focus_fraction"] == 1.0
    assert report["focus"]["mean_abs_error_um"] < 0.4
    assert report["stitching"]["rms_error_px"] < 1.0
    assert microscope.lamp.is_on == (options == {"api": "v2"})  # whose lamp nobody can put out


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("unplug", "is gone"),
        pytest.param("reset", "restarted", marks=slow),
        pytest.param("alarm", "limit switch", marks=slow),
    ],
)
def test_a_board_that_fails_in_mid_scan_stops_it_with_the_lamp_off_and_the_fields_so_far(
    scan_through, tmp_path, fault, why
):
    faults = Faults(**{f"{fault}_in_move": 50})
    with pytest.raises(ScanStoppedError, match=why):
        scan_through("grbl", faults, tmp_path / "scan")
    folder = FieldsFolder(tmp_path / "scan")
    assert 0 < len(folder.records) < folder.header.rows * folder.header.columns


@slow
def test_a_scan_that_a_restart_of_the_board_broke_off_is_gone_on_with(small_toml, parfocal, tmp_path, network):
    simulated = open_microscope(small_toml(), "blood-smear", 2).microscope
    path, out = tmp_path / "board.toml", tmp_path / "scan"
    with serve("grbl", simulated, haste=math.inf, faults=Faults(reset_in_move=60)) as served:
        described(small_toml(), served, path)
        code, _, err = parfocal("scan", path, "--out", out, "--area", "0.24x0.18")
        assert code == 3
        assert "restarted" in err
        assert not simulated.lamp.is_on
        before = len(FieldsFolder(out).records)
        code, _, err = parfocal("scan", "--resume", out)
        assert code == 0, err
        assert not simulated.lamp.is_on
    after = FieldsFolder(out)
    assert 0 < before < len({record.index for record in after.records}) == after.header.rows * after.header.columns
