"""Pixel size, rotation and shear from stops whose pictures are known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.errors import InstrumentError, SettingsError
from parfocal.scan.calibration.stage_map import Stop, fit_stage_map, stops_needed


def matrix_of(pixel_um=0.345, rotation_deg=0.0, shear_deg=0.0):
    turn, y_turn = math.radians(rotation_deg), math.radians(rotation_deg + shear_deg)
    columns = [[math.cos(turn), math.sin(turn)], [-math.sin(y_turn), math.cos(y_turn)]]
    return np.array(columns).T / pixel_um


def lines(matrix, *, error_um=0.0, stops=20, length_um=4000.0, passes=2, seed=0, outliers=0):
    """Runs along x and along y, each stop of which is off by the stage's own error along the axis that moved."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(passes):
        for axis in (0, 1):
            along_um = np.linspace(-length_um / 2, length_um / 2, stops)
            stage_um, true_um = np.zeros((stops, 2)), np.zeros((stops, 2))
            stage_um[:, axis] = along_um
            true_um[:, axis] = along_um + rng.normal(0, error_um, stops)
            true_um[rng.choice(stops, outliers, replace=False), axis] += 60.0
            picture_px = (true_um - true_um[0]) @ matrix.T
            runs.append([Stop(tuple(s), tuple(p)) for s, p in zip(stage_um.tolist(), picture_px.tolist(), strict=True)])
    return runs


@given(pixel_um=st.floats(0.1, 2.0), rotation_deg=st.floats(-20, 20), shear_deg=st.floats(-2, 2))
@settings(max_examples=50, deadline=None)
def test_what_is_without_error_is_found_exactly(pixel_um, rotation_deg, shear_deg):
    found = fit_stage_map(lines(matrix_of(pixel_um, rotation_deg, shear_deg)))
    assert found.pixel_size_um == pytest.approx(pixel_um, rel=1e-6)
    assert found.rotation_deg == pytest.approx(rotation_deg + shear_deg / 2, abs=1e-4 + abs(shear_deg) ** 3)
    assert found.shear_deg == pytest.approx(shear_deg, abs=1e-6)
    assert found.to_um(tuple(matrix_of(pixel_um, rotation_deg, shear_deg) @ [30.0, -7.0])) == pytest.approx((30, -7))


@pytest.mark.parametrize("seed", range(5))
def test_two_um_that_do_not_repeat_leave_a_thousandth(seed):
    found = fit_stage_map(lines(matrix_of(rotation_deg=1.5), error_um=2.0, seed=seed))
    assert found.pixel_size_um == pytest.approx(0.345, rel=1e-3)
    assert found.stage_error_um == pytest.approx(2.0, rel=0.35)
    assert found.error < 5e-4


def test_the_error_that_it_states_is_the_error_that_it_makes():
    found = [fit_stage_map(lines(matrix_of(), error_um=2.0, seed=seed)) for seed in range(100)]
    off = np.array([one.pixel_size_um / 0.345 - 1 for one in found])
    assert np.mean([one.stage_error_um for one in found]) == pytest.approx(2.0, rel=0.1)
    assert off.std() == pytest.approx(np.mean([one.error for one in found]), rel=0.2)


def test_a_stop_where_the_stage_slipped_does_not_count():
    found = fit_stage_map(lines(matrix_of(), error_um=2.0, outliers=1))
    assert found.pixel_size_um == pytest.approx(0.345, rel=1e-3)


@pytest.mark.parametrize("runs", [[], lines(matrix_of())[:1], [run[:2] for run in lines(matrix_of())]])
def test_one_axis_alone_is_too_little(runs):
    with pytest.raises(InstrumentError, match="both axes"):
        fit_stage_map(runs)


def test_stops_needed_keep_their_promise():
    stops = stops_needed(stage_error_um=2.0, length_um=4000.0, accuracy=1e-3)
    assert stops == 27
    found = [
        fit_stage_map(lines(matrix_of(), error_um=2.0, stops=stops, passes=1, seed=seed)).pixel_um[0]
        for seed in range(100)
    ]
    assert np.mean(np.abs(np.array(found) / 0.345 - 1) < 1e-3) >= 0.97


@pytest.mark.parametrize("values", [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, -1.0)])
def test_stops_needed_wants_values_above_0(values):
    with pytest.raises(SettingsError):
        stops_needed(*values)
