"""Faults strike when they are told to and do what their name says; where one never strikes, the device is sound."""

import math

import numpy as np
import pytest
from contract import CameraContract, LampContract, XYContract, ZContract

from geometric import Noisy, Stripes, instrument
from parfocal.devices.faulty import FaultyCamera, FaultyLamp, FaultyXY, FaultyZ, When
from parfocal.devices.simulated import SimulatedLamp
from parfocal.errors import DisconnectedError, InstrumentError, LimitError, SettingsError

NEVER = When(call=10**9)
FIRST = When()


@pytest.fixture
def bare():
    return instrument(Stripes(0.0), backlash_um=0.0)[0]


def no_wait(duration_s):
    pass


class TestACameraBeforeItsFault(CameraContract):
    @pytest.fixture
    def camera(self):
        return FaultyCamera(Noisy(), "black", NEVER, no_wait)


class TestAnXYStageBeforeItsFault(XYContract):
    @pytest.fixture
    def xy(self, bare):
        return FaultyXY(bare.xy, "short", NEVER, no_wait)

    @pytest.fixture
    def xy_places(self):
        return [(0.0, 0.0), (100.0, -50.0), (-30.0, 20.0)]


class TestAZStageBeforeItsFault(ZContract):
    @pytest.fixture
    def z(self, bare):
        return FaultyZ(bare.z, "short", NEVER, no_wait)

    @pytest.fixture
    def z_places(self):
        return [0.0, 1.5, -30.0]


class TestALampBeforeItsFault(LampContract):
    @pytest.fixture
    def lamp(self):
        return FaultyLamp(SimulatedLamp(), "drop", NEVER, no_wait)


class TestWhen:
    @staticmethod
    def struck(when, calls=1000):
        lamp = FaultyLamp(SimulatedLamp(), "raise", when, no_wait)
        return [call for call in range(calls) if raises(lamp.on)]

    def test_at_the_nth_call(self):
        assert self.struck(When(call=3)) == [3]

    def test_several_times_in_a_row(self):
        assert self.struck(When(call=3, times=2)) == [3, 4]

    def test_from_a_call_on(self):
        assert self.struck(When(call=997, times=math.inf)) == [997, 998, 999]

    def test_at_random_by_a_seed(self):
        one = self.struck(When(chance=0.1, seed=1))
        assert one == self.struck(When(chance=0.1, seed=1))
        assert one != self.struck(When(chance=0.1, seed=2))
        assert 60 <= len(one) <= 140

    @pytest.mark.parametrize("wrong", [{"call": -1}, {"times": 0}, {"chance": 0.0}, {"chance": 1.5}])
    def test_what_never_strikes_is_refused(self, wrong):
        with pytest.raises(SettingsError):
            When(**wrong)


def raises(action):
    try:
        action()
    except InstrumentError:
        return True
    return False


class TestTheLine:
    def test_a_device_that_dropped_off_is_gone_until_it_is_opened_again(self):
        lamp = FaultyLamp(SimulatedLamp(), "disconnect", FIRST, no_wait)
        for _ in range(2):
            with pytest.raises(DisconnectedError):
                lamp.on()
        lamp.reopen().on()
        assert lamp.is_on

    def test_one_that_is_gone_cannot_be(self):
        lamp = FaultyLamp(SimulatedLamp(), "gone", FIRST, no_wait)
        with pytest.raises(DisconnectedError, match="no such device"):
            lamp.reopen()

    @pytest.mark.parametrize(("kind", "least_s", "most_s"), [("delay", 1.0, 4.9), ("hang", 61.0, math.inf)])
    def test_a_call_takes_its_time(self, kind, least_s, most_s):
        waited = []
        lamp = FaultyLamp(SimulatedLamp(), kind, FIRST, waited.append)
        lamp.on()
        lamp.off()
        assert len(waited) == 1
        assert least_s <= waited[0] <= most_s
        assert not lamp.is_on


