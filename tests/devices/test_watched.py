"""Devices under watch keep every promise, and more: what they return was looked at."""

from dataclasses import replace

import numpy as np
import pytest
from contract import CameraContract, LampContract, XYContract, ZContract

from geometric import SHAPE, Noisy, Stripes, instrument
from parfocal.devices.base import Homing, RecordedZ
from parfocal.devices.line import Line
from parfocal.devices.replay import replay_microscope
from parfocal.devices.simulated import SimulatedLamp, VirtualClock
from parfocal.devices.wall_clock import WallClock
from parfocal.devices.watched import Reopening, WatchedCamera, WatchedLamp, watched
from parfocal.errors import DisconnectedError, InstrumentError
from parfocal.optics.objective import Objective
from parfocal.stacks.recorded import RecordedStack


@pytest.fixture(params=["wall", "modelled"])
def microscope(request):
    bare, _ = instrument(Stripes(0.0))
    bare = replace(bare, camera=Noisy(), clock=WallClock() if request.param == "wall" else bare.clock)
    return watched(bare)


class TestWatchedCamera(CameraContract):
    @pytest.fixture
    def camera(self, microscope):
        microscope.lamp.on()
        return microscope.camera


class TestWatchedXY(XYContract):
    @pytest.fixture
    def xy(self, microscope):
        return microscope.xy

    @pytest.fixture
    def xy_places(self):
        return [(0.0, 0.0), (100.0, -50.0), (-30.0, 20.0)]


class TestWatchedZ(ZContract):
    @pytest.fixture
    def z(self, microscope):
        return microscope.z

    @pytest.fixture
    def z_places(self):
        return [0.0, 1.5, -30.0]


class TestWatchedLamp(LampContract):
    @pytest.fixture
    def lamp(self, microscope):
        return microscope.lamp


class Played:
    """A camera that returns these frames."""

    frame_shape = SHAPE
    pixel_size_um = 0.345

    def __init__(self, *frames):
        self._frames = list(frames)

    def snap(self):
        return self._frames.pop(0)


def grey(value=100, shape=(*SHAPE, 3), dtype=np.uint8):
    return np.full(shape, value, dtype=dtype)


def torn():
    frame = grey()
    frame[10:] = 0
    return frame


def playing(*frames, is_lit=True, differs=True):
    return WatchedCamera(Line("camera", Played(*frames), VirtualClock()), 10.0, lambda: is_lit, differs=differs)


class TestFrames:
    @pytest.mark.parametrize(
        "bad",
        [grey(0), torn(), grey(255), grey(shape=(8, 16, 3)), grey(shape=SHAPE), grey(dtype=np.uint16)],
        ids=["black", "torn", "saturated", "shape", "grey", "type"],
    )
    def test_one_that_cannot_be_is_taken_again(self, bad):
        good = grey()
        assert playing(bad, good).snap() is good

    def test_the_same_once_more_is_taken_again(self):
        first, second = grey(100), grey(101)
        camera = playing(first, first.copy(), second)
        assert camera.snap() is first
        assert camera.snap() is second

    def test_unless_there_is_no_noise_to_make_them_differ(self):
        same = grey()
        camera = playing(same, same, differs=False)
        assert camera.snap() is same
        assert camera.snap() is same

    def test_in_the_dark_a_black_frame_is_as_it_should_be(self):
        dark = grey(0)
        assert playing(dark, is_lit=False).snap() is dark

    def test_a_camera_that_gives_no_other_ends_in_an_error_that_says_what_came(self):
        with pytest.raises(InstrumentError, match="snap failed 3 times: a frame came with rows that are black"):
            playing(*[grey(0)] * 3).snap()


class TestStages:
    @pytest.fixture
    def bare(self):
        return instrument(Stripes(0.0))[0]

    def test_one_that_says_it_stands_elsewhere_is_sent_again(self, bare):
        sent, move_to = [], bare.z.move_to

        def swallowing(z_um):
            sent.append(z_um)
            if len(sent) > 1:
                move_to(z_um)

        bare.z.move_to = swallowing
        z = watched(bare).z
        z.move_to(30.0)
        assert sent == [30.0, 30.0]
        assert z.position_um == 30.0

    def test_and_in_the_end_given_up(self, bare):
        bare.xy.move_to = lambda x_um, y_um: None
        with pytest.raises(InstrumentError, match=r"stands 40\.0 µm from where it was sent, more than 20 µm"):
            watched(bare).xy.move_to(40.0, 0.0)

    def test_a_recorded_stage_still_says_what_only_a_record_can_say(self):
        planes = tuple(np.full((16, 24, 3), 40 + 10 * index, dtype=np.uint8) for index in range(11))
        stack = RecordedStack("made-up", planes, tuple(float(z) for z in range(11)), "step")
        microscope = watched(replay_microscope(stack, Objective(20, 0.75), 2.0).microscope)
        assert isinstance(microscope.z, RecordedZ)
        assert microscope.z.nearest_um(3.4) == 3.0
        assert microscope.z.nearest_pair_um(4.0, 2.0) == (4.0, 6.0)
        assert not isinstance(watched(instrument(Stripes(0.0))[0]).z, RecordedZ)


