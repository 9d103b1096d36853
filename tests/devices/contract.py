"""What every device promises, whichever instrument it belongs to.

A test module subclasses these and gives the fixtures; positions are such that the device can hold them exactly.
What a device cannot show it declares: `cannot = {"what": "why"}`; the test is then skipped, and says why.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from parfocal.devices.base import Camera, Clock, Lamp, XYStage, ZStage
from parfocal.errors import InstrumentError, LimitError, SettingsError


class CameraContract:
    """Fixture: `camera`, with its lamp lit."""

    def test_it_is_a_camera(self, camera):
        assert isinstance(camera, Camera)

    def test_frames_are_rgb_bytes_of_the_promised_shape(self, camera):
        frame = camera.snap()
        assert frame.shape == (*camera.frame_shape, 3)
        assert frame.dtype == np.uint8

    def test_frames_belong_to_whoever_took_them(self, camera):
        frame = camera.snap()
        kept = frame.copy()
        frame[:] = 0
        assert np.mean(np.abs(camera.snap().astype(int) - kept)) < 5

    def test_pixels_have_a_size(self, camera):
        assert camera.pixel_size_um > 0

    def test_a_lit_frame_is_not_dark(self, camera):
        assert camera.snap().mean() > 20


class FreshFramesContract:
    """Fixtures: `camera`, with its lamp lit, and `elsewhere`, which moves the stage to where the picture is another."""

    def test_a_frame_after_a_move_was_exposed_after_it(self, camera, elsewhere):
        before = camera.snap().astype(int)
        elsewhere()
        first, second = camera.snap().astype(int), camera.snap().astype(int)
        assert np.mean(np.abs(first - second)) < 0.5 * np.mean(np.abs(first - before))


class ExposureContract:
    """Fixtures: `camera_at(exposure_ms)`, which opens the camera, and `exposures_ms`: (short, long, far too long)."""

    cannot: ClassVar[dict[str, str]] = {}

    @pytest.fixture(autouse=True)
    def _declared(self):
        declared(self.cannot, "exposure")

    def test_a_longer_exposure_is_brighter(self, camera_at, exposures_ms):
        short_ms, long_ms, _ = exposures_ms
        assert camera_at(short_ms).snap().mean() < 0.8 * camera_at(long_ms).snap().mean()

    def test_one_that_the_camera_does_not_have_is_refused(self, camera_at, exposures_ms):
        with pytest.raises((InstrumentError, SettingsError), match="xposure"):
            camera_at(exposures_ms[2])


@dataclass
class Connection:
    """A device, and what can be done to its connection.

    Attributes:
        open: opens it; returns what lets go of it, what asks it for something, and what tells where its stages stand.
        fall_silent: from here on it takes orders and answers nothing; None if it is declared that this cannot be shown.
        timeout_s: how long it may be silent until it is given up.
    """

    open: Callable[[], tuple[Callable[[], None], Callable[[], Any], Callable[[], Any]]]
    fall_silent: Callable[[], None] | None = None
    timeout_s: float = 0.0


class ConnectionContract:
    """Fixture: `connection`. May be declared: "silence", "disconnected", "place"."""

    cannot: ClassVar[dict[str, str]] = {}

    def test_one_that_does_not_answer_is_given_up(self, connection):
        declared(self.cannot, "silence")
        let_go, ask, _ = connection.open()
        ask()
        connection.fall_silent()
        began_s = time.monotonic()
        with pytest.raises(InstrumentError):
            ask()
        assert time.monotonic() - began_s < 10 * connection.timeout_s + 2
        let_go()

    def test_one_that_was_let_go_of_is_not_used_any_more(self, connection):
        declared(self.cannot, "disconnected")
        let_go, ask, _ = connection.open()
        ask()
        let_go()
        with pytest.raises(InstrumentError):
            ask()

    def test_one_that_is_opened_again_works_and_says_that_it_stands_where_it_stood(self, connection):
        let_go, ask, place = connection.open()
        ask()
        before = place()
        let_go()
        let_go, ask, place = connection.open()
        if "place" not in self.cannot:
            assert place() == pytest.approx(before)
        ask()
        let_go()


def declared(cannot: dict[str, str], what: str) -> None:
    """Skip what a device is declared not to be able to show."""
    if what in cannot:
        pytest.skip(cannot[what])


class SettledContract:
    """Fixtures: `z`, `z_places`, whose moves last, and `stands_um()`: where the specimen really is."""

    def test_a_move_has_ended_and_settled_when_it_returns(self, z, z_places, stands_um):
        for place_um in z_places:
            z.move_to(place_um)
            at_once_um = stands_um()
            time.sleep(0.02)
            assert at_once_um == stands_um() == pytest.approx(place_um, abs=0.1)


class XYContract:
    """Fixtures: `xy`, and `xy_places`: positions in µm that it can reach."""

    def test_it_is_an_xy_stage(self, xy):
        assert isinstance(xy, XYStage)

    def test_it_reports_where_it_was_sent(self, xy, xy_places):
        for place in xy_places:
            xy.move_to(*place)
            assert xy.position_um == pytest.approx(place)

    @pytest.mark.parametrize("axis", [0, 1])
    @pytest.mark.parametrize("end", [0, 1])
    def test_a_target_outside_the_limits_is_refused_before_any_motion(self, xy, xy_places, axis, end):
        xy.move_to(*xy_places[0])
        target = list(xy_places[0])
        target[axis] = xy.limits_um[axis][end] + (10 if end else -10)
        with pytest.raises(LimitError, match="µm"):
            xy.move_to(*target)
        assert xy.position_um == pytest.approx(xy_places[0])

    def test_a_target_that_is_no_number_is_refused(self, xy):
        with pytest.raises(LimitError):
            xy.move_to(float("nan"), 0.0)


class ZContract:
    """Fixtures: `z`, and `z_places`: positions in µm that it can hold."""

    def test_it_is_a_z_stage(self, z):
        assert isinstance(z, ZStage)

    def test_it_reports_where_it_was_sent(self, z, z_places):
        for place in [*z_places, *reversed(z_places)]:
            z.move_to(place)
            assert z.position_um == pytest.approx(place)

    def test_it_reaches_both_limits(self, z):
        for limit in z.limits_um:
            z.move_to(limit)
            assert z.position_um == pytest.approx(limit)

    @pytest.mark.parametrize("end", [0, 1])
    def test_a_target_outside_the_limits_is_refused_before_any_motion(self, z, z_places, end):
        z.move_to(z_places[0])
        with pytest.raises(LimitError, match="µm"):
            z.move_to(z.limits_um[end] + (1 if end else -1))
        assert z.position_um == pytest.approx(z_places[0])

    def test_a_target_that_is_no_number_is_refused(self, z):
        with pytest.raises(LimitError):
            z.move_to(float("nan"))


class LampContract:
    """Fixture: `lamp`."""

    def test_it_is_a_lamp(self, lamp):
        assert isinstance(lamp, Lamp)

    def test_on_and_off_any_number_of_times(self, lamp):
        lamp.off()
        assert not lamp.is_on
        lamp.on()
        lamp.on()
        assert lamp.is_on
        lamp.off()
        lamp.off()
        assert not lamp.is_on


class ClockContract:
    """Fixture: `clock`."""

    def test_it_is_a_clock(self, clock):
        assert isinstance(clock, Clock)

    def test_time_does_not_run_backwards(self, clock):
        before_s = clock.now_s
        clock.spend(0.0)
        assert clock.now_s >= before_s

    def test_together_does_everything(self, clock):
        done = []
        clock.together(lambda: done.append("sideways"), lambda: done.append("upward"), lambda: done.append("thought"))
        assert sorted(done) == ["sideways", "thought", "upward"]

    def test_together_with_nothing_to_do_takes_no_longer_than_that(self, clock):
        before_s = clock.now_s
        clock.together()
        assert clock.now_s == pytest.approx(before_s, abs=0.1)

    def test_together_ends_everything_before_the_first_error_is_raised(self, clock):
        done = []

        def fail(message):
            raise InstrumentError(message)

        with pytest.raises(InstrumentError, match="sideways"):
            clock.together(lambda: fail("sideways"), lambda: done.append("upward"), lambda: fail("thought"))
        assert done == ["upward"]
