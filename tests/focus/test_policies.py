"""Each way to bring a field into focus: what it exposes, where, which frame it keeps, and how it ends."""

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from geometric import Oracle, Stripes, guard, instrument, true_z_um
from parfocal.devices.approach import ApproachSettings
from parfocal.errors import BudgetError, LimitError, SettingsError, StageStuckError
from parfocal.focus.controller import within_budget
from parfocal.focus.decision import FocusSettings
from parfocal.focus.field import Field, eyes_of
from parfocal.focus.kept import Judgement
from parfocal.focus.policies import PolicyName, Visit, make_policy
from parfocal.focus.surface import Expectation

FOCUS_UM = 4.0
APPROACH = ApproachSettings(backlash_um=20.0, start_below_um=1.5, take_up_um=22.0, delta_um=3.0)
SURE, ASKING, UNSURE = 0.05, 0.5, 5.0
NAMES = get_args(PolicyName)
CHECKED = {"pair-then-keep", "surface", "stack", "parabola", "sweep"}


class Bench:
    """One field of the geometric instrument, focused by a policy."""

    def __init__(
        self,
        name,
        *,
        contrast=100.0,
        image_sd=20.0,
        error_um=0.0,
        settings=None,
        stage_backlash_um=20.0,
        specimen=None,
        **limits,
    ):
        specimen = specimen or Stripes(FOCUS_UM, contrast)
        self.microscope, self.truth = instrument(specimen, backlash_um=stage_backlash_um)
        self.depth_um = self.microscope.depth_of_field_um
        self.policy = make_policy(name, APPROACH, settings or FocusSettings(), self.depth_um)
        plain = guard(self.microscope, **limits)
        self.z = type(plain)(self.microscope.z, self.microscope.clock, self.policy.approach, plain._limits)
        self.oracle = Oracle(FOCUS_UM + error_um, image_sd=image_sd)
        eyes = eyes_of(self.microscope, self.oracle)
        self.field = Field(self.microscope, self.z, eyes, self.policy.focus_settings)
        self.frames_um = []
        snap = self.microscope.camera.snap

        def noted():
            frame = snap()
            self.frames_um.append(true_z_um(frame))
            return frame

        self.microscope.camera.snap = noted

    def focus(self, expected_um=FOCUS_UM, sd_um=SURE, **visit):
        visit = Visit(Expectation(expected_um, sd_um), visit.pop("last_um", expected_um), **visit)
        self.z.start_field()
        return within_budget(self.field, lambda: self.policy.focus(self.field, visit))


class Bending(Stripes):
    """Stripes whose Tenengrad falls as 1 / (1 + bend·d²)."""

    def __init__(self, focus_um, bend):
        super().__init__(focus_um)
        self.bend = bend

    def plane(self, z_um, channels=(0, 1, 2), shift_px=(0.0, 0.0)):
        defocus_um = z_um - self.focus_um
        self.contrast = (1 + abs(defocus_um) / 4) * 100.0 / math.sqrt(1 + self.bend * defocus_um**2)
        return super().plane(z_um, channels, shift_px)


def purposes(result):
    return [step.purpose for step in result.trace]


def judged(out_of_focus, compared=2):
    """Neighbours that say so of whatever they are asked about; `asked` holds where it was taken."""

    def judge(shot):
        judge.asked.append(shot.z_um)
        return Judgement(0.0, 0.2, out_of_focus, compared)

    judge.asked = []
    return judge


