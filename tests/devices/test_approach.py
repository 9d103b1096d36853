import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.devices.approach import ApproachSettings, GuardedZ, GuardLimits, lamp_lit
from parfocal.devices.simulated import SimulatedLamp, SimulatedZStage, VirtualClock, ZSettings
from parfocal.errors import BudgetError, InstrumentError, LimitError, SettingsError

BACKLASH_UM = 20.0


def approach(**changes):
    settings = {"backlash_um": BACKLASH_UM, "start_below_um": 8.0, "take_up_um": 22.0, "delta_um": 3.0}
    return ApproachSettings(**(settings | changes))


def exact_stage(backlash_um=BACKLASH_UM, start_um=0.0):
    clock = VirtualClock()
    settings = ZSettings(backlash_um=backlash_um, error_um=0.0, start_um=start_um)
    return SimulatedZStage(settings, clock, np.random.default_rng(0)), clock


def guarded(stage, clock, settings=None, **limits):
    limits = {"lowest_um": -200.0, "highest_um": 200.0, "travel_budget_um": 1e6} | limits
    return GuardedZ(stage, clock, settings or approach(), GuardLimits(**limits))


class TestApproachSettings:
    def test_a_take_up_below_backlash_plus_margin_is_refused_with_all_that_helps(self):
        with pytest.raises(SettingsError) as error:
            approach(take_up_um=14.0)
        for part in ("take-up", "14 µm", "backlash of 20 µm", "1 µm margin", "take_up_um to at least 21 µm"):
            assert part in str(error.value)

    @given(st.floats(0, 30), st.floats(0, 5), st.floats(0, 40))
    def test_settings_exist_exactly_where_the_take_up_closes_the_slack(self, backlash_um, margin_um, take_up_um):
        if abs(take_up_um - backlash_um - margin_um) < 1e-5:
            return
        if take_up_um > backlash_um + margin_um:
            approach(backlash_um=backlash_um, margin_um=margin_um, take_up_um=take_up_um)
        else:
            with pytest.raises(SettingsError):
                approach(backlash_um=backlash_um, margin_um=margin_um, take_up_um=take_up_um)

    def test_only_the_benchmark_of_the_printed_constants_may_say_no(self):
        assert approach(take_up_um=14.0, enforce=False).take_up_um == 14.0

    @pytest.mark.parametrize("name", ["backlash_um", "margin_um", "start_below_um", "take_up_um", "delta_um"])
    def test_impossible_values_are_refused_by_name(self, name):
        for value in (-1.0, float("nan"), float("inf")):
            with pytest.raises(SettingsError, match=name):
                approach(**{name: value})


class TestGuardLimits:
    def test_limits_without_room_are_refused(self):
        with pytest.raises(SettingsError, match="5 … 5 µm"):
            GuardLimits(lowest_um=5.0, highest_um=5.0)

    @pytest.mark.parametrize("name", ["travel_budget_um", "time_budget_s"])
    def test_an_empty_budget_is_refused(self, name):
        with pytest.raises(SettingsError, match=r"0 (µm|s) is not above"):
            GuardLimits(lowest_um=0, highest_um=1, **{name: 0.0})

    def test_limits_beyond_the_stage_are_refused(self):
        with pytest.raises(SettingsError, match="outside the stage's -500 … 500 µm"):
            guarded(*exact_stage(), lowest_um=600.0, highest_um=700.0)


