"""A stage whose zero has moved goes where it was sent by the old count, within both counts' limits."""

import pytest

from geometric import Stripes, instrument
from parfocal.devices.approach import ApproachSettings, GuardedZ, GuardLimits
from parfocal.devices.shifted import ShiftedXY, ShiftedZ
from parfocal.errors import LimitError


@pytest.fixture
def microscope():
    return instrument(Stripes(0.0))[0]


def test_z_is_told_in_the_old_count(microscope):
    z = ShiftedZ(microscope.z, 12.0, (-100.0, 100.0))
    z.move_to(3.0)
    assert (z.position_um, microscope.z.position_um) == (3.0, 15.0)
    assert z.limits_um == (-112.0, 88.0)


@pytest.mark.parametrize("beyond_um", [88.1, -112.1])
def test_z_keeps_the_limits_of_the_stages_own_count(microscope, beyond_um):
    z = ShiftedZ(microscope.z, 12.0, (-100.0, 100.0))
    with pytest.raises(LimitError):
        z.move_to(beyond_um)
    assert microscope.z.position_um == 0.0


def test_x_and_y_are_told_in_the_old_count(microscope):
    xy = ShiftedXY(microscope.xy, (30.0, -20.0))
    xy.move_to(1.0, 2.0)
    assert (xy.position_um, microscope.xy.position_um) == ((1.0, 2.0), (31.0, -18.0))
    (x_min, x_max), (y_min, y_max) = microscope.xy.limits_um
    assert xy.limits_um == ((x_min - 30, x_max - 30), (y_min + 20, y_max + 20))
    with pytest.raises(LimitError):
        xy.move_to(x_max - 29.9, 0.0)


@pytest.mark.parametrize(("shift_um", "within_um"), [(12.0, (-100.0, 88.0)), (-12.0, (-88.0, 100.0))])
def test_soft_limits_of_a_scan_hold_by_both_counts_for_nobody_knows_which_of_the_two_is_true(
    microscope, shift_um, within_um
):
    z = ShiftedZ(microscope.z, shift_um, (-100.0, 100.0))
    approach = ApproachSettings(backlash_um=20.0, take_up_um=22.0, start_below_um=6.0, delta_um=2.0)
    guarded = GuardedZ(z, microscope.clock, approach, GuardLimits(lowest_um=-100.0, highest_um=100.0))
    assert (guarded.lowest_um, guarded.highest_um) == within_um
    with pytest.raises(LimitError):
        guarded.move_to(within_um[1] + 0.5)
    with pytest.raises(LimitError):
        guarded.move_to(within_um[0] - 0.5)