class TestAll:
    @pytest.mark.parametrize("name", NAMES)
    def test_it_has_its_name_and_says_whether_neighbours_check_it(self, name):
        policy = Bench(name).policy
        assert policy.name == name
        assert policy.is_checked == (name in CHECKED)

    def test_an_unknown_name_is_refused_with_the_known_ones(self):
        with pytest.raises(SettingsError, match="unknown policy 'luck': choose one of paper, paper-as-printed"):
            make_policy("luck", APPROACH, FocusSettings(), 1.8)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("sd_um", [SURE, ASKING, UNSURE])
    @pytest.mark.parametrize("measure", [False, True])
    def test_the_first_image_is_where_it_says(self, name, sd_um, measure):
        bench = Bench(name, stage_backlash_um=14.0 if name == "paper-as-printed" else 20.0)
        visit = Visit(Expectation(3.3, sd_um), 1.1, judged(0.0), measure)
        result = bench.focus(3.3, sd_um, last_um=1.1, judge=judged(0.0), measure=measure)
        assert result.trace[0].z_um == pytest.approx(bench.policy.first_um(visit))
        assert bench.frames_um[0] == pytest.approx(bench.policy.first_um(visit), abs=0.011)

    @pytest.mark.parametrize("name", [name for name in NAMES if name != "paper-as-printed"])
    @pytest.mark.parametrize("off_um", [-2.5, -1.2, -0.3, 0.4, 1.4, 2.5])
    def test_from_near_the_focus_it_keeps_a_frame_in_focus(self, name, off_um):
        bench = Bench(name)
        result = bench.focus(FOCUS_UM + off_um, sd_um=UNSURE, judge=judged(0.9))
        assert result.verdict == "focused"
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM, abs=bench.depth_um / 2)
        assert true_z_um(result.frame) == pytest.approx(result.z_um, abs=0.011)
        assert result.images == len(result.trace) == len(bench.frames_um)

    @pytest.mark.parametrize("name", NAMES)
    def test_every_exposure_comes_after_upward_motion_with_the_slack_closed(self, name):
        bench = Bench(name, stage_backlash_um=14.0 if name == "paper-as-printed" else 20.0)
        result = bench.focus(FOCUS_UM + 1.0, sd_um=UNSURE, judge=judged(0.9))
        assert bench.frames_um == pytest.approx([step.z_um for step in result.trace], abs=0.011)

    @pytest.mark.parametrize("name", NAMES)
    def test_what_it_measured_is_told_with_its_deviation(self, name):
        result = Bench(name, stage_backlash_um=0.0).focus(FOCUS_UM - 0.5, sd_um=UNSURE)
        assert result.focus_um == pytest.approx(FOCUS_UM, abs=0.3)
        assert 0 <= result.focus_sd_um < 0.6

    @pytest.mark.parametrize("name", ["surface", "stack", "parabola", "sweep"])
    def test_it_raises_where_not_even_the_first_image_can_be_taken(self, name):
        for limits, error in (({"lowest_um": -15.0}, LimitError), ({"travel_budget_um": 9.0}, BudgetError)):
            bench = Bench(name, **limits)
            with pytest.raises(error, match="µm"):
                bench.focus(FOCUS_UM, sd_um=UNSURE)
            assert bench.frames_um == []
            assert bench.microscope.z.position_um == 0.0

    @pytest.mark.parametrize("name", NAMES)
    def test_a_limit_in_its_way_fails_the_field_and_keeps_a_frame(self, name):
        bench = Bench(name, highest_um=lowest_image_um(name) + 2.0, stage_backlash_um=0.0)
        result = bench.focus(FOCUS_UM, sd_um=UNSURE)
        assert result.verdict == "failed"
        assert "outside the limits" in result.reason
        assert len(bench.frames_um) == result.images > 0
        assert bench.microscope.z.position_um <= lowest_image_um(name) + 2.0

    @pytest.mark.parametrize("name", NAMES)
    def test_a_budget_used_up_leaves_the_field_unsure_with_its_sharpest_frame(self, name):
        take_up_um, first_um = Bench(name).policy.approach.take_up_um, lowest_image_um(name)
        budget_um = abs(first_um - take_up_um) + take_up_um + 1.0
        bench = Bench(name, travel_budget_um=budget_um, stage_backlash_um=0.0)
        result = bench.focus(FOCUS_UM, sd_um=UNSURE)
        assert result.verdict == "unsure"
        assert "budget" in result.reason
        nearest_um = min(bench.frames_um, key=lambda z_um: abs(z_um - FOCUS_UM))
        assert true_z_um(result.frame) == pytest.approx(nearest_um)
        assert bench.z.travelled_um <= budget_um


def lowest_image_um(name):
    """Where the first image of a field is taken whose focus is expected at FOCUS_UM, and unsure."""
    return Bench(name).policy.first_um(Visit(Expectation(FOCUS_UM, UNSURE), FOCUS_UM))


