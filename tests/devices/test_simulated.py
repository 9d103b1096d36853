from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from contract import (
    CameraContract,
    ClockContract,
    Connection,
    ConnectionContract,
    LampContract,
    XYContract,
    ZContract,
)
from hypothesis import given
from hypothesis import strategies as st

from parfocal.devices.base import Truth
from parfocal.devices.simulated import (
    CameraSettings,
    PlayAxis,
    SimulatedLamp,
    SimulatedSettings,
    SimulatedXYStage,
    SimulatedZStage,
    VirtualClock,
    XYSettings,
    ZSettings,
    simulated_microscope,
)
from parfocal.errors import InstrumentError, LimitError, SettingsError
from parfocal.merit import best_focus, tenengrad
from parfocal.optics.imaging import SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.samples import make_sample
from parfocal.optics.sensor import Sensor
from parfocal.optics.specimen import Topography
from parfocal.optics.transfer import Illumination

OBJECTIVE = Objective(20, 0.75)
SURFACE_UM = 3.0


def instrument(seed=0, frame_shape=(96, 128), **camera):
    sample = make_sample("he-tissue", 2, Topography(base_um=SURFACE_UM))
    settings = SimulatedSettings(camera=CameraSettings(frame_shape=frame_shape, **camera))
    optics = SlideOptics(sample, Illumination(OBJECTIVE))
    return simulated_microscope(optics, Sensor(), settings, lambda x_um, y_um: SURFACE_UM, seed)


@pytest.fixture
def microscope():
    return instrument()[0]


class TestSimulatedCamera(CameraContract):
    @pytest.fixture
    def camera(self, microscope):
        microscope.lamp.on()
        return microscope.camera


class TestSimulatedXY(XYContract):
    @pytest.fixture
    def xy(self, microscope):
        return microscope.xy

    @pytest.fixture
    def xy_places(self):
        return [(0.0, 0.0), (300.0, -200.0), (-40.0, 10.0)]


class TestSimulatedZ(ZContract):
    @pytest.fixture
    def z(self, microscope):
        return microscope.z

    @pytest.fixture
    def z_places(self):
        return [0.0, 1.5, -30.0]


class TestSimulatedLamp(LampContract):
    @pytest.fixture
    def lamp(self, microscope):
        return microscope.lamp


class TestALampWhoseStateLivesInAFile(LampContract):
    @pytest.fixture
    def lamp(self, tmp_path):
        return SimulatedLamp(tmp_path / "lamp")

    def test_another_process_sees_it_and_puts_it_out(self, lamp, tmp_path):
        other = SimulatedLamp(tmp_path / "lamp")
        assert not other.is_on
        lamp.on()
        assert other.is_on
        assert (tmp_path / "lamp").read_text() == "on\n"
        other.off()
        assert not lamp.is_on

    def test_a_file_that_cannot_be_written_is_an_error_of_the_instrument(self, tmp_path):
        with pytest.raises(InstrumentError, match="cannot write"):
            SimulatedLamp(tmp_path / "absent" / "lamp").on()


class TestConnection(ConnectionContract):
    cannot: ClassVar = {
        "silence": "a simulated device computes its answer; one that is at fault: test_faulty",
        "disconnected": "a simulated device is reached without a connection, so that none can be let go of",
        "place": "a simulated stage is made anew whenever it is opened, at its start",
    }

    @pytest.fixture
    def connection(self):
        def opened():
            z = instrument()[0].z
            return lambda: None, lambda: z.move_to(10.0), lambda: z.position_um

        return Connection(opened)


