"""The guided first run, by the command: each step measures, says what is wrong, and writes down what it found."""

import json
from datetime import UTC, datetime

import click
import pytest

from drivers_of_tests import CLOSED, TRUE_PIXEL, XY_BACKLASH_UM, Z_BACKLASH_UM, HomingZ
from parfocal.config import connected
from parfocal.config.proposed import proposed_values
from parfocal.config.tables import read_instrument_file
from parfocal.config.written import read_values, write_values
from parfocal.devices.driver import Driver, DriverSettings, Found
from parfocal.scan.calibration.record import Calibration, identity_of, write_calibration

FIGURES = {
    "backlash": {
        "backlash_um": {"mean": 23.0, "sd": 0.1, "max": 23.4},
        "shifts_um": [23.0, 23.4],
        "plateau": "play",
        "plateau_travel_um": [],
        "plateau_moved_um": [],
        "planes": 9,
        "step_um": 1.5,
    },
    "stage": {
        "xy_backlash_um": [{"mean": 61.0, "sd": 2.0, "max": 64.0}, {"mean": -0.4, "sd": 2.0, "max": 1.0}],
        "px_per_um": [[2.9, 0.0], [0.0, 2.9]],
        "pixel_um": [0.345, 0.345],
        "pixel_size_um": 0.345,
        "pixel_size_error": 0.0002,
        "rotation_deg": 0.1,
        "shear_deg": 0.0,
        "stage_error_um": 2.0,
        "neighbour_error_um": 2.8,
        "stops": 74,
        "stops_for_a_thousandth": 27,
        "length_um": 4000.0,
    },
}
"""What a calibration found."""


@pytest.fixture
def file(tmp_path):
    """Write an instrument whose stage is put together askew, its pixel size only about right."""

    def write(frame_shape=(480, 640), **tables):
        values = proposed_values("askew", {})
        values["camera"] |= {"frame_shape": list(frame_shape), "pixel_size_um": 0.345}
        values["z"] = {"lowest_um": -120.0, "highest_um": 120.0}
        values["sweep"] = {"lowest_um": -20.0, "highest_um": 20.0, "step_um": 4.0}
        values["devices"] = {"stand": {"driver": "drivers_of_tests:CROOKED"}}
        path = tmp_path / "askew.toml"
        write_values(path, values | tables)
        return path

    return write


@pytest.fixture
def run(parfocal):
    def go(path, *steps, expect=0):
        chosen = [word for step in steps for word in ("--step", step)]
        code, out, err = parfocal("setup", path, *chosen, "--yes", "--json")
        assert code == expect, err
        return json.loads(out)["steps"] if expect == 0 else err

    return go


def test_light_directions_limits_reference_and_focus_of_a_stage_put_together_askew(file, run):
    path = file(frame_shape=(240, 320))
    CLOSED.clear()
    told = run(path, "light", "directions", "limits", "home", "focus")
    assert told["light"]["wrong"] == []
    assert (path.parent / "askew-light.png").is_file()
    assert (told["directions"]["invert"], told["directions"]["swap_xy"]) == (["x"], True)
    assert told["home"]["homed"] == ["z"]
    assert HomingZ.homed == 1
    assert told["focus"]["verdict"] == "found"
    assert (path.parent / "askew-focus.png").is_file()
    stand = read_values(path)["devices"]["stand"]
    assert stand == {"driver": "drivers_of_tests:CROOKED", "invert": ["x"], "swap_xy": True}
    assert CLOSED == ["stand"] * 5  # let go of after each step


def test_a_picture_that_is_no_good_is_told_of_in_words(file, run, monkeypatch):
    monkeypatch.setattr("parfocal.devices.simulated.SimulatedLamp.is_on", False)
    (wrong,) = run(file(), "light")["light"]["wrong"]
    assert "black" in wrong


