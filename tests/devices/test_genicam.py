"""The driver against a stand-in for harvesters, by its published API. No GenTL producer and no camera are needed."""

import sys
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from contract import CameraContract, Connection, ConnectionContract, ExposureContract, FreshFramesContract

from parfocal.devices.driver import Asked
from parfocal.devices.genicam import DRIVER, GenicamSettings
from parfocal.devices.wall_clock import WallClock
from parfocal.errors import InstrumentError, SettingsError

SHAPE = (32, 48)


class CameraError(Exception):
    """Of genicam.genapi."""


class ProducerError(Exception):
    """Of genicam.gentl."""


class Node:
    def __init__(self, value=None):
        self.value = value


class ExposureTime:
    """In µs, of a camera that has 10 µs to 1 s."""

    def __init__(self):
        self._value = 4000.0

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, us):
        if not 10 <= us <= 1e6:
            raise CameraError(f"ExposureTime: {us:g} is out of range")
        self._value = us


class Camera:
    """What an ImageAcquirer stands for: it exposes when it is triggered."""

    def __init__(self):
        self.scene, self.triggered, self.log = 120, [], []
        self.is_late = self.is_incomplete = False
        names = ("ExposureAuto", "ExposureTime", "AcquisitionMode", "TriggerSelector", "TriggerSource", "TriggerMode")
        nodes = {name: Node() for name in names}
        nodes |= {"Height": Node(SHAPE[0]), "Width": Node(SHAPE[1]), "PixelFormat": Node("RGB8"), "Gamma": Node(0.4)}
        trigger = SimpleNamespace(execute=lambda: self.triggered.append(self.scene))
        self.nodes = SimpleNamespace(**nodes, TriggerSoftware=trigger)
        self.remote_device = SimpleNamespace(node_map=self.nodes)

    def start(self):
        self.log.append("start")

    def stop(self):
        self.log.append("stop")
        self.triggered.clear()

    def destroy(self):
        self.log.append("destroy")
        self.remote_device = None

    @contextmanager
    def fetch(self, *, timeout):
        if self.is_late or not self.triggered:
            raise ProducerError(f"no buffer within {timeout} s")
        data_format = self.nodes.PixelFormat.value
        colours = 3 if data_format.startswith(("RGB", "BGR")) else 1
        kind = np.uint8 if data_format.endswith("8") else np.uint16
        values = np.full(SHAPE[0] * SHAPE[1] * colours, self.triggered.pop(0), dtype=kind)
        component = SimpleNamespace(data=values, data_format=data_format, height=SHAPE[0], width=SHAPE[1])
        components = [] if self.is_incomplete else [component]
        yield SimpleNamespace(payload=SimpleNamespace(components=components))
        values[:] = 0  # the buffer belongs to the producer again


@pytest.fixture
def camera(monkeypatch):
    """The stand-in that the driver will find, as the serial number 42."""
    stand_in = Camera()

    class Harvester:
        def add_file(self, path):
            stand_in.log.append(Path(path).name)

        def update(self):
            pass

        def create(self, key):
            if key not in (None, {"serial_number": "42"}):
                raise ValueError("no device found")
            return stand_in

        def reset(self):
            stand_in.log.append("reset")

    for name, members in (
        ("harvesters", {}),
        ("harvesters.core", {"Harvester": Harvester}),
        ("genicam", {}),
        ("genicam.genapi", {"GenericException": CameraError}),
        ("genicam.gentl", {"GenericException": ProducerError}),
    ):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return stand_in


@pytest.fixture
def opened(camera, tmp_path):
    (tmp_path / "maker.cti").touch()

    def open_it(**settings):
        asked = Asked(frozenset({"camera"}), SHAPE, 0.5, WallClock(), tmp_path)
        values = {"producer": "maker.cti", "exposure_ms": 4.0, **settings}
        return DRIVER.open(GenicamSettings.model_validate(values), asked)

    return open_it


class TestGenicamCamera(CameraContract, FreshFramesContract):
    @pytest.fixture
    def devices(self, opened):
        return opened()

    @pytest.fixture
    def camera(self, camera, devices):
        self.stand_in = camera
        return devices.camera

    @pytest.fixture
    def elsewhere(self, camera):
        return lambda: setattr(self.stand_in, "scene", 200)