class TestPaper:
    @pytest.mark.parametrize(
        ("off_um", "exposed"),
        [
            (0.0, ["first", "second", "kept"]),
            (4.9, ["first", "second"]),  # the second image lies 0.1 µm from the focus
            (7.0, ["first", "second", "first", "second", "kept"]),  # focus below the pair: a retreat
        ],
    )
    def test_a_pair_below_the_field_before_a_move_and_a_third_image(self, off_um, exposed):
        result = Bench("paper").focus(expected_um=99.0, last_um=FOCUS_UM + off_um)
        assert purposes(result) == exposed
        assert result.trace[0].z_um == pytest.approx(FOCUS_UM + off_um - 8.0)
        assert result.trace[1].z_um == pytest.approx(result.trace[0].z_um + 3.0)
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM, abs=0.31)

    def test_a_wrong_prediction_is_not_noticed(self):
        result = Bench("paper", error_um=1.0).focus()
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM + 1.0)

    def test_an_empty_field_takes_a_pair_and_the_pivots_z(self):
        result = Bench("paper", image_sd=1.0).focus()
        assert (result.verdict, result.images, result.z_um) == ("empty", 3, FOCUS_UM)


class TestPaperAsPrinted:
    def test_at_20_um_of_backlash_it_has_no_delta(self):
        bench = Bench("paper-as-printed")
        result = bench.focus()
        assert bench.frames_um[1] == bench.frames_um[0]
        assert purposes(result)[:3] == ["first", "second", "third"]

    def test_coming_from_far_above_it_says_that_the_stage_did_not_move(self):
        bench = Bench("paper-as-printed")
        with pytest.raises(StageStuckError, match="did not move"):
            bench.focus(last_um=FOCUS_UM - 44.0)
        assert len(set(bench.frames_um)) == 1

    @pytest.mark.parametrize(("backlash_um", "delta_um"), [(0.0, 3.0), (14.0, 3.0), (15.0, 2.0), (16.0, 1.0)])
    def test_its_delta_is_what_the_take_up_leaves(self, backlash_um, delta_um):
        bench = Bench("paper-as-printed", stage_backlash_um=backlash_um)
        bench.focus()
        assert bench.frames_um[1] - bench.frames_um[0] == pytest.approx(delta_um)

    def test_the_same_distances_are_refused_elsewhere(self):
        with pytest.raises(SettingsError, match="take-up"):
            replace(Bench("paper-as-printed").policy.approach, enforce=True)


class TestPairThenKeep:
    @pytest.mark.parametrize(
        ("off_um", "exposed"),
        [
            (0.0, ["first", "second"]),
            (0.25, ["first", "second"]),
            (-2.0, ["first", "second", "kept"]),  # above: on
            (2.0, ["first", "second", "kept"]),  # between the two images: back to it
        ],
    )
    def test_the_second_image_is_where_the_focus_is_expected_and_is_kept_if_it_is_there(self, off_um, exposed):
        result = Bench("pair-then-keep").focus(FOCUS_UM + off_um)
        assert purposes(result) == exposed
        assert result.trace[1].z_um == pytest.approx(FOCUS_UM + off_um)
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM, abs=0.31)

    def test_an_empty_field_costs_no_image_more(self):
        result = Bench("pair-then-keep", image_sd=1.0).focus()
        assert (result.verdict, result.images) == ("empty", 2)