class TestApproachFromBelow:
    @given(st.lists(st.floats(-100, 100), max_size=8), st.floats(-100, 100), st.floats(0, BACKLASH_UM))
    def test_after_it_every_upward_move_is_the_commanded_one(self, moves_um, target_um, backlash_um):
        stage, clock = exact_stage(backlash_um)
        z = guarded(stage, clock)
        for move_um in moves_um:
            z.move_to(move_um)
        z.approach_from_below(target_um)
        assert z.slack_closed
        assert stage.true_um == pytest.approx(target_um)
        z.move_to(target_um + 3.0)
        assert stage.true_um == pytest.approx(target_um + 3.0)

    @given(st.lists(st.floats(-100, 100), min_size=1, max_size=20))
    def test_slack_called_closed_is_closed(self, moves_um):
        stage, clock = exact_stage()
        z = guarded(stage, clock)
        for move_um in moves_um:
            z.move_to(move_um)
            if z.slack_closed:
                assert stage.true_um == pytest.approx(stage.position_um)

    def test_it_goes_below_by_the_take_up_and_then_only_up(self):
        stops_um = []
        stage, clock = exact_stage()
        z = guarded(stage, clock)
        move_to = stage.move_to
        stage.move_to = lambda z_um: (stops_um.append(z_um), move_to(z_um))
        z.approach_from_below(-8.0)
        assert stops_um == [-30.0, -8.0]

    def test_a_stage_that_fails_on_its_way_down_leaves_the_slack_open(self):
        stage, clock = exact_stage()
        z = guarded(stage, clock)
        z.approach_from_below(0.0)

        def jam(z_um):
            raise InstrumentError("jammed")

        stage.move_to = jam
        with pytest.raises(InstrumentError):
            z.move_to(-10.0)
        assert not z.slack_closed

    def test_it_spares_the_detour_where_the_way_up_closes_the_slack(self):
        stage, clock = exact_stage()
        z = guarded(stage, clock)
        z.move_to(-30.0)
        z.start_field()
        z.approach_from_below(-5.0)
        assert z.travelled_um == pytest.approx(25.0)
        z.approach_from_below(-4.0)
        assert z.travelled_um == pytest.approx(26.0)

    @pytest.mark.parametrize(("target_um", "limit"), [(-190.0, "-212.00 µm"), (201.0, "201.00 µm")])
    def test_near_a_limit_it_is_refused_before_any_motion_and_never_shortened(self, target_um, limit):
        stage, clock = exact_stage()
        z = guarded(stage, clock)
        with pytest.raises(LimitError, match=limit):
            z.approach_from_below(target_um)
        assert stage.position_um == 0.0
        assert clock.now_s == 0.0

    @pytest.mark.parametrize(
        ("backlash_um", "achieved_um"), [(0, 3), (13, 3), (14, 3), (15, 2), (16, 1), (17, 0), (25, 0)]
    )
    def test_with_the_printed_constants_delta_falls_to_zero(self, backlash_um, achieved_um):
        # z0 = pivot − 22, z1 = pivot − 8, Δ = 3 (paper, section 4.3.2)
        stage, clock = exact_stage(backlash_um)
        printed = approach(backlash_um=backlash_um, start_below_um=8.0, take_up_um=14.0, delta_um=3.0, enforce=False)
        z = guarded(stage, clock, printed)
        z.approach_from_below(-8.0)
        first_um = stage.true_um
        z.move_to(-5.0)
        assert stage.true_um - first_um == pytest.approx(achieved_um)


class TestGuard:
    def test_a_move_outside_the_soft_limits_is_refused_before_any_motion(self):
        stage, clock = exact_stage()
        z = guarded(stage, clock, highest_um=50.0)
        with pytest.raises(LimitError, match=r"z 50\.10 µm is outside the limits -200 … 50 µm"):
            z.move_to(50.1)
        assert stage.position_um == 0.0

    def test_the_stages_own_limits_hold_too(self):
        stage, clock = exact_stage()
        z = guarded(stage, clock, lowest_um=-1e4, highest_um=1e4)
        assert (z.lowest_um, z.highest_um) == (-500.0, 500.0)

    @given(st.lists(st.floats(-300, 300), max_size=20))
    def test_the_stage_never_leaves_the_limits(self, moves_um):
        stage, clock = exact_stage()
        z = guarded(stage, clock, lowest_um=-50.0, highest_um=50.0)
        for move_um in moves_um:
            try:
                z.approach_from_below(move_um)
            except LimitError:
                continue
            finally:
                assert -50 <= stage.position_um <= 50

    def test_travel_beyond_the_budget_is_refused_before_any_motion(self):
        stage, clock = exact_stage()
        z = guarded(stage, clock, travel_budget_um=60.0)
        z.move_to(40.0)
        with pytest.raises(BudgetError, match=r"70\.0 µm .* budget of 60 µm"):
            z.move_to(10.0)
        assert stage.position_um == 40.0

    def test_a_new_field_has_its_budget_whole_again(self):
        stage, clock = exact_stage()
        z = guarded(stage, clock, travel_budget_um=60.0)
        z.move_to(40.0)
        z.start_field()
        z.move_to(0.0)
        assert z.travelled_um == 40.0

    def test_no_move_begins_after_the_time_budget(self):
        stage, clock = exact_stage()
        z = guarded(stage, clock, time_budget_s=2.0)
        clock.spend(1.9)
        z.move_to(1.0)
        assert not z.time_is_up
        clock.spend(0.2)
        assert z.time_is_up
        with pytest.raises(BudgetError, match="budget of 2 s"):
            z.move_to(2.0)
        z.start_field()
        z.move_to(2.0)
        assert stage.position_um == 2.0


class TestLampLit:
    def test_the_lamp_is_on_inside_and_off_after(self):
        lamp = SimulatedLamp()
        with lamp_lit(lamp):
            assert lamp.is_on
        assert not lamp.is_on

    @pytest.mark.parametrize("error", [LimitError, KeyboardInterrupt, ZeroDivisionError])
    def test_it_goes_off_on_any_error(self, error):
        lamp = SimulatedLamp()
        with pytest.raises(error), lamp_lit(lamp):
            raise error
        assert not lamp.is_on