class TestExposure(ExposureContract):
    @pytest.fixture
    def camera_at(self, opened, camera):
        camera.nodes.ExposureTime = ExposureTime()

        def open_at(exposure_ms):
            devices = opened(exposure_ms=exposure_ms)
            camera.scene = min(255, round(camera.nodes.ExposureTime.value / 100))
            return devices.camera

        return open_at

    @pytest.fixture
    def exposures_ms(self):
        return 5.0, 20.0, 90_000.0


class TestConnection(ConnectionContract):
    cannot: ClassVar = {"place": "a camera stands nowhere"}

    @pytest.fixture
    def connection(self, opened, camera):
        def open_it():
            camera.is_late = False
            camera.remote_device = SimpleNamespace(node_map=camera.nodes)
            devices = opened()
            return devices.close, devices.camera.snap, tuple

        return Connection(open_it, lambda: setattr(camera, "is_late", True), 5.0)


def test_exposures_are_fixed_and_triggered_by_software(opened, camera):
    opened(features={"Gamma": 1.0})
    values = {name: node.value for name, node in vars(camera.nodes).items() if isinstance(node, Node)}
    assert values["ExposureAuto"] == "Off"
    assert values["ExposureTime"] == 4000.0
    assert (values["TriggerSource"], values["TriggerMode"]) == ("Software", "On")
    assert values["Gamma"] == 1.0


@pytest.mark.parametrize(
    ("pixel_format", "scene", "level"),
    [("Mono8", 77, 77), ("Mono12", 4095, 255), ("BayerRG8", 60, 60), ("BayerGB12", 2048, 128), ("BGR8", 9, 9)],
)
def test_pixel_formats_become_rgb_bytes(opened, camera, pixel_format, scene, level):
    devices = opened(pixel_format=pixel_format)
    camera.scene = scene
    frame = devices.camera.snap()
    assert frame.shape == (*SHAPE, 3)
    assert (frame[2:-2, 2:-2] == level).all()


def test_a_packed_format_is_refused_by_name(opened):
    with pytest.raises(InstrumentError, match="pixels come as Mono12Packed: choose a pixel_format such as RGB8"):
        opened(pixel_format="Mono12Packed").camera.snap()


def test_letting_go_stops_destroys_and_resets_in_that_order(opened, camera):
    devices = opened()
    devices.close()
    devices.close()
    assert camera.log == ["maker.cti", "start", "stop", "destroy", "reset"]


def test_what_the_camera_or_the_producer_say_is_passed_on(opened, camera):
    devices = opened(serial_number="42")
    camera.nodes.TriggerSoftware.execute = lambda: None
    with pytest.raises(InstrumentError, match=r"GenICam camera, exposure: no buffer within 5\.0 s"):
        devices.camera.snap()
    with pytest.raises(InstrumentError, match="GenICam camera, 43: no device found"):
        opened(serial_number="43")
    assert camera.log[-1] == "reset"
    with pytest.raises(InstrumentError, match="has no attribute 'Sharpness'"):
        opened(features={"Sharpness": 3})


def test_what_is_missing_is_named(opened, monkeypatch):
    with pytest.raises(SettingsError, match=r"other\.cti is not there: it comes with the camera maker's software"):
        opened(producer="other.cti")
    monkeypatch.setattr("parfocal.devices.genicam.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install parfocal\[genicam\]"):
        opened()


def test_a_frame_that_comes_too_late_is_not_taken_for_the_next_one(opened, camera):
    devices = opened()
    camera.scene, camera.is_late = 60, True
    with pytest.raises(InstrumentError, match="no buffer"):
        devices.camera.snap()
    camera.scene, camera.is_late = 200, False
    assert devices.camera.snap()[0, 0, 0] == 200
    assert devices.camera.snap()[0, 0, 0] == 200
    assert camera.log.count("start") == 2


def test_a_frame_of_which_nothing_came_is_told_of(opened, camera):
    devices = opened()
    camera.is_incomplete = True
    with pytest.raises(InstrumentError, match="a frame came incomplete"):
        devices.camera.snap()
    camera.is_incomplete = False
    assert devices.camera.snap().mean() == 120


def test_producers_are_found_where_gentl_says_that_they_are_and_not_loaded(tmp_path, monkeypatch, camera):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.cti").touch()
    monkeypatch.setenv("GENICAM_GENTL64_PATH", f"{tmp_path / 'one'}:{tmp_path / 'two'}:{tmp_path / 'gone'}")
    found = DRIVER.find()
    assert [Path(one.settings["producer"]).name for one in found] == ["one.cti", "two.cti"]
    assert camera.log == []
    monkeypatch.delenv("GENICAM_GENTL64_PATH")
    assert DRIVER.find() == []
