import json
import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geometric import Oracle, Stripes, guard, instrument, true_z_um
from parfocal.devices.approach import GuardedZ, lamp_lit
from parfocal.devices.replay import replay_microscope
from parfocal.errors import BudgetError, InstrumentError, LimitError, StageStuckError
from parfocal.focus.controller import FocusSettings, focus_field
from parfocal.optics.objective import Objective
from parfocal.stacks.recorded import RecordedStack

SETTINGS = FocusSettings()
FOCUS_UM = 4.0


def focus(pivot_um=0.0, oracle=None, *, settings=SETTINGS, stage_backlash_um=20.0, decision_time_s=0.015, **guarded):
    """Focus one field whose focus is at FOCUS_UM; (result, microscope, truth)."""
    microscope, truth = instrument(Stripes(FOCUS_UM), backlash_um=stage_backlash_um, decision_time_s=decision_time_s)
    z = guard(microscope, **guarded)
    result = focus_field(microscope, z, oracle or Oracle(FOCUS_UM), pivot_um, settings)
    return result, microscope, truth


def moves(result):
    return [type(step.move).__name__ for step in result.trace if step.move is not None]


class TestOneField:
    def test_three_images_bring_it_into_focus(self):
        result, _, truth = focus(pivot_um=0.0)
        assert (result.verdict, result.images) == ("focused", 3)
        assert [step.purpose for step in result.trace] == ["first", "second", "kept"]
        assert [step.z_um for step in result.trace] == pytest.approx([-8.0, -5.0, FOCUS_UM])
        assert truth.stage_position_um[2] == pytest.approx(FOCUS_UM)
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM)

    def test_the_second_image_is_kept_where_it_is_in_focus_already(self):
        result, _, _ = focus(pivot_um=FOCUS_UM + 8 - 3 - 0.2)
        assert (result.verdict, result.images) == ("focused", 2)
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM - 0.2)
        assert result.focus_um == pytest.approx(FOCUS_UM)

    def test_a_focus_below_the_pair_is_reached_from_below_after_a_retreat(self):
        result, _, _ = focus(pivot_um=20.0)
        assert (result.verdict, result.images) == ("focused", 5)
        assert moves(result) == ["Retreat", "Accept"]
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM)

    def test_a_far_focus_is_approached_by_halves(self):
        result, _, _ = focus(pivot_um=-30.0)
        assert result.verdict == "focused"
        assert moves(result) == ["HalfStep", "HalfStep", "Accept"]
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM)

    def test_a_half_step_shorter_than_delta_takes_one_more_image_only(self):
        result, _, _ = focus(pivot_um=7.0, oracle=Oracle(FOCUS_UM, spread_um=[2.0, 0.1]))
        assert moves(result)[0] == "HalfStep"
        assert result.trace[2].purpose == "second"
        assert result.trace[2].z_um == pytest.approx(result.trace[1].z_um + 3.0)

    def test_with_one_patch_a_second_pair_confirms(self):
        result, _, _ = focus(pivot_um=-4.0, oracle=Oracle(FOCUS_UM, spread_um=math.nan))
        assert result.verdict == "focused"
        assert moves(result) == ["HalfStep", "Accept"]
        assert result.spread_um is None

    def test_the_network_is_told_the_distance_of_the_pair(self):
        oracle = Oracle(FOCUS_UM)
        focus(oracle=oracle, delta_um=2.5)
        assert oracle.asked_delta_um == pytest.approx([2.5])

    def test_each_pair_costs_one_decision_on_the_clock(self):
        times_s = []
        for decision_time_s in (0.0, 0.5):
            result, microscope, _ = focus(pivot_um=20.0, decision_time_s=decision_time_s)
            times_s.append(microscope.clock.now_s)
        assert len(moves(result)) == 2
        assert times_s[1] - times_s[0] == pytest.approx(2 * 0.5)


CHECKED = FocusSettings(return_within_um=3.0, peak_tolerance_um=0.25)


