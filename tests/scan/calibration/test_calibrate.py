"""`parfocal calibrate`: measured on rendered fields, kept in a file, taken over by a scan."""

import json

import cv2
import numpy as np
import pytest

from parfocal import api
from parfocal.errors import InstrumentError, SettingsError

QUICK = ("frame_shape = [240, 320]", "frame_shape = [128, 160]", "step_um = 4.0", "step_um = 2.0")


def test_z_backlash_of_25_um_is_measured_on_an_instrument_set_up_for_20(parfocal, small_toml, tmp_path):
    toml = small_toml(*QUICK, "xy_backlash_um = 80.0", "z_backlash_um = 25.0")
    out = tmp_path / "small.calibration.json"
    code, text, _ = parfocal("calibrate", "backlash", "--microscope", toml, "--json", "--out", out, "--repeats", "4")
    report = json.loads(text)
    assert code == 0
    assert set(report["backlash_um"]) == {"mean", "sd", "max"}
    assert report["backlash_um"]["mean"] == pytest.approx(25.0, abs=0.3)
    assert report["plateau"] == "play"
    (picture,) = report["pictures"]
    assert cv2.imread(picture).std() > 5
    assert json.loads(out.read_text())["backlash"]["settings"]["repeats"] == 4
    settings = api.open_microscope(toml, calibration=out).settings
    assert 25.0 < settings.approach.backlash_um < 26.5
    assert settings.approach.take_up_um >= settings.approach.closing_um


def test_a_step_leaves_the_others_in_the_file_as_they_are(parfocal, small_toml, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toml = small_toml(*QUICK)
    parfocal("calibrate", "optics", "--microscope", toml)
    before = json.loads((tmp_path / "small.calibration.json").read_text())
    code, text, _ = parfocal("calibrate", "light", "--microscope", toml)
    after = json.loads((tmp_path / "small.calibration.json").read_text())
    assert code == 0
    assert "white balance" in text
    assert after["optics"] == before["optics"]
    assert set(after) - set(before) == {"light"}


def test_steps_that_need_the_focus_share_one_report(small_toml, tmp_path):
    opened = api.open_microscope(small_toml(), "blood-smear")
    told = []
    report = api.calibrate(
        opened, ["noise", "settle"], tmp_path / "c.json", on_progress=lambda name, done, total: told.append(name)
    )
    assert report["settle_s"] == 0
    assert 0.8 < report["noise_sd"] < 2.0
    assert 1.0 < report["empty_sd"] < 4.0
    assert set(told) == {"settle"}
    assert not opened.microscope.lamp.is_on


def test_another_instruments_file_is_refused_before_anything_moves(parfocal, small_toml, tmp_path):
    out = tmp_path / "c.json"
    parfocal("calibrate", "optics", "--microscope", small_toml(*QUICK), "--out", out)
    before = out.read_text()
    code, _, error = parfocal("calibrate", "optics", "--microscope", "simulated-40x", "--out", out)
    assert code == 2
    assert "calibration of small, and this is simulated-40x" in error
    assert out.read_text() == before


def test_a_scan_refuses_another_instruments_calibration(parfocal, tmp_path):
    out = tmp_path / "c.json"
    parfocal("calibrate", "optics", "--out", out)
    arguments = ("--out", tmp_path / "s", "--calibration", out)
    code, _, error = parfocal("scan", "simulated-40x", *arguments)
    assert code == 2
    assert "calibration of simulated-20x" in error


def test_a_slide_without_specimen_stops_with_the_lamp_off(small_toml, tmp_path):
    cv2.imwrite(str(tmp_path / "white.png"), np.full((64, 64, 3), 255, np.uint8))
    opened = api.open_microscope(small_toml(*QUICK), f"image:{tmp_path / 'white.png'}")
    with pytest.raises(InstrumentError, match="no focus found, and a calibration needs one"):
        api.calibrate(opened, ["backlash"], tmp_path / "c.json")
    assert not opened.microscope.lamp.is_on
    assert not (tmp_path / "c.json").exists()


def test_a_step_that_does_not_exist_is_refused(small_toml, tmp_path):
    with pytest.raises(SettingsError, match="'colour' is none of backlash"):
        api.calibrate(api.open_microscope(small_toml(*QUICK)), ["colour"], tmp_path / "c.json")


def test_a_file_in_no_folder_is_refused(parfocal, tmp_path):
    code, _, error = parfocal("calibrate", "optics", "--out", tmp_path / "gone" / "c.json")
    assert code == 2
    assert "is no folder" in error