class TestFrames:
    @staticmethod
    def spoilt(kind):
        """A frame, and the spoilt one after it."""
        camera = FaultyCamera(Noisy(), kind, When(call=1), no_wait)
        first = camera.snap().copy()
        return first, camera.snap()

    def test_repeat(self):
        first, second = self.spoilt("repeat")
        assert np.array_equal(first, second)

    @pytest.mark.parametrize(("kind", "value"), [("black", 0), ("saturated", 255)])
    def test_all_over(self, kind, value):
        assert (self.spoilt(kind)[1] == value).all()

    def test_cut(self):
        frame = self.spoilt("cut")[1]
        assert frame[:8].all()
        assert not frame[8:].any()

    def test_torn(self):
        first, second = self.spoilt("torn")
        assert not np.array_equal(first[:8], second[:8])
        assert np.array_equal(first[8:], second[8:])

    def test_wrong_shape_and_type(self):
        assert self.spoilt("wrong-shape")[1].shape == (8, 16, 3)
        assert self.spoilt("wrong-type")[1].dtype == np.uint16

    def test_stripes(self):
        frame = self.spoilt("stripes")[1]
        assert frame[::2].std() > 50
        assert frame[1::2].std() < 5


class TestStages:
    """Sent to +30 µm from +10, then to +50: where z truly is, and what it says, after each."""

    @pytest.mark.parametrize(
        ("kind", "true_um", "says_um"),
        [
            ("drop", (10.0, 50.0), (10.0, 50.0)),
            ("twice", (30.0, 50.0), (30.0, 50.0)),
            ("stuck", (10.0, 30.0), (30.0, 50.0)),
            ("short", (25.0, 45.0), (30.0, 50.0)),
            ("overshoot", (35.0, 55.0), (30.0, 50.0)),
            ("backwards", (-10.0, 10.0), (30.0, 50.0)),
            ("nowhere", (30.0, 50.0), (math.nan, 50.0)),
        ],
    )
    def test_what_is_true_and_what_is_said(self, bare, kind, true_um, says_um):
        z = FaultyZ(bare.z, kind, When(call=1), no_wait)
        z.move_to(10.0)
        for target_um, true, says in zip((30.0, 50.0), true_um, says_um, strict=True):
            z.move_to(target_um)
            assert bare.z.true_um == pytest.approx(true)
            assert z.position_um == pytest.approx(says, nan_ok=True)
        assert z.sent_um == [(10.0,), (30.0,), (50.0,)]

    def test_after_a_reset_it_counts_from_where_it_is(self, bare):
        xy = FaultyXY(bare.xy, "reset", When(call=1), no_wait)
        xy.move_to(100.0, 50.0)
        with pytest.raises(DisconnectedError):
            xy.move_to(200.0, 50.0)
        assert xy.reopen().position_um == (0.0, 0.0)
        xy.move_to(10.0, 0.0)
        assert bare.xy.position_um == (110.0, 50.0)

    def test_a_fault_does_not_carry_it_beyond_its_end_stops(self, bare):
        z = FaultyZ(bare.z, "overshoot", FIRST, no_wait, lost_um=50.0)
        z.move_to(z.limits_um[1])
        assert bare.z.position_um == z.limits_um[1]
        assert z.driven_um == [(z.limits_um[1] + 50.0,)]

    def test_limits_hold_as_for_a_sound_one(self, bare):
        z = FaultyZ(bare.z, "backwards", FIRST, no_wait)
        with pytest.raises(LimitError):
            z.move_to(1000.0)
        assert z.sent_um == [(1000.0,)]
        assert not z.driven_um


class TestLamps:
    @pytest.mark.parametrize(("kind", "is_lit", "says"), [("drop", False, False), ("opposite", False, False)])
    def test_an_order_that_is_not_carried_out(self, kind, is_lit, says):
        bare = SimulatedLamp()
        lamp = FaultyLamp(bare, kind, FIRST, no_wait)
        lamp.on()
        assert (bare.is_on, lamp.is_on) == (is_lit, says)

    def test_one_that_goes_out_by_itself_still_says_that_it_is_lit(self):
        bare = SimulatedLamp()
        lamp = FaultyLamp(bare, "goes-out", FIRST, no_wait)
        lamp.on()
        assert (bare.is_on, lamp.is_on) == (False, True)
        lamp.off()
        assert not lamp.is_on
