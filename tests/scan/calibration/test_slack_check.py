"""The check of the backlash that a scan makes after its sweep."""

import pytest

from geometric import Stripes, guard, instrument
from parfocal.errors import SettingsError
from parfocal.focus.search import SweepSettings, initial_focus
from parfocal.scan.calibration import check_backlash

CONFIGURED_UM = 10.0


def swept(light, backlash_um):
    """A microscope, the guard set up for 10 µm of backlash, and the sweep that it has just made."""
    microscope, _ = instrument(light, backlash_um=backlash_um)
    z = guard(microscope, backlash_um=CONFIGURED_UM)
    return microscope, z, initial_focus(microscope, z, SweepSettings(lowest_um=-40.0, highest_um=40.0))


@pytest.mark.parametrize("backlash_um", [0.0, 5.0, CONFIGURED_UM])
def test_a_stage_with_no_more_backlash_than_configured_passes(backlash_um):
    assert check_backlash(*swept(Stripes(0.0), backlash_um)) == pytest.approx(0.0, abs=0.1)


def test_a_little_more_is_measured_and_let_pass():
    assert check_backlash(*swept(Stripes(0.0), CONFIGURED_UM + 0.5)) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("backlash_um", [13.0, 14.0, 16.0, 20.0, 30.0, 40.0])
def test_far_too_much_backlash_is_refused_though_the_picture_lies_beyond_the_focus(backlash_um):
    with pytest.raises(SettingsError, match=r"backlash is .*more than the 10 µm that"):
        check_backlash(*swept(Stripes(0.0), backlash_um))


@pytest.mark.parametrize("backlash_um", [11.5, 12.0])
def test_more_backlash_than_configured_is_refused_with_both_values(backlash_um):
    with pytest.raises(SettingsError, match=r"about 1[12]\.\d µm, more than the 10 µm that"):
        check_backlash(*swept(Stripes(0.0), backlash_um))


def test_a_curve_too_flat_to_tell_costs_no_exposure():
    microscope, z, sweep = swept(Stripes(0.0, contrast=0.0), 30.0)
    before_s = microscope.clock.now_s
    assert check_backlash(microscope, z, sweep) is None
    assert microscope.clock.now_s == before_s
