"""Our devices inside Micro-Manager's core are what they were: the driver reaches them through it like any other."""

from typing import ClassVar

import numpy as np
import pytest
from contract import (
    CameraContract,
    Connection,
    ConnectionContract,
    FreshFramesContract,
    LampContract,
    XYContract,
    ZContract,
)

from parfocal.config import open_microscope
from parfocal.devices.base import Camera
from parfocal.devices.driver import Asked
from parfocal.devices.wall_clock import WallClock
from parfocal.errors import LimitError

unicore = pytest.importorskip("pymmcore_plus.experimental.unicore")

from parfocal.devices.micromanager.driver import devices_of  # noqa: E402
from parfocal.devices.micromanager.offered import XY, Z, offer  # noqa: E402
from parfocal.devices.micromanager.session import close_session  # noqa: E402
from parfocal.devices.micromanager.settings import MicroManagerSettings  # noqa: E402

LIMITS = {"xy_limits_um": ((-12_500, 12_500), (-12_500, 12_500)), "z_limits_um": (-500, 500)}


@pytest.fixture(scope="module")
def microscope(small_toml):
    return open_microscope(small_toml(), "blood-smear", seed=1).microscope


@pytest.fixture(scope="module")
def core(microscope):
    core = offer(microscope)
    yield core
    core.unloadAllDevices()


def offered(core):
    """What the driver makes of it."""
    settings = MicroManagerSettings.model_validate({"configuration": "", **LIMITS})
    asked = Asked(frozenset({"camera", "xy", "z", "lamp"}), (240, 320), 0.345, WallClock(), None)
    return devices_of(core, settings, asked)


@pytest.fixture(scope="module")
def devices(core):
    devices = offered(core)
    devices.lamp.on()
    return devices


class TestOfferedCamera(CameraContract, FreshFramesContract):
    @pytest.fixture
    def camera(self, devices):
        devices.lamp.on()
        return devices.camera

    @pytest.fixture
    def elsewhere(self, devices):
        x_um, y_um = devices.xy.position_um
        return lambda: devices.xy.move_to(x_um + 200.0, y_um + 200.0)


class TestOfferedXYStage(XYContract):
    @pytest.fixture
    def xy(self, devices):
        return devices.xy

    @pytest.fixture
    def xy_places(self):
        return [(0.0, 0.0), (123.4, -56.7), (-33.3, 8.0)]


class TestOfferedZStage(ZContract):
    @pytest.fixture
    def z(self, devices):
        return devices.z

    @pytest.fixture
    def z_places(self):
        return [0.0, 12.5, -40.25]


class TestOfferedLamp(LampContract):
    @pytest.fixture
    def lamp(self, devices):
        return devices.lamp


class TestConnection(ConnectionContract):
    cannot: ClassVar = {"silence": "UniMMCore calls our devices on the caller's thread, and has no timeout of its own"}

    @pytest.fixture
    def connection(self, microscope):
        goals = iter(range(10, 100, 10))

        def opened():
            session = offer(microscope)
            z = offered(session).z
            return lambda: close_session(session), lambda: z.move_to(float(next(goals))), lambda: z.position_um

        return Connection(opened)


def test_a_frame_passes_through_the_core_unchanged(core, microscope, monkeypatch):
    assert isinstance(microscope.camera, Camera)
    sent = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    monkeypatch.setattr(microscope.camera, "snap", lambda: sent)
    core.snapImage()
    assert (core.getImage() == sent).all()
    assert core.getNumberOfComponents() == 3


def test_the_core_is_told_where_the_stages_went(core):
    told = []
    core.events.XYStagePositionChanged.connect(lambda label, x, y: told.append((label, x, y)))
    core.events.stagePositionChanged.connect(lambda label, z: told.append((label, z)))
    core.setXYPosition(10.0, 20.0)
    core.setPosition(5.0)
    assert told == [(XY, 10.0, 20.0), (Z, 5.0)]


def test_the_z_stage_says_that_up_is_towards_the_objective(core):
    assert int(core.getFocusDirection(Z)) == 1


def test_limits_hold_for_whoever_drives_the_core(core, microscope):
    core.setPosition(5.0)
    with pytest.raises(LimitError, match="outside the limits"):
        core.setPosition(501.0)
    assert core.getPosition() == microscope.z.position_um == 5.0


def test_the_stages_backlash_is_not_hidden(core, microscope):
    core.setPosition(0.0)
    core.setPosition(40.0)
    arrived_um = microscope.z.true_um
    core.setPosition(30.0)  # within the slack of 20 µm
    assert microscope.z.true_um == arrived_um
