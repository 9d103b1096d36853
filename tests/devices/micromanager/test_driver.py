"""Micro-Manager's own demonstration devices, by the driver, with no Micro-Manager installed."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from contract import (
    CameraContract,
    Connection,
    ConnectionContract,
    ExposureContract,
    FreshFramesContract,
    LampContract,
    SettledContract,
    XYContract,
    ZContract,
)

from parfocal.devices.driver import Asked, driver_named
from parfocal.devices.micromanager import session
from parfocal.devices.micromanager.settings import MicroManagerSettings
from parfocal.devices.wall_clock import WallClock
from parfocal.errors import InstrumentError, SettingsError

pytest.importorskip("mm_test_adapters")

DEMO = {"adapters": "mm_test_adapters", "configuration": "MMConfig_demo.cfg"}
LIMITS = {"xy_limits_um": ((-3000, 3000), (-1500, 1500)), "z_limits_um": (-200, 100)}
BRIGHT = {"PixelType": "32bitRGB", "Mode": "Color Test Pattern"}


def opened(*roles, folder=Path(), **settings):
    values = {**DEMO, **LIMITS, "properties": {"Camera": BRIGHT}, **settings}
    asked = Asked(frozenset(roles), (512, 512), 0.5, WallClock(), folder)
    return driver_named("micromanager").open(MicroManagerSettings.model_validate(values), asked)


@pytest.fixture(scope="module")
def all_of_it():
    devices = opened("camera", "xy", "z", "lamp")
    yield devices
    devices.close()


class TestCamera(CameraContract):
    @pytest.fixture
    def camera(self, all_of_it):
        return all_of_it.camera


WAVES = {"PixelType": "8bit", "Mode": "Artificial Waves"}


class TestExposure(ExposureContract):
    @pytest.fixture
    def camera_at(self):
        opening = []

        def open_at(exposure_ms):
            opening.append(opened("camera", exposure_ms=exposure_ms, properties={"Camera": WAVES}))
            return opening[-1].camera

        yield open_at
        for devices in opening:
            devices.close()

    @pytest.fixture
    def exposures_ms(self):
        return 10.0, 50.0, 1e6


class TestFreshness(FreshFramesContract):
    """Its picture follows no stage; it follows the exposure, which only a frame that began after the change shows."""

    @pytest.fixture
    def devices(self):
        devices = opened("camera", "z", exposure_ms=5.0, properties={"Camera": WAVES})
        yield devices
        devices.close()

    @pytest.fixture
    def camera(self, devices):
        return devices.camera

    @pytest.fixture
    def elsewhere(self, devices):
        def change():
            devices.z.move_to(devices.z.position_um + 5.0)
            devices.camera._session.setExposure(100.0)

        return change


class TestConnection(ConnectionContract):
    cannot: ClassVar = {
        "silence": "the demonstration devices always answer; what hangs is given up after timeout_s by the core",
        "place": "a demonstration stage begins at 0 whenever it is loaded",
    }

    @pytest.fixture
    def connection(self):
        def open_it():
            devices = opened("z")
            return devices.close, lambda: devices.z.move_to(10.0), lambda: devices.z.position_um

        return Connection(open_it)


class TestSettled(SettledContract):
    @pytest.fixture
    def z(self, all_of_it):
        return all_of_it.z

    @pytest.fixture
    def z_places(self):
        return [40.0, -10.0]

    @pytest.fixture
    def stands_um(self, all_of_it):
        session = all_of_it.z._session
        return lambda: float("nan") if session.deviceBusy("Z") else session.getPosition("Z")


class TestXYStage(XYContract):
    @pytest.fixture
    def xy(self, all_of_it):
        return all_of_it.xy

    @pytest.fixture
    def xy_places(self):
        return [(0.0, 0.0), (150.0, -75.0), (-30.0, 60.0)]  # multiples of its step of 0.015 µm


class TestZStage(ZContract):
    @pytest.fixture
    def z(self, all_of_it):
        return all_of_it.z

    @pytest.fixture
    def z_places(self):
        return [0.0, 20.0, -35.5]


class TestShutter(LampContract):
    @pytest.fixture
    def lamp(self, all_of_it):
        return all_of_it.lamp


class TestStateDeviceAsLamp(LampContract):
    @pytest.fixture
    def lamp(self):
        by_label = {"lamp": "LED", "lamp_property": "Label", "lamp_on": "550nm", "lamp_off": "Closed"}
        devices = opened("lamp", **by_label)
        yield devices.lamp
        devices.close()


class TestNumberAsLamp(LampContract):
    @pytest.fixture
    def lamp(self):
        devices = opened("lamp", lamp="Camera", lamp_property="TestProperty1", lamp_on=0.1, lamp_off=0)
        yield devices.lamp
        devices.close()


@pytest.mark.parametrize("pixel_type", ["8bit", "16bit", "32bitRGB", "64bitRGB"])
def test_cameras_of_any_pixel_type_return_rgb_bytes(pixel_type):
    devices = opened("camera", properties={"Camera": {"PixelType": pixel_type, "Mode": "Artificial Waves"}})
    frame = devices.camera.snap()
    devices.close()
    assert frame.shape == (512, 512, 3)
    assert frame.dtype == np.uint8


def test_grey_pixels_become_grey_colours():
    devices = opened("camera", properties={"Camera": {"PixelType": "8bit"}})
    frame = devices.camera.snap()
    devices.close()
    assert frame.std() > 1
    assert (frame[..., :1] == frame).all()


def test_exposures_take_their_time():
    devices = opened("camera", exposure_ms=300.0)
    clock = WallClock()
    devices.camera.snap()
    devices.close()
    assert clock.now_s >= 0.3


def test_binning_by_a_property_changes_the_frame():
    devices = opened("camera", properties={"Camera": {"Binning": 2}})
    assert devices.camera.frame_shape == (256, 256)
    devices.close()


def test_a_focus_drive_that_leads_away_from_the_objective_is_turned_round(tmp_path):
    demo = Path(pytest.importorskip("mm_test_adapters").device_adapter_path()) / DEMO["configuration"]
    text = demo.read_text(encoding="utf-8").replace("FocusDirection,Z,0", "FocusDirection,Z,-1")
    (tmp_path / "away.cfg").write_text(text, encoding="utf-8")
    devices = opened("z", folder=tmp_path, configuration="away.cfg")
    assert devices.z.limits_um == (-100.0, 200.0)
    devices.z.move_to(150.0)
    assert devices.z.position_um == 150.0
    devices.close()


def test_a_lamp_is_put_out_when_its_devices_are_let_go_of_and_that_may_happen_twice():
    devices = opened("lamp")
    devices.lamp.on()
    devices.close()
    devices.close()
    with pytest.raises(InstrumentError, match="Micro-Manager"):
        _ = devices.lamp.is_on


def test_a_stage_that_refuses_says_so_in_micro_managers_words(all_of_it):
    devices = opened("z", z_limits_um=(-1000, 1000))
    with pytest.raises(InstrumentError, match=r"Micro-Manager, Z: .*out of range"):
        devices.z.move_to(900.0)
    devices.close()


def test_a_stage_that_does_not_arrive_is_noticed():
    devices = opened("xy", arrives_within_um=0.001)
    with pytest.raises(InstrumentError, match=r"sent to 10\.01, 0\.00 µm, it says that it stands at 10\.0"):
        devices.xy.move_to(10.01, 0.0)
    devices.close()


@pytest.mark.parametrize(
    ("settings", "error", "why"),
    [
        ({"configuration": "none.cfg"}, SettingsError, "none.cfg of Micro-Manager is not in"),
        ({"adapters": "no_such_package"}, SettingsError, "neither a folder nor an installed package"),
        ({"camera": "Kamera"}, SettingsError, "no device 'Kamera' for the camera: it has .*Camera"),
        ({"xy_limits_um": None}, SettingsError, "limits of XY: give xy_limits_um"),
        ({"z_limits_um": None}, SettingsError, "limits of Z: give z_limits_um"),
        ({"camera": "XY"}, InstrumentError, "Micro-Manager, XY: "),
        ({"properties": {"Camera": {"Colour": 1}}}, InstrumentError, "Colour"),
        ({"presets": {"Channel": "Bright"}}, InstrumentError, "Bright"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_the_reason(settings, error, why):
    with pytest.raises(error, match=why):
        opened("camera", "xy", "z", "lamp", **settings)


def test_a_configuration_whose_device_does_not_answer_is_told_of(tmp_path):
    (tmp_path / "wrong.cfg").write_text("Device,Stage,NoSuchLibrary,Stage\n", encoding="utf-8")
    with pytest.raises(InstrumentError, match="NoSuchLibrary"):
        opened("z", folder=tmp_path, configuration="wrong.cfg")


def test_a_lamp_by_a_property_needs_both_values():
    with pytest.raises(ValueError, match="lamp_property needs lamp, lamp_on and lamp_off"):
        MicroManagerSettings(configuration="any.cfg", lamp_property="State")


def test_the_lamp_alone_is_opened_without_presets_and_properties(monkeypatch):
    """They may move something, and the lamp is opened alone to put it out."""
    monkeypatch.setattr(session, "_set_up", lambda *_: pytest.fail("set up"))
    devices = opened("lamp", presets={"Objective": "20X"})
    devices.lamp.off()
    devices.close()


@pytest.mark.parametrize("limits_um", [(100, -200), (5, 5), (float("-inf"), float("inf"))])
def test_limits_are_finite_and_rise(limits_um):
    with pytest.raises(ValueError, match="µm are not two finite, rising numbers"):
        MicroManagerSettings(**DEMO, z_limits_um=limits_um)
    with pytest.raises(ValueError, match="µm are not two finite, rising numbers"):
        MicroManagerSettings(**DEMO, xy_limits_um=((0, 1), limits_um))
