"""An OpenFlexure microscope keeps every contract, over both versions of its API, emulated on the loopback interface."""

import json
import math
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
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

from emulated import LIMITS, asked
from parfocal.config import Instrument, open_microscope
from parfocal.devices.approach import lamp_lit
from parfocal.devices.driver import driver_named
from parfocal.devices.openflexure import connection as openflexure
from parfocal.devices.openflexure.versions import Mapping2D
from parfocal.emulators.openflexure import OpenFlexureState, openflexure_server
from parfocal.emulators.stand import Stand
from parfocal.emulators.web_camera import LoopbackServer, web_camera
from parfocal.errors import InstrumentError, SettingsError

DRIVER = driver_named("openflexure")
ROLES = {"v2": ("camera", "xy", "z"), "v3": ("camera", "xy", "z", "lamp")}
each_version = pytest.mark.parametrize("api", ["v2", "v3"])


@dataclass
class Emulated:
    """An emulated microscope, switched on."""

    instrument: Instrument
    stand: Stand
    state: OpenFlexureState
    server: LoopbackServer
    api: str

    def open(self, roles=None, frame_shape=(240, 320), **changes):
        quick = {"settle_ms": 0.0, "stale_frames": 0, "timeout_s": 2.0, "move_s": 2.0}
        settings = DRIVER.settings(url=self.server.url, **{**LIMITS, **quick, **changes})
        return DRIVER.open(settings, asked(roles or ROLES[self.api], frame_shape))


@pytest.fixture(scope="module")
def switched_on(small_toml):
    """Switch a microscope on: `with switched_on("v3") as emulated`."""

    @contextmanager
    def switch(api, haste=math.inf, stale_frames=0, **options):
        instrument = open_microscope(small_toml(), "blood-smear", 1)
        stand = Stand(instrument.microscope, haste, stale_frames)
        state = OpenFlexureState(stand, 0.345, **options)
        with openflexure_server(state, api) as server:
            yield Emulated(instrument, stand, state, server, api)

    return switch


@pytest.fixture(scope="module", params=["v2", "v3"])
def opened(request, switched_on):
    with switched_on(request.param) as emulated:
        emulated.stand.switch(True)
        devices = emulated.open()
        yield devices
        devices.close()


class TestCamera(CameraContract, FreshFramesContract):
    @pytest.fixture
    def camera(self, opened):
        return opened.camera

    @pytest.fixture
    def elsewhere(self, opened):
        return lambda: opened.xy.move_to(opened.xy.position_um[0] + 200.0, 200.0)


class TestExposure(ExposureContract):
    cannot: ClassVar = {"exposure": "the API of an OpenFlexure server is not used to set it: docs/openflexure.md"}

    @pytest.fixture
    def camera_at(self):
        pass

    @pytest.fixture
    def exposures_ms(self):
        pass


class TestConnection(ConnectionContract):
    @pytest.fixture(params=["v2", "v3"])
    def connection(self, request, switched_on, monkeypatch):
        with switched_on(request.param) as emulated:
            goals, hangs = iter(range(10, 100, 10)), threading.Event()

            def opened():
                devices = emulated.open(["xy", "z"], timeout_s=0.2)
                return devices.close, lambda: devices.z.move_to(float(next(goals))), lambda: devices.z.position_um

            def fall_silent():
                monkeypatch.setattr(emulated.state, "move", lambda *_, **__: hangs.wait(3))

            yield Connection(opened, fall_silent, 0.2)
            hangs.set()


class TestSettled(SettledContract):
    @pytest.fixture
    def emulated(self, switched_on):
        with switched_on("v3", haste=5.0) as emulated:
            yield emulated

    @pytest.fixture
    def z(self, emulated):
        return emulated.open(["z"]).z

    @pytest.fixture
    def z_places(self):
        return [40.0, -10.0]

    @pytest.fixture
    def stands_um(self, emulated):
        return lambda: emulated.stand.place_um[2]


class TestXY(XYContract):
    @pytest.fixture
    def xy(self, opened):
        return opened.xy

    @pytest.fixture
    def xy_places(self):
        return [(0.0, 0.0), (125.0, -2500.0), (-10_000.0, 10_000.0), (7.5, 2.5)]