class TestVirtualClock(ClockContract):
    @pytest.fixture
    def clock(self, microscope):
        return microscope.clock

    def test_it_advances_by_what_is_spent_and_by_nothing_else(self, clock):
        before_s = clock.now_s
        clock.spend(1.25)
        assert clock.now_s == pytest.approx(before_s + 1.25)

    @pytest.mark.parametrize("times_s", [(0.06, 0.03, 0.01), (0.01, 0.03, 0.06), (0.02,), (0.0, 0.5)])
    def test_things_done_together_take_as_long_as_the_longest(self, clock, times_s):
        before_s, began_s = clock.now_s, []

        def take(time_s):
            began_s.append(clock.now_s)
            clock.spend(time_s)

        clock.together(*(lambda time_s=time_s: take(time_s) for time_s in times_s))
        assert clock.now_s == pytest.approx(before_s + max(times_s))
        assert set(began_s) == {before_s}

    def test_things_done_together_within_one_of_them_count_as_one(self, clock):
        before_s = clock.now_s

        def both():
            clock.together(lambda: clock.spend(0.2), lambda: clock.spend(0.3))
            clock.spend(0.1)

        clock.together(both, lambda: clock.spend(0.35))
        assert clock.now_s == pytest.approx(before_s + 0.4)

    def test_where_one_fails_the_others_still_take_their_time(self, clock):
        before_s = clock.now_s

        def fail():
            clock.spend(0.1)
            raise LimitError("x 9 µm is outside the limits")

        with pytest.raises(LimitError):
            clock.together(fail, lambda: clock.spend(0.4))
        assert clock.now_s == pytest.approx(before_s + 0.4)

    def test_stages_that_move_together_arrive_when_the_slower_one_does(self, microscope):
        clock, xy, z = microscope.clock, microscope.xy, microscope.z
        before_s = clock.now_s
        clock.together(lambda: xy.move_to(100.0, 0.0), lambda: z.move_to(10.0))
        assert clock.now_s - before_s == pytest.approx(0.060)
        assert (xy.position_um, z.position_um) == ((100.0, 0.0), 10.0)

    def test_time_cannot_be_given_back(self, clock):
        with pytest.raises(SettingsError, match="-1 s"):
            clock.spend(-1.0)


class TestPlay:
    def test_after_a_reversal_the_first_backlash_of_travel_moves_nothing(self):
        axis = PlayAxis(20.0)
        axis.drive_to(100.0)
        assert not axis.drive_to(80.0)
        assert axis.output_um == 100.0
        assert axis.drive_to(79.0)
        assert axis.output_um == 99.0
        assert not axis.drive_to(99.0)
        assert axis.drive_to(100.0)
        assert axis.output_um == 100.0

    @given(st.floats(0, 30), st.lists(st.floats(-200, 200), min_size=1, max_size=30))
    def test_the_output_lags_by_at_most_the_backlash(self, backlash_um, drives_um):
        axis = PlayAxis(backlash_um)
        for drive_um in drives_um:
            axis.drive_to(drive_um)
            assert drive_um <= axis.output_um <= drive_um + backlash_um

    @given(st.floats(0, 30), st.lists(st.floats(-200, 200), min_size=2, max_size=30))
    def test_without_a_reversal_beyond_the_slack_output_never_moves_against_the_drive(self, backlash_um, drives_um):
        axis = PlayAxis(backlash_um, drives_um[0])
        for before_um, drive_um in pairwise(drives_um):
            output_um = axis.output_um
            axis.drive_to(drive_um)
            assert (axis.output_um - output_um) * (drive_um - before_um) >= 0

    def test_negative_backlash_is_refused(self):
        with pytest.raises(SettingsError, match="-1 µm"):
            PlayAxis(-1.0)