def test_backlash_and_pixel_size_as_measured_go_into_the_file_and_the_approach_is_made_to_fit(file, run, monkeypatch):
    """The figures are made up; how they are measured: the next test, and tests/scan/calibration."""
    asked_for = []

    def measured(instrument, steps, path, *, repeats, on_progress):
        asked_for.append((steps, repeats))
        moment = {"date": datetime.now(UTC), "version": "0", "images": 1, "settings": {}}
        calibration = Calibration(microscope=instrument.microscope.name, identity=identity_of(instrument.microscope))
        for step in steps:
            calibration = calibration.with_step(step, {**moment, "figures": FIGURES[step]})
        write_calibration(path, calibration)
        return {"pictures": [], "pixel_size_um": 0.34567, "wrong": []}

    monkeypatch.setattr("parfocal.api.calibrate", measured)
    path = file(frame_shape=(240, 320))
    told = run(path, "backlash")["backlash"]
    assert asked_for == [(["backlash", "stage"], 3)]
    values = read_values(path)
    approach = values["approach"]
    assert approach == told["approach"]
    assert approach["backlash_um"] >= FIGURES["backlash"]["backlash_um"]["max"]  # the largest that was found
    assert approach["take_up_um"] >= approach["backlash_um"] + 1.0
    assert values["xy"] == told["xy"]
    assert values["xy"]["backlash_um"][0] >= FIGURES["stage"]["xy_backlash_um"][0]["mean"]
    assert values["xy"]["backlash_um"][1] >= 0
    assert values["camera"]["pixel_size_um"] == told["pixel_size_um"] == 0.34567
    assert read_instrument_file(str(path)).camera.pixel_size_um == 0.34567  # the file holds together


def test_backlash_and_pixel_size_are_measured_on_the_instrument_itself(file, run):
    path = file(frame_shape=(96, 128), devices={"stand": {"driver": "drivers_of_tests:PAINTED"}})
    values = read_values(path)
    values["camera"]["pixel_size_um"] = 2.0  # few frames reach far
    write_values(path, values)
    run(path, "backlash")
    values = read_values(path)
    assert Z_BACKLASH_UM <= values["approach"]["backlash_um"] < Z_BACKLASH_UM + 1.5
    assert values["approach"]["take_up_um"] > values["approach"]["backlash_um"]
    for backlash_um in values["xy"]["backlash_um"]:
        assert XY_BACKLASH_UM - 1 <= backlash_um < XY_BACKLASH_UM + 4
    assert values["camera"]["pixel_size_um"] == pytest.approx(2.0 * TRUE_PIXEL, rel=1e-3)
    assert len(list(path.parent.glob("*.png"))) == 2


@pytest.mark.slow
def test_flat_field_and_a_first_scan(file, run, network):
    stand = {"driver": "drivers_of_tests:CROOKED", "invert": ["x"], "swap_xy": True}
    path = file(frame_shape=(240, 320), devices={"stand": stand})
    told = run(path, "flat", "scan")
    assert told["scan"]["fields"] >= 9  # frames this small overlap more
    assert (path.parent / "askew-first-scan" / "overview.jpg").is_file()
    assert (path.parent / "askew.calibration.json").is_file()


def test_a_new_instrument_begins_with_its_devices(run, tmp_path, monkeypatch):
    found = Found("always-on", "the wall", "a switch", {})
    drivers = {"always-on": Driver("always-on", "", frozenset({"lamp"}), DriverSettings, None, lambda: [found])}
    monkeypatch.setattr(connected, "driver_names", lambda: list(drivers))
    monkeypatch.setattr(connected, "driver_named", drivers.__getitem__)
    answers = iter(["1", "40", "0.65", "2.4", "0.12", "-50", "60", "2048", "1536"])
    monkeypatch.setattr(click, "prompt", lambda text, default: next(answers))
    from parfocal import cli

    path = tmp_path / "new.toml"
    cli.cli.main(["setup", str(path), "--step", "devices"], standalone_mode=False)
    values = read_values(path)
    assert values["devices"] == {"always-on": {"driver": "always-on"}}
    assert values["objective"] == {"magnification": 40.0, "na": 0.65}
    assert values["camera"] == {"frame_shape": [1536, 2048], "pixel_size_um": 0.12, "sensor_pixel_um": 2.4}
    assert values["z"] == {"lowest_um": -50.0, "highest_um": 60.0}
    assert values["sweep"] == {"lowest_um": -28.0, "highest_um": 40.0, "step_um": 2.0}  # with room for the take-up


def test_where_up_is_not_towards_the_objective_z_is_turned(file, monkeypatch):
    path = file(frame_shape=(240, 320))
    monkeypatch.setattr(click, "prompt", lambda text, default: default)
    monkeypatch.setattr(click, "confirm", lambda text, default: "nearer" not in text)
    from parfocal import cli

    cli.cli.main(["setup", str(path), "--step", "limits"], standalone_mode=False)
    assert read_values(path)["devices"]["stand"]["invert"] == ["z"]


def test_other_steps_need_a_file(run, tmp_path):
    assert "is not there yet: begin with the step devices" in run(tmp_path / "none.toml", "light", expect=2)