class TestZ(ZContract):
    @pytest.fixture
    def z(self, opened):
        return opened.z

    @pytest.fixture
    def z_places(self):
        return [0.0, -22.0, -8.1, 299.9]


class TestLamp(LampContract):
    @pytest.fixture
    def lamp(self, switched_on):
        with switched_on("v3") as emulated:
            yield emulated.open(["lamp"]).lamp


class TestUmPerStep:
    @each_version
    def test_is_what_the_servers_own_calibration_says(self, switched_on, api):
        with switched_on(api) as emulated:
            devices = emulated.open(["xy", "z"])
            devices.xy.move_to(100.0, -50.0)
            devices.z.move_to(20.0)
            assert emulated.state.position() == {"x": 1000, "y": -500, "z": 400}
            assert emulated.stand.place_um == pytest.approx((100.0, -50.0, 20.0))

    def test_of_a_calibration_made_with_smaller_pictures(self):
        mapping = Mapping2D(((0.0, 6.9), (3.45, 0.0)), height_px=120)  # of 0.69 µm pixels, as 240 rows of 0.345 are
        assert mapping.um_per_step(0.345, 240) == pytest.approx((0.2, 0.1))

    def test_of_a_camera_that_is_turned(self):
        angle = math.radians(30)
        turned = 3.45 * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        mapping = Mapping2D(tuple(map(tuple, turned)), None)
        assert mapping.um_per_step(0.345, 240) == pytest.approx((0.1, 0.1))

    def test_of_a_calibration_that_cannot_be(self):
        with pytest.raises(InstrumentError, match="cannot be turned"):
            Mapping2D(((1.0, 1.0), (1.0, 1.0)), None).um_per_step(0.345, 240)

    @each_version
    def test_is_set_where_the_server_was_not_calibrated(self, switched_on, api):
        with switched_on(api, is_mapped=False) as emulated:
            with pytest.raises(InstrumentError, match=r"no camera-stage mapping yet.*or set xy_um_per_step"):
                emulated.open(["xy"])
            emulated.open(["xy"], xy_um_per_step=(0.1, 0.1)).xy.move_to(10.0, 0.0)
            assert emulated.state.position()["x"] == 100


@each_version
def test_the_server_is_asked_for_its_version(switched_on, api):
    other = {"v2": "v3", "v3": "v2"}[api]
    with switched_on(api) as emulated:
        emulated.open(api=api).close()
        with pytest.raises(InstrumentError, match=f"not as an OpenFlexure server with version {other[1]}"):
            emulated.open(api=other)


def test_a_server_of_something_else_is_told_of(switched_on):
    with switched_on("v3") as emulated, web_camera(emulated.stand) as camera:
        settings = DRIVER.settings(url=camera.url, **LIMITS)
        with pytest.raises(InstrumentError, match="answers, but not as an OpenFlexure server"):
            DRIVER.open(settings, asked(["z"]))


def test_version_2_says_that_it_has_no_lamp_to_switch(switched_on):
    with switched_on("v2") as emulated, pytest.raises(SettingsError, match='driver = "always-on"'):
        emulated.open(["camera", "lamp"])


def test_a_frame_after_a_move_is_exposed_after_it_though_the_server_keeps_old_ones(switched_on):
    with switched_on("v3", stale_frames=1) as emulated:
        devices = emulated.open(stale_frames=1)
        devices.lamp.on()
        lit = devices.camera.snap().mean()
        devices.lamp.off()
        assert devices.camera.snap().mean() < 0.2 * lit
        devices.close()


def test_a_server_that_calls_itself_otherwise_is_asked_at_the_address_that_was_given(switched_on, monkeypatch):
    with switched_on("v3") as emulated:
        grab = emulated.state.grab

        def grabbed():
            action = grab()
            action.output["href"] = f"http://microscope.invalid{action.output['href']}"
            return action

        monkeypatch.setattr(emulated.state, "grab", grabbed)
        devices = emulated.open(["camera"])
        assert devices.camera.frame_shape == (240, 320)
        devices.close()