class TestHoming:
    """A stage that can find its zero does not lose that under watch; afterwards it is believed, whatever was known."""

    @pytest.mark.parametrize("axis", ["xy", "z"])
    def test_is_passed_on_and_what_the_stage_then_says_is_true(self, axis):
        bare, _ = instrument(Stripes(0.0))
        bare.z.move_to(30.0)
        bare.xy.move_to(30.0, 30.0)
        stage = getattr(bare, axis)
        assert not isinstance(getattr(watched(bare), axis), Homing)
        stage.home = lambda: stage.move_to(0.0, 0.0) if axis == "xy" else stage.move_to(0.0)
        seen = getattr(watched(bare), axis)
        assert isinstance(seen, Homing)
        seen.home()
        assert np.all(np.array(seen.position_um) == 0.0)

    def test_one_that_does_not_find_it_is_an_error(self):
        bare, _ = instrument(Stripes(0.0))

        def home():
            raise InstrumentError("no switch was found")

        bare.z.home = home
        with pytest.raises(InstrumentError, match="z stage: homing failed 3 times: no switch was found"):
            watched(bare).z.home()


class Dropping:
    """A stage that drops off once, at a move; `says_um` is what it says of its place afterwards."""

    def __init__(self, stage, says_um):
        self._stage = stage
        self._says_um = says_um

    limits_um = property(lambda self: self._stage.limits_um)
    position_um = property(lambda self: self._stage.position_um if self._says_um is None else self._says_um)

    def move_to(self, *target_um):
        if self._says_um is None:
            raise DisconnectedError("unplugged")
        self._says_um = None
        self._stage.move_to(*target_um)


class TestAStageThatDroppedOff:
    @staticmethod
    def moved(says_um):
        bare, _ = instrument(Stripes(0.0))
        bare.z.move_to(10.0)
        stage = Dropping(bare.z, None)
        z = watched(replace(bare, z=stage), reopening=Reopening(z=lambda: Dropping(bare.z, says_um))).z
        z.move_to(40.0)
        return bare.z.position_um

    @pytest.mark.parametrize("says_um", [10.0, 25.0, 40.0])
    def test_goes_on_if_it_knows_its_place(self, says_um):
        assert self.moved(says_um) == 40.0

    @pytest.mark.parametrize("says_um", [0.0, -200.0, 55.0])
    def test_stops_the_scan_if_it_does_not(self, says_um):
        with pytest.raises(DisconnectedError, match=r"no longer knows its place: it was sent to \(40\.00\) µm"):
            self.moved(says_um)


class TestLamp:
    def test_whoever_listens_hears_of_light_before_it_is_there_and_of_darkness_after(self):
        seen, bare = [], SimulatedLamp()
        lamp = WatchedLamp(Line("lamp", bare, VirtualClock()), 5.0, lambda is_lit: seen.append((is_lit, bare.is_on)))
        lamp.on()
        lamp.off()
        assert seen == [(True, False), (False, False)]

    @pytest.mark.parametrize(("order", "stays"), [("on", "dark"), ("off", "lit")])
    def test_one_that_disobeys_is_an_error(self, order, stays):
        bare = SimulatedLamp()
        bare._is_on = order == "off"
        bare.on = bare.off = lambda: None
        with pytest.raises(InstrumentError, match=f"the lamp stays {stays}"):
            getattr(WatchedLamp(Line("lamp", bare, VirtualClock()), 5.0), order)()

    def test_darkness_is_not_told_of_a_lamp_that_stays_lit(self):
        told, bare = [], SimulatedLamp()
        lamp = WatchedLamp(Line("lamp", bare, VirtualClock()), 5.0, told.append)
        lamp.on()
        bare.off = lambda: None
        with pytest.raises(InstrumentError):
            lamp.off()
        assert told == [True]
