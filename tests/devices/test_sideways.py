"""Sideways motion arrives where it was sent from either side, when it knows the stage's backlash."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.devices.sideways import CompensatedXY
from parfocal.devices.simulated import SimulatedXYStage, VirtualClock, XYSettings
from parfocal.errors import LimitError

BACKLASH_UM = 80.0
LIMITS_UM = ((-2000.0, 2000.0), (-2000.0, 2000.0))


def stage_and_compensated(backlash_um=BACKLASH_UM, known_um=(BACKLASH_UM, BACKLASH_UM)):
    settings = XYSettings(limits_um=LIMITS_UM, backlash_um=backlash_um, screw_um=0.0, error_um=0.0)
    stage = SimulatedXYStage(settings, VirtualClock(), np.random.default_rng(0))
    return stage, CompensatedXY(stage, known_um)


places = st.tuples(st.floats(-1800, 1900), st.floats(-1800, 1900))


@given(st.lists(places, min_size=1, max_size=12))
def test_the_slide_stands_at_the_target_after_any_sequence_of_moves(targets_um):
    stage, xy = stage_and_compensated()
    for target_um in targets_um:
        xy.move_to(*target_um)
        assert stage.true_um == pytest.approx(target_um, abs=1e-6)
        assert xy.position_um == target_um


def test_rows_of_a_serpentine_lie_under_one_another_only_with_compensation():
    columns_um = (0.0, 300.0, 600.0)
    for known_um, apart_um in (((BACKLASH_UM, BACKLASH_UM), 0.0), ((0.0, 0.0), BACKLASH_UM)):
        stage, xy = stage_and_compensated(known_um=known_um)
        there = {}
        for x_um in columns_um:
            xy.move_to(x_um, 0.0)
            there[x_um] = stage.true_um[0]
        xy.move_to(900.0, 300.0)
        for x_um in reversed(columns_um):
            xy.move_to(x_um, 300.0)
            assert stage.true_um[0] - there[x_um] == pytest.approx(apart_um, abs=1e-6)


def test_the_first_move_comes_from_below_because_the_slack_is_unknown():
    stage, xy = stage_and_compensated()
    commands_um = []
    move = stage.move_to
    stage.move_to = lambda x_um, y_um: (commands_um.append((x_um, y_um)), move(x_um, y_um))
    xy.move_to(100.0, 50.0)
    assert commands_um == [(20.0, -30.0), (100.0, 50.0)]


def test_an_axis_that_does_not_move_keeps_its_side():
    stage, xy = stage_and_compensated()
    for target_um in ((0.0, 0.0), (0.0, 500.0), (0.0, 100.0), (300.0, 100.0)):
        xy.move_to(*target_um)
        assert stage.true_um == pytest.approx(target_um, abs=1e-6)


def test_room_to_come_from_below_is_kept_free_of_targets():
    stage, xy = stage_and_compensated()
    assert xy.limits_um == ((-1920.0, 2000.0), (-1920.0, 2000.0))
    with pytest.raises(LimitError, match=r"y -1950\.00 µm is outside the limits -1920 … 2000 µm"):
        xy.move_to(0.0, -1950.0)
    assert stage.position_um == (0.0, 0.0)


def test_before_the_first_move_the_position_is_the_stages():
    stage, xy = stage_and_compensated()
    stage.move_to(12.0, 34.0)
    assert xy.position_um == (12.0, 34.0)