class TestRedirects:
    """Of a server whose answers are a table: of each path its status, and where it redirects to."""

    HERE, THERE = "/api", "/api/"

    @pytest.fixture
    def asked_of(self):
        @contextmanager
        def asked_of(answers):
            class Answering(BaseHTTPRequestHandler):
                def do_GET(self):
                    self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    status, there = answers.get(self.path, (404, None))
                    self.send_response(status)
                    if there is not None:
                        self.send_header("Location", there)
                    self.end_headers()
                    self.wfile.write(json.dumps({"status": "completed", "output": self.command}).encode())

                do_POST = do_GET  # noqa: N815

                def log_message(self, *_):
                    pass

            with LoopbackServer(Answering) as server:
                connection = openflexure.Connection(server.url, 2.0, 2.0)
                yield connection
                connection.close()

        return asked_of

    @pytest.mark.parametrize("there", [THERE, f"https://microscope.invalid:5001{THERE}"])
    def test_are_followed_on_the_server_that_was_given(self, asked_of, there):
        with asked_of({self.HERE: (302, there), self.THERE: (200, None)}) as connection:
            assert connection.read(self.HERE)["output"] == "GET"
            assert connection.has(self.HERE)

    @pytest.mark.parametrize("status", [307, 308])
    def test_of_an_action_that_was_not_carried_out_are_followed_too(self, asked_of, status):
        with asked_of({self.HERE: (status, self.THERE), self.THERE: (200, None)}) as connection:
            assert connection.act(self.HERE, {"x": 1}) == "POST"

    def test_of_an_action_that_may_have_been_carried_out_are_told(self, asked_of):
        answers = {self.HERE: (302, self.THERE), self.THERE: (200, None)}
        with asked_of(answers) as connection, pytest.raises(InstrumentError, match=r"/api redirects to .*/api/: is"):
            connection.act(self.HERE, {"x": 1})

    @pytest.mark.parametrize("ask", ["read", "has"])
    def test_without_end_are_told_without_the_password_in_them(self, asked_of, ask):
        answers = {self.HERE: (301, f"https://user:secret@microscope.invalid{self.HERE}")}
        told = r"/api redirects to https://microscope\.invalid/api: is the url right"
        with asked_of(answers) as connection, pytest.raises(InstrumentError, match=told):
            getattr(connection, ask)(self.HERE)


class TestWhatIsWrong:
    def test_nobody_there(self, switched_on):
        with switched_on("v3") as emulated:
            pass
        with pytest.raises(InstrumentError, match="cannot be reached: is it switched on"):
            emulated.open()

    @each_version
    def test_a_move_that_fails_gives_the_servers_reason_and_nothing_moves_any_more(self, switched_on, api):
        with switched_on(api) as emulated:
            devices = emulated.open(["xy", "z"])
            emulated.state.fail_moves = 1
            with pytest.raises(InstrumentError, match="ended as 'error': Could not move the stage"):
                devices.z.move_to(10.0)
            with pytest.raises(InstrumentError, match="open it again"):
                devices.xy.move_to(10.0, 0.0)
            emulated.open(["z"]).z.move_to(10.0)

    def test_a_stage_that_somebody_else_moves_is_noticed(self, switched_on):
        with switched_on("v3") as emulated:
            devices = emulated.open(["xy", "z"])
            emulated.state.move({"z": 500}, absolute=True)
            with pytest.raises(InstrumentError, match=r"stands at \(100, 0, 500\) steps, it was sent to \(100, 0, 0\)"):
                devices.xy.move_to(10.0, 0.0)

    @each_version
    def test_a_move_is_waited_for_and_given_up_in_the_end(self, switched_on, api):
        with switched_on(api, haste=2.0) as emulated:
            devices = emulated.open(["z"])
            devices.z.move_to(20.0)
            assert not emulated.stand.is_moving
            devices = emulated.open(["z"], move_s=0.1)
            with pytest.raises(InstrumentError, match=r"did not end within 0\.1 s"):
                devices.z.move_to(200.0)
            emulated.stand.halt()

    def test_a_server_that_goes_away_in_between_says_that_the_lamp_may_be_lit(self, switched_on):
        with switched_on("v3") as emulated:
            devices = emulated.open()
            devices.lamp.on()
        with pytest.raises(InstrumentError, match="the lamp may still be lit"), lamp_lit(devices.lamp):
            devices.z.move_to(10.0)
        devices.close()
        devices.close()
