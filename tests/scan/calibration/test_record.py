"""The calibration file: bound to its instrument, of a known age, and taken over by a scan."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from geometric import Stripes, instrument
from parfocal.config import open_microscope
from parfocal.errors import FileError, SettingsError
from parfocal.optics.objective import Objective
from parfocal.scan.calibration.record import (
    Calibration,
    apply_calibration,
    check_age,
    identity_of,
    read_calibration,
    write_calibration,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
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
    "noise": {"noise_sd": 1.2, "difference_floor": 0.8, "empty_sd": 1.9},
    "start": {"start_below_um": 3.0, "expected_error_um": 0.1, "defocus_um": [0.0], "error_um": [0.1], "pairs": 5},
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


@pytest.fixture
def microscope():
    return instrument(Stripes(0.0))[0]


def calibration_of(microscope, *steps, date=NOW):
    calibration = Calibration(microscope=microscope.name, identity=identity_of(microscope))
    for step in steps:
        values = {"date": date, "version": "0", "images": 1, "settings": {}, "figures": FIGURES[step]}
        calibration = calibration.with_step(step, values)
    return calibration


def test_it_comes_back_as_it_was_written(microscope, tmp_path):
    calibration = calibration_of(microscope, *FIGURES)
    write_calibration(tmp_path / "c.json", calibration)
    assert read_calibration(tmp_path / "c.json", microscope) == calibration


def test_another_instruments_file_is_refused_by_name(microscope, tmp_path):
    write_calibration(tmp_path / "c.json", calibration_of(microscope, "noise"))
    with pytest.raises(SettingsError, match=f"calibration of {microscope.name}, and this is another"):
        read_calibration(tmp_path / "c.json", replace(microscope, name="another"))
    with pytest.raises(SettingsError, match="whose objective or camera was another"):
        read_calibration(tmp_path / "c.json", replace(microscope, objective=Objective(20, 0.75)))


@pytest.mark.parametrize(
    "change",
    [
        {"colour": 1},
        {"format": "another"},
        {"noise": {"date": "yesterday"}},
        {"noise": {"date": "2026-05-01T00:00:00Z", "version": "0", "images": 1, "settings": {}, "figures": {}}},
    ],
)
def test_what_is_no_calibration_says_where(microscope, tmp_path, change):
    path = tmp_path / "c.json"
    values = calibration_of(microscope).model_dump(mode="json", exclude_none=True)
    path.write_text(json.dumps({**values, **change}))
    with pytest.raises(FileError, match=next(iter(change))):
        read_calibration(path, microscope)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b" " * (2**20 + 1), b'{"identity": NaN}'])
def test_what_is_no_file_of_this_kind_is_refused(microscope, tmp_path, content):
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(FileError):
        read_calibration(tmp_path / "c.json", microscope)


def test_a_missing_file_is_refused(microscope, tmp_path):
    with pytest.raises(FileError, match=r"gone\.json: cannot read"):
        read_calibration(tmp_path / "gone.json", microscope)


def test_a_figure_that_is_no_number_is_not_kept(microscope):
    bad = {**FIGURES["noise"], "noise_sd": float("nan")}
    with pytest.raises(SettingsError, match=r"step noise: noise\.figures\.noise_sd"):
        Calibration(microscope="m", identity="i").with_step(
            "noise", {"date": NOW, "version": "0", "images": 1, "settings": {}, "figures": bad}
        )


@pytest.mark.parametrize("days", [0, 89, 90])
def test_a_calibration_of_up_to_90_days_is_fresh(microscope, days):
    check_age(calibration_of(microscope, "noise"), NOW + timedelta(days=days))
    check_age(calibration_of(microscope), NOW)


def test_an_older_one_is_stale_and_says_how_old_by_its_oldest_step(microscope):
    calibration = calibration_of(microscope, "noise", date=NOW)
    fresh = {"date": NOW + timedelta(days=90), "version": "0", "images": 1, "settings": {}}
    calibration = calibration.with_step("start", {**fresh, "figures": FIGURES["start"]})
    with pytest.raises(SettingsError, match=r"stale: its step noise is 91 days old, more than 90; .*--accept-stale"):
        check_age(calibration, NOW + timedelta(days=91))


def test_a_date_in_the_future_is_refused(microscope):
    with pytest.raises(SettingsError, match="3 days in the future"):
        check_age(calibration_of(microscope, "noise"), NOW - timedelta(days=3))


def test_a_scan_takes_over_what_was_measured(microscope):
    settings = open_microscope("simulated-20x").settings
    applied = apply_calibration(settings, calibration_of(microscope, *FIGURES))
    assert applied.approach.backlash_um == pytest.approx(23.9)  # the largest, and half a µm
    assert applied.approach.take_up_um == pytest.approx(24.9)  # and the margin
    assert applied.approach.start_below_um == 3.0
    assert applied.xy_backlash_um == (61.0, 0.0)
    assert applied.neighbour_error_um == 2.8
    assert applied.focus.empty_sd == 1.9
    assert applied.focus.difference_floor == 0.8


def test_steps_that_were_not_run_change_nothing(microscope):
    settings = open_microscope("simulated-20x").settings
    assert apply_calibration(settings, calibration_of(microscope)) == settings
    noise = apply_calibration(settings, calibration_of(microscope, "noise"))
    assert noise.approach == settings.approach


def test_an_instrument_opens_with_its_calibration_unless_it_is_stale(tmp_path):
    microscope = open_microscope("simulated-20x").microscope
    path = tmp_path / "c.json"
    write_calibration(path, calibration_of(microscope, "backlash", date=datetime.now(UTC) - timedelta(days=100)))
    with pytest.raises(SettingsError, match="100 days old"):
        open_microscope("simulated-20x", calibration=path)
    opened = open_microscope("simulated-20x", calibration=path, accept_stale=True)
    assert opened.settings.approach.backlash_um == pytest.approx(23.9)
    with pytest.raises(SettingsError, match="this is simulated-40x"):
        open_microscope("simulated-40x", calibration=path)