class TestSurface:
    def test_where_the_surface_is_sure_one_image_is_taken_and_nobody_asked_for_a_pair(self):
        judge = judged(0.9)
        result = Bench("surface").focus(FOCUS_UM + 0.2, sd_um=SURE, judge=judge)
        assert (result.verdict, result.images) == ("focused", 1)
        assert purposes(result) == ["single"]
        assert judge.asked == []
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM + 0.2, abs=0.011)
        assert result.focus_um is None
        assert result.focus_sd_um is None

    def test_where_it_is_less_sure_one_image_is_kept_if_the_neighbours_agree(self):
        judge = judged(0.02)
        result = Bench("surface").focus(sd_um=ASKING, judge=judge)
        assert (result.verdict, result.images) == ("focused", 1)
        assert judge.asked == [FOCUS_UM]
        assert "as sharp as 2 neighbours" in result.reason

    @pytest.mark.parametrize("judge", [judged(0.5), judged(0.0, compared=0)])
    def test_where_they_do_not_the_image_is_the_first_of_a_pair(self, judge):
        result = Bench("surface").focus(FOCUS_UM - 1.5, sd_um=ASKING, judge=judge)
        assert purposes(result) == ["single", "second", "kept"]
        assert "neighbour" in result.trace[0].note
        assert result.verdict == "focused"

    def test_the_pair_is_checked_by_sharpness(self):
        result = Bench("surface", error_um=1.0).focus(FOCUS_UM + 1.5, sd_um=UNSURE)
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM, abs=0.26)
        assert result.bend_per_um2 > 0

    @pytest.mark.parametrize("visit", [{"sd_um": UNSURE, "judge": judged(0.0)}, {"sd_um": ASKING, "judge": None}])
    def test_where_nobody_knows_a_pair_is_taken(self, visit):
        assert purposes(Bench("surface").focus(**visit))[:2] == ["first", "second"]

    def test_where_it_must_be_measured_it_is_however_sure_the_surface(self):
        judge = judged(0.0)
        result = Bench("surface").focus(sd_um=SURE, judge=judge, measure=True)
        assert purposes(result)[:2] == ["first", "second"]
        assert judge.asked == []
        assert result.focus_um is not None

    @pytest.mark.parametrize("sd_um", [SURE, ASKING])
    def test_an_empty_field_ends_after_the_first_image(self, sd_um):
        judge = judged(0.0)
        result = Bench("surface", image_sd=1.0).focus(sd_um=sd_um, judge=judge)
        assert (result.verdict, result.images) == ("empty", 1)
        assert "below the empty level" in result.reason
        assert judge.asked == []

    def test_asking_the_neighbours_costs_a_decision_on_the_clock_and_one_image_alone_none(self):
        times_s = []
        for sd_um in (SURE, ASKING):
            bench = Bench("surface")
            bench.focus(sd_um=sd_um, judge=judged(0.0))
            times_s.append(bench.microscope.clock.now_s)
        assert times_s[1] - times_s[0] == pytest.approx(0.015)

    def test_it_relies_on_a_share_of_the_depth_of_field(self):
        for share, images in ((0.02, 2), (0.1, 1)):
            policy = make_policy("surface", APPROACH, FocusSettings(), 2.0, share)
            taken = policy.first_um(Visit(Expectation(0.0, 0.1), 0.0))
            assert taken == (0.0 if images == 1 else -1.5)


class TestSurfaceByBend:
    """Once a few focus curves of the slide are known, two images tell how far their peak is."""

    BEND = 0.12

    def focus(self, off_um, sd_um=ASKING, **visit):
        bench = Bench("surface", specimen=Bending(FOCUS_UM, self.BEND))
        return bench, bench.focus(FOCUS_UM + off_um, sd_um=sd_um, bend_per_um2=self.BEND, **visit)

    def test_it_learns_the_bend_from_a_field_that_it_measured(self):
        bench = Bench("surface", specimen=Bending(FOCUS_UM, self.BEND))
        assert bench.focus(FOCUS_UM + 0.5, sd_um=UNSURE).bend_per_um2 == pytest.approx(self.BEND, rel=0.15)

    @pytest.mark.parametrize("off_um", [-0.3, 0.0, 0.3])
    def test_two_images_around_the_expectation_and_the_nearer_one_is_kept(self, off_um):
        bench, result = self.focus(off_um)
        assert purposes(result) == ["first", "second"]
        assert result.trace[0].z_um < FOCUS_UM + off_um < result.trace[1].z_um
        assert result.trace[1].z_um - result.trace[0].z_um == pytest.approx(bench.depth_um / 2)
        assert abs(true_z_um(result.frame) - FOCUS_UM) == pytest.approx(min(abs(np.array(bench.frames_um) - FOCUS_UM)))
        assert result.focus_um == pytest.approx(FOCUS_UM, abs=0.25)

    @pytest.mark.parametrize("off_um", [-2.0, -1.4, 1.4, 2.0])
    def test_where_both_are_off_a_third_goes_to_the_peak(self, off_um):
        bench, result = self.focus(off_um)
        assert purposes(result)[:3] == ["first", "second", "kept"]
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM, abs=bench.depth_um / 2)

    def test_a_single_image_that_its_neighbours_refuse_is_the_first_of_the_two(self):
        _, result = self.focus(-0.4, sd_um=0.25, judge=judged(0.5))
        assert purposes(result) == ["single", "second"]

    def test_an_image_is_not_tried_where_it_would_mostly_be_refused(self):
        judge = judged(0.0)
        _, result = self.focus(0.0, judge=judge)
        assert purposes(result) == ["first", "second"]
        assert judge.asked == []

    @pytest.mark.parametrize("visit", [{"bend_per_um2": None}, {"sd_um": UNSURE}])
    def test_before_the_bend_is_known_or_far_from_the_focus_the_network_is_asked(self, visit):
        known = {"sd_um": ASKING, "bend_per_um2": self.BEND} | visit
        result = Bench("surface").focus(FOCUS_UM, **known)
        assert result.trace[1].z_um - result.trace[0].z_um == pytest.approx(APPROACH.delta_um)

    def test_where_sharpness_does_not_find_the_peak_the_network_is_asked(self):
        bench = Bench(
            "surface", specimen=Bending(FOCUS_UM, 2.0)
        )  # falls in a way that the slide's bend does not explain
        result = bench.focus(FOCUS_UM + 3.0, sd_um=ASKING, bend_per_um2=0.02)
        assert any("does not tell" in step.note for step in result.trace)
        assert any(step.prediction is not None for step in result.trace)
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM, abs=0.31)


