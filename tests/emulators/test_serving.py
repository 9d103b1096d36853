"""A whole scan through each emulated instrument comes to what it comes to without: the control code cannot tell."""

import math
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from emulated import LIMITS
from knowing import Knowing
from parfocal import api
from parfocal.benchmark.painted import painted_scan
from parfocal.config import open_microscope
from parfocal.config.tables import read_instrument_file
from parfocal.config.writing import instrument_text
from parfocal.emulators.firmware import Faults
from parfocal.emulators.grbl import GrblFirmware
from parfocal.emulators.pty_port import PtyPort
from parfocal.emulators.serving import serve
from parfocal.emulators.stand import Stand
from parfocal.emulators.web_camera import web_camera
from parfocal.slide.fields.folder import FieldsFolder

AREA_MM = (0.15, 0.12)


def described(toml, devices, path):
    """Write the same instrument's file, its devices behind drivers."""
    file = read_instrument_file(toml)
    values = file.model_dump(exclude_unset=True, exclude={"simulated", "kind"})
    behind = type(file).model_validate({**values, "kind": "devices", "devices": devices})
    path.write_text(instrument_text(behind), encoding="utf-8")


@pytest.fixture(scope="module")
def scan_through(small_toml, tmp_path_factory):
    """Scan through an emulator: `report, microscope = scan_through("grbl")`; the microscope is the simulated one."""

    def scan(name, **options):
        simulated = open_microscope(small_toml(), "blood-smear", 2)
        out = tmp_path_factory.mktemp(name) / "scan"
        with serve(name, simulated.microscope, haste=math.inf, **options) as served:
            path = out.parent / f"{name}.toml"
            described(small_toml(), served.devices, path)
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
@slow
@pytest.mark.parametrize(("name", "options"), [("grbl", {}), ("openflexure", {"api": "v2"})])
def test_a_scan_through_it_is_as_well_in_focus_as_without(scan_through, direct, name, options):
    report, microscope = scan_through(name, **options)
    assert report["fields"] == direct["fields"] >= 4
    assert report["focus"]["in_focus_fraction"] == direct["focus"]["in_focus_fraction"] == 1.0
    assert report["focus"]["mean_abs_error_um"] < 0.4
    assert report["stitching"]["rms_error_px"] < 1.0
    assert microscope.lamp.is_on == (options == {"api": "v2"})  # whose lamp nobody can put out


@contextmanager
def plugged_in(port, firmware):
    """A board at a port whose name stays the same, as those in /dev/serial/by-id do."""
    with PtyPort(firmware) as pty:
        port.unlink(missing_ok=True)
        port.symlink_to(pty.name)
        yield
        port.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("fault", "why", "options"),
    [
        pytest.param("unplug", "is gone", {}, marks=slow),
        pytest.param("reset", "restarted", {}, marks=slow),
        pytest.param("alarm", "limit switch", {}, marks=slow),
        pytest.param("alarm", "limit switch", {"unlock": True}, marks=slow),
    ],
)
def test_a_board_that_fails_in_mid_scan_stops_it_and_once_it_is_well_the_scan_is_gone_on_with(
    small_toml, parfocal, use_predictor, tmp_path, monkeypatch, fault, why, options
):
    monkeypatch.setattr("parfocal.supervisor.overseen._ENDS_WITHIN_S", 0.2)  # without its board it tries for a minute
    painted = painted_scan(0.2, seed=1)
    use_predictor(lambda _: painted.predictor)
    stand, lamp = Stand(painted.microscope, math.inf), painted.microscope.lamp
    path, out, port = tmp_path / "board.toml", tmp_path / "scan", tmp_path / "port"
    with ExitStack() as powered:
        camera = powered.enter_context(web_camera(stand))
        stage = {"driver": "grbl", "port": str(port), **LIMITS, "settle_ms": 0.0, **options}
        snapshots = {"driver": "url-camera", "url": f"{camera.url}/snapshot.ppm", "stale_frames": 0}
        toml = small_toml("backlash_um = [80.0, 80.0]", "backlash_um = [20.0, 20.0]")  # as the painted instrument has
        described(toml, {"stage": stage, "camera": snapshots}, path)
        powered.enter_context(plugged_in(port, GrblFirmware(stand, Faults(**{f"{fault}_in_move": 46}))))
        code, _, err = parfocal("scan", path, "--out", out, "--area", "0.15x0.12")
        assert code == 3
        assert why in err
        assert not lamp.is_on
        before = len(FieldsFolder(out).records)
        if fault == "unplug":
            powered.enter_context(plugged_in(port, GrblFirmware(stand, Faults())))
        code, _, err = parfocal("scan", "--resume", out)
        assert code == 0, err
        assert not lamp.is_on
    after = FieldsFolder(out)
    assert 0 < before < len({record.index for record in after.records}) == after.header.rows * after.header.columns
