"""z backlash of a stage whose play is known, whatever it is set up for."""

import pytest

from geometric import Stripes, guard, instrument
from parfocal.errors import InstrumentError, LimitError
from parfocal.focus.search import SweepSettings, initial_focus
from parfocal.scan.calibration.z_backlash import BacklashPlan, measure_z_backlash

PLAN = BacklashPlan()
SWEEP = SweepSettings(lowest_um=-40.0, highest_um=40.0)


def measured(backlash_um, *, focus_um=3.3, seed=0, plan=PLAN, **limits):
    """What a stage that is set up for 20 µm is measured to have."""
    microscope, _ = instrument(Stripes(focus_um), backlash_um=backlash_um, error_um=0.17, seed=seed)
    z = guard(microscope, backlash_um=20.0, **limits)
    sweep = initial_focus(microscope, z, SWEEP)
    return measure_z_backlash(microscope, z, sweep, plan)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("backlash_um", [0.0, 1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 38.0])
def test_it_is_found_to_0_3_um_though_the_stage_is_set_up_for_20(backlash_um, seed):
    slack = measured(backlash_um, seed=seed).slack
    assert slack.mean_um == pytest.approx(backlash_um, abs=0.3)
    assert len(slack.shifts_um) == 10
    assert slack.mean_um <= slack.max_um < backlash_um + 1


def test_the_plateau_of_a_play_operator_is_play():
    plateau = measured(20.0).plateau
    assert plateau.verdict == "play"
    assert max(plateau.moved_um[:4]) < 0.2 < plateau.moved_um[-1]


def test_every_sweep_has_the_planes_of_the_plan_and_every_exposure_is_counted():
    found = measured(10.0, plan=BacklashPlan(repeats=2, half_width_um=6.0, step_um=1.5, plateau_turns=1))
    assert [len(curve.z_um) for curve in (*found.up, *found.down)] == [9] * 4
    assert found.images > 4 * 9 + 7


def test_more_than_is_looked_for_is_an_error():
    with pytest.raises(InstrumentError, match="do not match"):
        measured(60.0)


def test_limits_hold_and_are_checked_before_the_first_move():
    with pytest.raises(LimitError):
        measured(20.0, lowest_um=-65.0, highest_um=42.0, plan=BacklashPlan(largest_um=60.0))


def test_a_place_without_focus_is_refused():
    microscope, _ = instrument(Stripes(0.0, contrast=0.0))
    z = guard(microscope)
    with pytest.raises(InstrumentError, match="needs a focus"):
        measure_z_backlash(microscope, z, initial_focus(microscope, z, SWEEP), BacklashPlan())


def test_a_deeper_field_takes_planes_farther_apart():
    near, far = BacklashPlan.for_depth(0.6), BacklashPlan.for_depth(2.0)
    assert near.step_um < far.step_um
    assert near.half_width_um < far.half_width_um <= 15