class TestZStage:
    def stage(self, **settings):
        clock = VirtualClock()
        return SimulatedZStage(ZSettings(**settings), clock, np.random.default_rng(0)), clock

    def test_arrival_errors_have_the_stated_spread_and_are_cut_off(self):
        stage, _ = self.stage(backlash_um=0.0, largest_error_um=0.4)
        errors_um = []
        for index in range(4000):
            stage.move_to(float(index % 100 - 50))
            errors_um.append(stage.true_um - stage.position_um)
        assert np.std(errors_um) == pytest.approx(0.165, abs=0.01)  # 0.17 less what the cut takes off
        assert np.max(np.abs(errors_um)) <= 0.4

    def test_where_only_slack_was_taken_up_the_slide_has_not_moved_at_all(self):
        stage, _ = self.stage(backlash_um=20.0)
        stage.move_to(50.0)
        before_um = stage.true_um
        stage.move_to(35.0)
        stage.move_to(45.0)
        assert stage.true_um == before_um

    def test_the_screw_error_is_smooth_and_of_its_amplitude(self):
        stage, _ = self.stage(backlash_um=0.0, error_um=0.0, screw_um=3.0, screw_pitch_um=200.0)
        errors_um = []
        for z_um in np.arange(-200.0, 200.0):
            stage.move_to(float(z_um))
            errors_um.append(stage.true_um - z_um)
        assert max(errors_um) == pytest.approx(3.0, abs=0.01)
        assert np.abs(np.diff(errors_um)).max() < 0.1

    def test_a_move_takes_travel_over_speed_plus_settling(self):
        stage, clock = self.stage()
        stage.move_to(20.0)
        assert clock.now_s == pytest.approx(20 / 2000 + 0.005)
        stage.move_to(20.0)
        assert clock.now_s == pytest.approx(20 / 2000 + 0.005)


class TestXYStage:
    def stage(self, seed=0, **settings):
        clock = VirtualClock()
        return SimulatedXYStage(XYSettings(**settings), clock, np.random.default_rng(seed)), clock

    def test_a_reversal_loses_the_backlash(self):
        stage, _ = self.stage(backlash_um=80.0, screw_um=0.0, error_um=0.0)
        stage.move_to(500.0, 0.0)
        stage.move_to(400.0, 0.0)
        assert stage.true_um == pytest.approx((480.0, 0.0))

    def test_screw_errors_stay_within_their_amplitude_and_repeat(self):
        stage, _ = self.stage(backlash_um=0.0, screw_um=20.0, error_um=0.0)
        errors_um = []
        for x_um in np.linspace(-12_500, 12_500, 400):
            stage.move_to(float(x_um), 0.0)
            errors_um.append(stage.true_um[0] - x_um)
        assert 8 < np.max(np.abs(errors_um)) <= 20
        assert np.abs(np.diff(errors_um)).max() < 1.0
        stage.move_to(-12_500.0, 0.0)
        assert stage.true_um[0] + 12_500 == pytest.approx(errors_um[0])

    def test_what_does_not_repeat_is_2_um_rms(self):
        stage, _ = self.stage(backlash_um=0.0, screw_um=0.0)
        errors_um = []
        for index in range(2000):
            stage.move_to(float(index % 2), 0.0)
            errors_um.append(stage.true_um[0] - index % 2)
        assert np.std(errors_um) == pytest.approx(2.0, rel=0.1)

    def test_an_axis_that_is_not_driven_stays_where_it_is(self):
        stage, _ = self.stage()
        stage.move_to(100.0, 100.0)
        y_um = stage.true_um[1]
        stage.move_to(200.0, 100.0)
        assert stage.true_um[1] == y_um

    def test_a_step_takes_its_time_and_settling(self):
        stage, clock = self.stage()
        stage.move_to(320.0, 0.0)
        assert clock.now_s == pytest.approx(0.060)


