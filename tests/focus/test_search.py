import json

import pytest

from geometric import Stripes, guard, instrument
from parfocal.errors import InstrumentError, LimitError, SettingsError
from parfocal.focus.search import SweepSettings, initial_focus

SWEEP = SweepSettings(lowest_um=-40.0, highest_um=40.0)


def sweep(light, settings=SWEEP, *, backlash_um=20.0, **limits):
    microscope, truth = instrument(light, backlash_um=backlash_um)
    return initial_focus(microscope, guard(microscope, **limits), settings), microscope, truth


@pytest.mark.parametrize("merit", ["tenengrad", "variance-of-laplacian"])
@pytest.mark.parametrize("focus_um", [-21.3, 0.0, 33.0])
def test_it_finds_the_focus_whatever_the_backlash(merit, focus_um):
    settings = SweepSettings(lowest_um=-40.0, highest_um=40.0, merit=merit)
    result, _, _ = sweep(Stripes(focus_um), settings)
    assert result.verdict == "found"
    assert result.z_um == pytest.approx(focus_um, abs=0.7)


def test_it_only_rises_after_its_first_plane_and_stays_at_the_last():
    result, microscope, truth = sweep(Stripes(5.0))
    assert result.curve_z_um == pytest.approx([-40.0 + 2 * index for index in range(41)])
    assert len(result.curve_merit) == result.images == 41
    assert microscope.z.position_um == 40.0
    assert truth.stage_position_um[2] == pytest.approx(40.0)


def test_the_sharpest_frame_comes_with_it():
    result, _, _ = sweep(Stripes(6.0))
    assert result.frame[..., 1].std() == pytest.approx(100, abs=1)


@pytest.mark.parametrize(("focus_um", "end_um", "side"), [(-60.0, -40.0, "below"), (70.0, 40.0, "above")])
def test_a_peak_at_an_end_says_that_the_focus_lies_beyond(focus_um, end_um, side):
    result, _, _ = sweep(Stripes(focus_um))
    assert (result.verdict, result.z_um) == ("edge", end_um)
    assert f"the focus lies {side}" in result.reason


def test_a_flat_curve_says_that_there_is_no_specimen():
    result, _, _ = sweep(Stripes(0.0, contrast=0.0))
    assert result.verdict == "flat"
    assert "no specimen here" in result.reason


def test_it_is_not_held_to_the_budget_of_a_field_and_leaves_that_as_it_was():
    microscope, _ = instrument(Stripes(0.0))
    z = guard(microscope, travel_budget_um=50.0)
    assert initial_focus(microscope, z, SWEEP).verdict == "found"
    z.start_field()
    z.move_to(0.0)
    assert z.travelled_um == 40.0


@pytest.mark.parametrize("limits", [{"highest_um": 39.0}, {"lowest_um": -50.0}])
def test_a_sweep_beyond_the_limits_is_refused_before_any_motion(limits):
    microscope, _ = instrument(Stripes(0.0))
    with pytest.raises(LimitError, match="µm"):
        initial_focus(microscope, guard(microscope, **limits), SWEEP)
    assert microscope.z.position_um == 0.0


def test_in_the_dark_it_does_not_begin():
    microscope, _ = instrument(Stripes(0.0))
    microscope.lamp.off()
    with pytest.raises(InstrumentError, match="lamp is off"):
        initial_focus(microscope, guard(microscope), SWEEP)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step_um": 0.0}, "step 0 µm"),
        ({"highest_um": -38.0}, "fewer than 3 planes"),
        ({"merit": "beauty"}, "'beauty'"),
        ({"least_rise": -1.0}, "least_rise"),
    ],
)
def test_impossible_sweeps_are_refused(change, message):
    with pytest.raises(SettingsError, match=message):
        SweepSettings(**({"lowest_um": -40.0, "highest_um": 40.0} | change))


def test_it_tells_its_curve_as_json():
    told = json.loads(json.dumps(sweep(Stripes(0.0))[0].to_json(), allow_nan=False))
    assert told["images"] == len(told["curve_z_um"]) == 41
    assert "frame" not in told
