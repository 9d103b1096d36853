"""The shift between two focus curves, and what a reversal looks like."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.errors import InstrumentError, SettingsError
from parfocal.scan.calibration.curves import FocusCurve, Slack, curve_shift, judge_plateau


def curve(z_um, focus_um, *, seed=None, error_um=0.17, lamp=0.0):
    """A focus curve that is steeper below the focus than above it, read with the stage's error on arrival."""
    z_um = np.asarray(z_um)
    error = 0.0 if seed is None else np.random.default_rng(seed).normal(0.0, error_um, z_um.size)
    off_um = z_um + error - focus_um
    log = lamp - np.log1p((off_um / np.where(off_um < 0, 2.0, 3.0)) ** 2)
    return FocusCurve(tuple(map(float, z_um)), tuple(map(float, log)))


PLANES_UM = np.arange(-6.0, 6.1, 1.5)


@given(slack_um=st.floats(0.0, 40.0), rough_um=st.floats(-1.0, 1.0), lamp=st.floats(-0.5, 0.5))
@settings(max_examples=50, deadline=None)
def test_the_shift_is_the_slack_whatever_the_lamp_does(slack_um, rough_um, lamp):
    up = curve(PLANES_UM, 0.0)
    down = curve(PLANES_UM - slack_um + rough_um, -slack_um, lamp=lamp)
    assert curve_shift(up, down, (slack_um - 5, slack_um + 5)) == pytest.approx(slack_um, abs=0.15)


def test_planes_and_repeats_average_the_error_on_arrival_out():
    shifts_um = [
        curve_shift(curve(PLANES_UM, 0.3, seed=seed), curve(PLANES_UM - 20, -19.7, seed=seed + 100), (14.0, 26.0))
        for seed in range(10)
    ]
    slack = Slack(tuple(shifts_um))
    assert slack.mean_um == pytest.approx(20.0, abs=0.15)
    assert slack.sd_um < 0.3
    assert slack.max_um == max(shifts_um)


def test_the_whole_curve_counts_so_that_its_peak_may_lie_outside():
    up, down = curve(np.arange(-8.0, -0.9, 1.0), 0.0), curve(np.arange(-18.0, -10.9, 1.0), -10.0)
    assert curve_shift(up, down, (5.0, 15.0)) == pytest.approx(10.0, abs=0.1)


def test_a_match_at_the_end_of_the_reach_is_none():
    with pytest.raises(InstrumentError, match=r"do not match within 0 … 5 µm"):
        curve_shift(curve(PLANES_UM, 0.0), curve(PLANES_UM - 9, -9.0), (0.0, 5.0))


@pytest.mark.parametrize("z_um", [[0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 2.0, 3.0]])
def test_a_curve_has_five_planes_that_rise(z_um):
    with pytest.raises(SettingsError):
        FocusCurve(tuple(z_um), tuple(z_um))


TRAVEL_UM = np.array([5.0, 10.0, 15.0, 18.0, 21.5, 23.0])


def test_a_picture_that_stands_still_until_the_slack_is_taken_up_is_play():
    seen = np.maximum(0, TRAVEL_UM - 20) + np.random.default_rng(1).normal(0, 0.2, TRAVEL_UM.size)
    assert judge_plateau(TRAVEL_UM, seen, 20.0).verdict == "play"


def test_a_picture_that_gives_way_from_the_beginning_is_hysteresis():
    seen = TRAVEL_UM - 20 * (1 - np.exp(-TRAVEL_UM / 20)) + np.random.default_rng(1).normal(0, 0.2, TRAVEL_UM.size)
    assert judge_plateau(TRAVEL_UM, seen, 20.0).verdict == "hysteresis"


@pytest.mark.parametrize("slack_um", [0.0, 1.0])
def test_too_little_slack_tells_neither(slack_um):
    assert judge_plateau([0.5, 1.0], [0.0, 0.5], slack_um).verdict == "cannot tell"