class TestCamera:
    def test_frames_are_dark_when_the_lamp_is_off(self, microscope):
        assert microscope.camera.snap().max() < 10

    def test_a_frame_takes_33_ms(self, microscope):
        microscope.camera.snap()
        assert microscope.clock.now_s == pytest.approx(0.033)

    def test_one_seed_gives_the_same_frames_again_and_another_seed_others(self):
        frames = []
        for seed in (1, 1, 2):
            microscope, _ = instrument(seed)
            microscope.lamp.on()
            microscope.z.move_to(2.0)
            frames.append(microscope.camera.snap())
        assert np.array_equal(frames[0], frames[1])
        assert not np.array_equal(frames[0], frames[2])

    def test_the_picture_follows_the_true_position_and_not_the_reported_one(self):
        microscope, truth = instrument(shift_sigma_px=0.0, flicker=0.0)
        microscope.lamp.on()
        microscope.z.move_to(SURFACE_UM)
        sharp = tenengrad(microscope.camera.snap())
        microscope.z.move_to(SURFACE_UM - 15)  # within the slack
        assert truth.stage_position_um[2] == pytest.approx(SURFACE_UM, abs=0.5)
        assert tenengrad(microscope.camera.snap()) == pytest.approx(sharp, rel=0.05)
        microscope.z.move_to(SURFACE_UM - 35)
        assert tenengrad(microscope.camera.snap()) < 0.5 * sharp

    def test_the_picture_follows_the_slide_sideways(self):
        microscope, _ = instrument(shift_sigma_px=0.0, flicker=0.0)
        microscope.lamp.on()
        microscope.z.move_to(SURFACE_UM)
        here = microscope.camera.snap().astype(int)
        microscope.xy.move_to(200.0, 0.0)
        assert np.abs(microscope.camera.snap() - here).mean() > 5

    def test_flicker_and_shift_are_what_differs_between_noise_free_frames(self):
        class NoNoise:
            def expose(self, light, rng):
                return np.clip(np.rint(light * 200), 0, 255).astype(np.uint8)

        def frames(**camera):
            sample = make_sample("he-tissue", 2, Topography(base_um=SURFACE_UM))
            settings = SimulatedSettings(camera=CameraSettings(frame_shape=(64, 64), **camera))
            optics = SlideOptics(sample, Illumination(OBJECTIVE))
            microscope, _ = simulated_microscope(optics, NoNoise(), settings, lambda x, y: SURFACE_UM)
            microscope.lamp.on()
            microscope.z.move_to(SURFACE_UM)
            return [microscope.camera.snap().astype(float) for _ in range(8)]

        still = frames(shift_sigma_px=0.0, flicker=0.0)
        assert all(np.array_equal(frame, still[0]) for frame in still)
        flickering = frames(shift_sigma_px=0.0, flicker=0.02)
        assert 0.005 < np.std([frame.mean() for frame in flickering]) / still[0].mean() < 0.04
        shaking = frames(shift_sigma_px=0.5, flicker=0.0)
        assert np.abs(shaking[1] - shaking[0]).mean() > 0.5

    @pytest.mark.parametrize(("setting", "value"), [("frame_shape", (0, 10)), ("pixel_size_um", 0.0)])
    def test_a_camera_without_pixels_is_refused(self, setting, value):
        with pytest.raises(SettingsError):
            CameraSettings(**{setting: value})


class TestTruth:
    def test_it_is_a_truth(self):
        assert isinstance(instrument()[1], Truth)

    def test_best_focus_is_the_tenengrad_peak_of_noise_free_planes(self):
        microscope, truth = instrument()
        sample = make_sample("he-tissue", 2, Topography(base_um=SURFACE_UM))
        light = SlideOptics(sample, Illumination(OBJECTIVE)).field(50.0, 20.0, (448, 448), OBJECTIVE.canonical_pixel_um)
        z_um = SURFACE_UM + np.arange(-8, 9) * microscope.depth_of_field_um / 4
        merit = np.array([tenengrad(light.plane(float(z))) for z in z_um])
        assert truth.best_focus_um(50.0, 20.0) == pytest.approx(best_focus(z_um, merit), abs=1e-6)

    def test_tissue_is_told_from_empty_glass(self):
        class Glass:
            def layers(self, window, pitch_um):
                layers = make_sample("he-tissue", 2).layers(window, pitch_um)
                layers.density[:] = 0
                layers.phase[:] = 0
                return layers

        def truth_over(specimen):
            settings = SimulatedSettings(camera=CameraSettings(frame_shape=(64, 64)))
            optics = SlideOptics(specimen, Illumination(OBJECTIVE))
            return simulated_microscope(optics, Sensor(), settings, lambda x, y: 0.0)[1]

        assert truth_over(make_sample("he-tissue", 2)).is_tissue(0.0, 0.0)
        assert not truth_over(Glass()).is_tissue(0.0, 0.0)