class TestFocusBetweenTheImages:
    def test_it_is_gone_back_to_from_below_without_another_pair(self):
        settings = FocusSettings(return_within_um=3.0)
        result, _, _ = focus(pivot_um=FOCUS_UM + 8 - 1.5, settings=settings)
        assert [step.purpose for step in result.trace] == ["first", "second", "kept"]
        assert moves(result) == ["Accept"]
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM)

    def test_below_both_it_still_takes_another_pair(self):
        result, _, _ = focus(pivot_um=FOCUS_UM + 8 + 1.0, settings=FocusSettings(return_within_um=3.0))
        assert moves(result) == ["Retreat", "Accept"]


class TestCheckOfTheKeptFrame:
    def test_three_images_around_the_focus_are_enough(self):
        result, _, _ = focus(pivot_um=FOCUS_UM + 8 - 1.5, settings=CHECKED)
        assert (result.verdict, result.images) == ("focused", 3)
        assert result.focus_um == pytest.approx(FOCUS_UM, abs=0.1)
        assert "sharpest at" in result.trace[-1].note

    @pytest.mark.parametrize("error_um", [-1.0, -0.6, 0.6, 1.0])
    def test_a_wrong_prediction_is_mended(self, error_um):
        believed = Oracle(FOCUS_UM + error_um)
        result, _, _ = focus(pivot_um=FOCUS_UM + 8 - 1.5, oracle=believed, settings=CHECKED)
        assert result.verdict == "focused"
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM, abs=0.25)
        unchecked, _, _ = focus(
            pivot_um=FOCUS_UM + 8 - 1.5, oracle=believed, settings=FocusSettings(return_within_um=3)
        )
        assert true_z_um(unchecked.frame) == pytest.approx(FOCUS_UM + error_um)

    def test_a_far_focus_is_flanked_on_the_way_up_and_once_above(self):
        result, _, _ = focus(pivot_um=-2.0, settings=CHECKED)
        assert [step.purpose for step in result.trace] == ["first", "second", "flank", "kept", "flank"]
        assert [step.z_um for step in result.trace[2:]] == pytest.approx([FOCUS_UM - 1.5, FOCUS_UM, FOCUS_UM + 1.5])
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM)
        assert result.z_um == pytest.approx(FOCUS_UM)

    def test_a_frame_of_the_pair_that_is_near_enough_is_kept(self):
        settings = FocusSettings(return_within_um=3.0, peak_tolerance_um=1.0)
        result, _, _ = focus(pivot_um=FOCUS_UM + 8 - 0.2, settings=settings)
        assert [step.purpose for step in result.trace] == ["first", "second", "flank"]
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM - 0.2)

    def test_without_a_peak_the_prediction_stands(self):
        microscope, _ = instrument(Stripes(FOCUS_UM, contrast=0.0))
        result = focus_field(microscope, guard(microscope), Oracle(FOCUS_UM + 1), FOCUS_UM + 8 - 1.5, CHECKED)
        assert result.verdict == "focused"
        assert result.focus_um == pytest.approx(FOCUS_UM + 1)

    def test_at_the_limit_of_the_stage_it_is_left_out(self):
        result, _, _ = focus(pivot_um=-2.0, settings=CHECKED, highest_um=FOCUS_UM + 1.0)
        assert (result.verdict, result.images) == ("focused", 4)
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM)


class TestEmpty:
    def test_it_takes_the_pivots_z_in_one_approach_and_costs_no_search(self):
        oracle = Oracle(FOCUS_UM, image_sd=1.0)
        result, _, truth = focus(pivot_um=1.5, oracle=oracle)
        assert (result.verdict, result.images, result.z_um) == ("empty", 3, 1.5)
        assert truth.stage_position_um[2] == pytest.approx(1.5)
        assert oracle.pairs == []
        assert result.focus_um is None

    def test_a_pair_that_ends_at_the_pivot_is_enough(self):
        result, _, _ = focus(pivot_um=1.5, oracle=Oracle(FOCUS_UM, image_sd=1.0), start_below_um=3.0)
        assert (result.verdict, result.images) == ("empty", 2)

    def test_empty_is_decided_before_a_pair_without_difference(self):
        oracle = Oracle(FOCUS_UM, image_sd=1.0)
        result, _, _ = focus(oracle=oracle, stage_backlash_um=25.0, take_up_um=14.0, backlash_um=13.0)
        assert result.verdict == "empty"


