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

from parfocal.devices.base import RecordedZ
from parfocal.devices.replay import replay_microscope
from parfocal.errors import SettingsError
from parfocal.optics.objective import Objective
from parfocal.stacks.recorded import RecordedStack

OBJECTIVE = Objective(20, 0.75)
DELTA_UM = 2.0


def stack(z, z_unit="step", **known):
    planes = tuple(np.full((16, 24, 3), 40 + 10 * index, dtype=np.uint8) for index in range(len(z)))
    return RecordedStack("made-up", planes, tuple(float(value) for value in z), z_unit, **known)


@pytest.fixture
def replay():
    return replay_microscope(stack(range(11)), OBJECTIVE, DELTA_UM)


class TestReplayCamera(CameraContract):
    @pytest.fixture
    def camera(self, replay):
        replay.microscope.lamp.on()
        return replay.microscope.camera


class TestReplayXY(XYContract):
    @pytest.fixture
    def xy(self, replay):
        return replay.microscope.xy

    @pytest.fixture
    def xy_places(self):
        return [(0.0, 0.0)]


class TestReplayZ(ZContract):
    @pytest.fixture
    def z(self, replay):
        return replay.microscope.z

    @pytest.fixture
    def z_places(self):
        return [0.0, 3.0, 10.0, 7.0]

    def test_it_says_what_only_a_record_can_say(self, z):
        assert isinstance(z, RecordedZ)


class TestReplayLamp(LampContract):
    @pytest.fixture
    def lamp(self, replay):
        return replay.microscope.lamp


class TestConnection(ConnectionContract):
    cannot: ClassVar = {
        "silence": "a record answers out of memory",
        "disconnected": "a record is read when it is opened; there is no connection to let go of",
        "place": "a record begins at its first pair whenever it is opened",
    }

    @pytest.fixture
    def connection(self):
        def opened():
            z = replay_microscope(stack(range(11)), OBJECTIVE, DELTA_UM).microscope.z
            return lambda: None, lambda: z.move_to(7.0), lambda: z.position_um

        return Connection(opened)


class TestReplayClock(ClockContract):
    @pytest.fixture
    def clock(self, replay):
        return replay.microscope.clock


class TestNothingIsInterpolated:
    def test_a_frame_is_the_plane_nearest_to_the_target(self, replay):
        replay.microscope.z.move_to(3.4)
        assert replay.microscope.z.position_um == 3.0
        assert np.array_equal(replay.microscope.camera.snap(), stack(range(11)).planes[3])

    def test_targets_beyond_the_record_become_its_ends(self, replay):
        assert replay.microscope.z.nearest_um(-7.0) == 0.0
        assert replay.microscope.z.nearest_um(12.0) == 10.0


class TestPairs:
    def test_in_a_stack_in_steps_delta_is_two_planes_and_a_step_half_the_optics_delta(self, replay):
        assert replay.um_per_unit == 1.0
        assert replay.approach.delta_um == 2.0
        assert replay.microscope.z.nearest_pair_um(4.0, replay.approach.delta_um) == (4.0, 6.0)

    def test_unless_the_user_says_what_a_step_is(self):
        replay = replay_microscope(stack(range(11)), OBJECTIVE, DELTA_UM, um_per_step=1.5)
        assert replay.approach.delta_um == 3.0
        assert replay.microscope.z.nearest_pair_um(6.0, 3.0) == (6.0, 9.0)
        assert replay.recorded_z(6.0) == 4.0

    @pytest.mark.parametrize(("wanted_um", "first_um"), [(8.0, 8.0), (9.0, 8.0), (10.0, 8.0), (50.0, 8.0), (-3.0, 0.0)])
    def test_the_first_image_moves_to_the_nearest_plane_that_leaves_a_pair(self, replay, wanted_um, first_um):
        assert replay.microscope.z.nearest_pair_um(wanted_um, 2.0) == (first_um, first_um + 2.0)

    def test_in_micrometres_the_second_plane_is_the_nearest_to_delta_above(self):
        replay = replay_microscope(stack([0, 0.5, 1.9, 2.6, 8.0], "um"), OBJECTIVE, DELTA_UM)
        z = replay.microscope.z
        assert z.nearest_pair_um(0.0, 2.0) == (0.0, 1.9)
        assert z.nearest_pair_um(0.5, 2.0) == (0.5, 2.6)
        assert z.nearest_pair_um(2.6, 2.0) == (2.6, 8.0)
        assert z.nearest_pair_um(8.0, 2.0) == (2.6, 8.0)

    def test_a_record_without_a_pair_is_refused(self):
        with pytest.raises(SettingsError, match="2 µm apart"):
            replay_microscope(stack([0, 0.5, 1.0], "um"), OBJECTIVE, DELTA_UM)
        with pytest.raises(SettingsError, match="no two planes"):
            replay_microscope(stack([3]), OBJECTIVE, DELTA_UM)


class TestScale:
    def test_with_a_known_aperture_the_record_is_judged_in_micrometres(self):
        known = stack(range(-4, 5), "um", na=0.4, magnification=10.0, pixel_size_um=0.5)
        microscope = replay_microscope(known, OBJECTIVE, DELTA_UM).microscope
        assert microscope.objective == Objective(10, 0.4)
        assert microscope.camera.pixel_size_um == 0.5

    def test_without_one_its_pixels_are_the_networks_own(self):
        microscope = replay_microscope(stack(range(9), pixel_size_um=4.3), OBJECTIVE, DELTA_UM).microscope
        assert microscope.objective == OBJECTIVE
        assert microscope.camera.pixel_size_um == OBJECTIVE.canonical_pixel_um

    def test_an_oil_lens_is_taken_for_one(self):
        oil = stack(range(9), "um", na=1.25, magnification=100.0, pixel_size_um=0.05)
        assert replay_microscope(oil, OBJECTIVE, DELTA_UM).microscope.objective.immersion_index > 1.25


class TestStart:
    def test_it_begins_at_the_plane_asked_for_in_the_records_unit(self):
        replay = replay_microscope(stack(range(11)), OBJECTIVE, DELTA_UM, start_z=4, um_per_step=1.5)
        assert replay.first_um == 6.0
        assert replay.microscope.z.position_um == 6.0

    @pytest.mark.parametrize("um_per_step", [0.0, -1.0, float("nan")])
    def test_a_step_needs_a_size(self, um_per_step):
        with pytest.raises(SettingsError, match="µm per step"):
            replay_microscope(stack(range(11)), OBJECTIVE, DELTA_UM, um_per_step=um_per_step)

    def test_a_step_size_does_not_apply_to_micrometres(self):
        with pytest.raises(SettingsError, match="does not apply"):
            replay_microscope(stack(range(11), "um"), OBJECTIVE, DELTA_UM, um_per_step=1.0)

    def test_a_start_that_is_no_number_is_refused(self):
        with pytest.raises(SettingsError, match="start"):
            replay_microscope(stack(range(11)), OBJECTIVE, DELTA_UM, start_z=float("nan"))