class TestStack:
    def test_planes_half_the_depth_of_field_apart_and_the_sharpest_kept(self):
        bench = Bench("stack")
        result = bench.focus(FOCUS_UM + 1.0)
        planes = [step.z_um for step in result.trace if step.purpose == "plane"]
        assert planes[0] == pytest.approx(FOCUS_UM + 1.0 - 9.0)
        assert planes[1] - planes[0] == pytest.approx(bench.depth_um / 2)
        assert planes[-1] <= FOCUS_UM + 1.0 + 9.0 < planes[-1] + bench.depth_um / 2 + 1e-9
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM, abs=bench.depth_um / 4 + 0.05)

    @pytest.mark.parametrize(("off_um", "end"), [(-12.0, "upper"), (12.0, "lower")])
    def test_a_focus_beyond_its_ends_leaves_doubt(self, off_um, end):
        result = Bench("stack").focus(FOCUS_UM + off_um)
        assert result.verdict == "unsure"
        assert f"{end} end" in result.reason

    def test_an_empty_field_is_seen_at_the_end(self):
        assert Bench("stack", image_sd=1.0).focus().verdict == "empty"


class TestParabola:
    @pytest.mark.parametrize(("off_um", "planes"), [(0.0, 3), (0.6, 3), (-0.6, 3), (2.4, 4), (-2.4, 4), (3.6, 5)])
    def test_three_images_tell_and_one_more_each_where_the_peak_lies_outside(self, off_um, planes):
        result = Bench("parabola").focus(FOCUS_UM + off_um)
        assert result.verdict == "focused"
        assert purposes(result).count("plane") == planes
        assert result.images <= planes + 1
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM, abs=0.5)

    def test_a_peak_that_is_not_found_leaves_doubt(self):
        result = Bench("parabola").focus(FOCUS_UM + 15.0)
        assert result.verdict == "unsure"
        assert "no peak in 4 parabolas" in result.reason

    def test_an_empty_field_ends_after_three_images(self):
        result = Bench("parabola", image_sd=1.0).focus()
        assert (result.verdict, result.images) == ("empty", 3)


class TestSweep:
    def test_it_rises_until_the_picture_has_got_worse_and_goes_back(self):
        result = Bench("sweep").focus(FOCUS_UM)
        planes = [step.z_um for step in result.trace if step.purpose == "plane"]
        assert planes[0] == pytest.approx(FOCUS_UM - 12.0)
        assert planes == sorted(planes)
        assert FOCUS_UM + 2.9 <= planes[-1] <= FOCUS_UM + 4.6
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM, abs=0.31)

    @pytest.mark.parametrize("off_um", [-14.0, 14.0])
    def test_a_focus_beyond_its_reach_leaves_doubt(self, off_um):
        assert Bench("sweep").focus(FOCUS_UM + off_um).verdict == "unsure"


class TestABlackFrame:
    """A camera that returns a black frame once in a while."""

    def focus(self, black, **visit):
        """Focus by the surface; the frame of that number, from 1, is black."""
        bench = Bench("surface")
        snap = bench.microscope.camera.snap

        def sometimes_black():
            frame = snap()
            return np.zeros_like(frame) if len(bench.frames_um) == black else frame

        bench.microscope.camera.snap = sometimes_black
        return bench.focus(FOCUS_UM - 2.5, sd_um=UNSURE, **visit)

    def test_without_one_the_third_image_is_kept(self):
        result = self.focus(black=0)
        assert purposes(result) == ["first", "second", "kept", "flank"]
        assert result.frame.any()

    def test_as_a_flank_it_does_not_spoil_the_frame_that_is_kept(self):
        result = self.focus(black=4)
        assert result.verdict == "focused"
        assert true_z_um(result.frame) == pytest.approx(FOCUS_UM, abs=0.3)

    def test_it_is_not_kept_as_a_focused_one(self):
        result = self.focus(black=3)
        assert result.verdict != "focused" or result.frame.any()