class TestNoDifference:
    def test_a_straddled_pair_takes_one_more_image_and_is_never_fed_to_the_network(self):
        oracle = Oracle(FOCUS_UM, straddles=True)
        result, _, _ = focus(pivot_um=FOCUS_UM - 1.5 + 8, oracle=oracle)
        assert [step.purpose for step in result.trace[:3]] == ["first", "second", "third"]
        assert oracle.pairs[0] == pytest.approx((FOCUS_UM + 1.5, FOCUS_UM + 4.5))
        assert result.verdict == "focused"
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM)

    def test_a_stage_that_does_not_move_is_said_so(self):
        oracle = Oracle(FOCUS_UM)
        light = Stripes(FOCUS_UM)
        microscope, _ = instrument(light)
        z = guard(microscope)
        microscope.z._play.drive_to = lambda z_um: False
        with pytest.raises(StageStuckError, match=r"stage did not move: .* differ by 0\.00 grey levels"):
            focus_field(microscope, z, oracle, 0.0, SETTINGS)
        assert oracle.pairs == []

    def test_a_slack_larger_than_thought_is_noticed(self):
        with pytest.raises(StageStuckError):
            focus(stage_backlash_um=40.0, backlash_um=20.0)


class TestGivingUp:
    def test_after_four_pairs_the_sharpest_frame_is_kept(self):
        result, _, _ = focus(pivot_um=-30.0, oracle=Oracle(FOCUS_UM, spread_um=5.0))
        assert result.verdict == "unsure"
        assert moves(result) == ["HalfStep"] * 3 + ["GiveUp"]
        distances_um = [abs(step.z_um - FOCUS_UM) for step in result.trace]
        assert abs(result.z_um - FOCUS_UM) == pytest.approx(min(distances_um))
        assert true_z_um(result.frame) == pytest.approx(result.z_um, abs=0.01)

    def test_a_field_out_of_travel_is_unsure_and_moves_no_more(self):
        result, microscope, _ = focus(pivot_um=20.0, travel_budget_um=60.0)
        assert result.verdict == "unsure"
        assert "budget of 60 µm" in result.reason
        assert microscope.z.position_um == pytest.approx(15.0)

    def test_a_field_out_of_time_is_unsure(self):
        result, _, _ = focus(pivot_um=20.0, time_budget_s=0.09)
        assert result.verdict == "unsure"
        assert "time budget" in result.reason

    def test_a_focus_beyond_the_limits_fails_the_field_and_not_the_scan(self):
        result, microscope, _ = focus(pivot_um=0.0, highest_um=2.0)
        assert result.verdict == "failed"
        assert "outside the limits" in result.reason
        assert result.z_um == pytest.approx(-5.0)
        assert microscope.z.position_um == pytest.approx(-5.0)

    @pytest.mark.parametrize(
        ("limits", "error"), [({"lowest_um": -20.0}, LimitError), ({"travel_budget_um": 9.0}, BudgetError)]
    )
    def test_where_not_even_the_first_image_can_be_taken_nothing_moves(self, limits, error):
        microscope, _ = instrument(Stripes(FOCUS_UM))
        with pytest.raises(error, match="µm"):
            focus_field(microscope, guard(microscope, **limits), Oracle(FOCUS_UM), 0.0, SETTINGS)
        assert microscope.z.position_um == 0.0
        assert microscope.clock.now_s == 0.0

    def test_in_the_dark_it_does_not_begin(self):
        microscope, _ = instrument(Stripes(FOCUS_UM))
        microscope.lamp.off()
        with pytest.raises(InstrumentError, match="lamp is off"):
            focus_field(microscope, guard(microscope), Oracle(FOCUS_UM), 0.0, SETTINGS)


class TestLamp:
    def test_it_is_off_after_any_error(self):
        microscope, _ = instrument(Stripes(FOCUS_UM))
        z = guard(microscope)
        microscope.z._play.drive_to = lambda z_um: False
        with pytest.raises(StageStuckError), lamp_lit(microscope.lamp):
            focus_field(microscope, z, Oracle(FOCUS_UM), 0.0, SETTINGS)
        assert not microscope.lamp.is_on


class TestTrace:
    def test_it_is_json_and_tells_every_exposure(self):
        result, _, _ = focus(pivot_um=20.0, oracle=Oracle(FOCUS_UM, spread_um=[math.nan, 0.2]))
        told = json.loads(json.dumps(result.to_json(), allow_nan=False))
        assert told["verdict"] == result.verdict
        assert len(told["trace"]) == told["images"] == result.images
        assert told["trace"][1]["prediction"]["spread_um"] is None
        assert told["trace"][1]["move"]["kind"] == "retreat"
        assert {"purpose", "target_z_um", "z_um", "prediction", "move", "note"} == set(told["trace"][0])


class WatchedGuard(GuardedZ):
    """A guard that notes the direction of its last move and whether the slack was closed after it."""

    went_up = True

    def _move(self, z_um):
        before_um = self.position_um
        super()._move(z_um)
        if self.position_um != before_um:
            self.went_up = self.position_um > before_um


@settings(max_examples=60, deadline=None)
@given(
    backlash_um=st.floats(0, 25),
    pivot_um=st.floats(-25, 30),
    sigma_um=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 1000),
)
def test_every_frame_comes_after_upward_motion_with_the_slack_closed(backlash_um, pivot_um, sigma_um, seed):
    light = Stripes(FOCUS_UM)
    microscope, _ = instrument(light, backlash_um=backlash_um, error_um=0.17, seed=seed)
    plain = guard(microscope, backlash_um=backlash_um)
    z = WatchedGuard(microscope.z, microscope.clock, plain.approach, plain._limits)
    states = []
    camera_snap = microscope.camera.snap

    def snap():
        frame = camera_snap()
        states.append((z.went_up, z.slack_closed, true_z_um(frame) - microscope.z.position_um))
        return frame

    microscope.camera.snap = snap
    oracle = Oracle(FOCUS_UM, sigma_um=sigma_um, seed=seed)
    result = focus_field(microscope, z, oracle, pivot_um, SETTINGS)
    assert all(went_up and closed for went_up, closed, _ in states)
    assert max(abs(error_um) for *_, error_um in states) <= 0.51  # what arrival errors leave, and no slack
    for first_um, second_um in oracle.pairs:
        assert second_um - first_um == pytest.approx(3.0, abs=1.02)
    assert len(states) == result.images <= 9
    assert result.verdict in ("focused", "unsure")
    if result.verdict == "focused":
        assert abs(true_z_um(result.frame) - FOCUS_UM) <= 0.3 + 0.5 + 4 * sigma_um + 0.5


@settings(max_examples=40, deadline=None)
@given(
    pivot_um=st.floats(-60, 60), lowest_um=st.floats(-60, -35), highest_um=st.floats(0, 60), sigma_um=st.floats(0, 20)
)
def test_no_prediction_drives_the_stage_out_of_its_limits(pivot_um, lowest_um, highest_um, sigma_um):
    microscope, _ = instrument(Stripes(FOCUS_UM))
    z = guard(microscope, lowest_um=lowest_um, highest_um=highest_um)
    visited_um = []
    move_to = microscope.z.move_to
    microscope.z.move_to = lambda z_um: (visited_um.append(z_um), move_to(z_um))
    try:
        focus_field(microscope, z, Oracle(FOCUS_UM, sigma_um=sigma_um), pivot_um, SETTINGS)
    except LimitError:
        assert visited_um == []
    assert all(lowest_um - 1e-6 <= z_um <= highest_um + 1e-6 for z_um in visited_um)


class TestAchievedDelta:
    """The distance of the pair that the network gets, over the backlash of the stage."""

    def achieved_um(self, stage_backlash_um, **guarded):
        microscope, _ = instrument(Stripes(FOCUS_UM), backlash_um=stage_backlash_um)
        frames = []
        camera_snap = microscope.camera.snap
        microscope.camera.snap = lambda: frames.append(camera_snap()) or frames[-1]
        with suppress(StageStuckError):
            focus_field(microscope, guard(microscope, **guarded), Oracle(FOCUS_UM), 0.0, SETTINGS)
        return true_z_um(frames[1]) - true_z_um(frames[0])

    @pytest.mark.parametrize("backlash_um", range(0, 26, 5))
    def test_it_is_the_commanded_one_where_the_take_up_covers_the_backlash(self, backlash_um):
        assert self.achieved_um(backlash_um, backlash_um=backlash_um) == pytest.approx(3.0)

    @pytest.mark.parametrize(
        ("backlash_um", "delta_um"), [(10, 3), (14, 3), (15, 2), (16, 1), (17, 0), (20, 0), (25, 0)]
    )
    def test_with_the_papers_printed_constants_it_falls_to_zero(self, backlash_um, delta_um):
        printed = {"start_below_um": 8.0, "take_up_um": 14.0, "delta_um": 3.0, "enforce": False}
        assert self.achieved_um(backlash_um, backlash_um=20.0, **printed) == pytest.approx(delta_um)

    def test_a_retreat_closes_the_slack_even_then(self):
        oracle = Oracle(FOCUS_UM)
        printed = {"start_below_um": 8.0, "take_up_um": 14.0, "delta_um": 3.0, "enforce": False}
        microscope, _ = instrument(Stripes(FOCUS_UM), backlash_um=16.0, start_um=60.0)
        focus_field(microscope, guard(microscope, **printed), oracle, 20.0, SETTINGS)
        distances_um = [second_um - first_um for first_um, second_um in oracle.pairs]
        assert distances_um == pytest.approx([1.0, 3.0])


class TestReplay:
    """A recorded stack of eleven planes in steps, as geometric frames; Δ is two planes."""

    def focus(self, start, best, **oracle):
        light = Stripes(float(best))
        planes = tuple(np.rint(light.plane(float(z))).astype(np.uint8) for z in range(11))
        stack = RecordedStack("made-up", planes, tuple(map(float, range(11))), "step", best_z=float(best))
        replay = replay_microscope(stack, Objective(20, 0.75), 2.0, start_z=start)
        z = GuardedZ(replay.microscope.z, replay.microscope.clock, replay.approach, replay.limits)
        with lamp_lit(replay.microscope.lamp):
            return focus_field(replay.microscope, z, Oracle(float(best), **oracle), replay.first_um, SETTINGS)

    @pytest.mark.parametrize("best", range(11))
    @pytest.mark.parametrize("start", range(11))
    def test_it_ends_at_the_best_plane_from_every_start(self, start, best):
        result = self.focus(start, best)
        assert (result.verdict, result.z_um) == ("focused", best)

    @pytest.mark.parametrize("start", range(9))
    def test_an_error_below_half_a_plane_costs_at_most_one_plane(self, start):
        for seed in range(5):
            assert abs(self.focus(start, 6, sigma_um=0.4, seed=seed).z_um - 6) <= 1

    def test_a_start_that_leaves_no_pair_is_moved_and_the_trace_says_so(self):
        result = self.focus(10, 9)
        assert result.trace[0].z_um == 8.0
        assert "nearest recorded plane that leaves a pair is at 8.00 µm" in result.trace[0].note

    def test_targets_beyond_the_record_become_its_end_and_the_trace_says_so(self):
        result = self.focus(4, 14)
        assert result.z_um == 10.0
        assert "beyond the record" in result.trace[-1].note

    def test_a_pair_is_not_read_twice(self):
        result = self.focus(0, 0)
        assert moves(result) == ["Accept"]
        assert "no lower pair" in result.reason

    def test_a_record_that_can_only_repeat_itself_leaves_doubt(self):
        result = self.focus(0, 0, spread_um=5.0)
        assert result.verdict == "unsure"
        assert result.z_um == 0.0
