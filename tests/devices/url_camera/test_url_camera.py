"""A camera at a URL keeps the contract of cameras, gives no old picture for a new one, and tells its faults."""

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from threading import Event
from time import sleep
from typing import ClassVar

import numpy as np
import pytest
from contract import CameraContract, Connection, ConnectionContract, ExposureContract, FreshFramesContract

from emulated import asked
from parfocal.config import open_microscope
from parfocal.devices.driver import driver_named
from parfocal.devices.url_camera.driver import UrlCameraSettings
from parfocal.devices.url_camera.mjpeg import parts_of
from parfocal.devices.url_camera.pictures import without_password
from parfocal.emulators.stand import Stand
from parfocal.emulators.web_camera import LoopbackServer, encoded, web_camera
from parfocal.errors import InstrumentError

ADDRESSES = {"ppm": "/snapshot.ppm", "jpeg": "/?action=snapshot", "mjpeg": "/?action=stream"}


def opened(url, **settings):
    driver = driver_named("url-camera")
    return driver.open(driver.settings(url=url, **{"timeout_s": 1.0, "stale_frames": 0, **settings}), asked(["camera"]))


@pytest.fixture(scope="module")
def stand(small_toml):
    microscope = open_microscope(small_toml(), "blood-smear", 1).microscope
    microscope.lamp.on()
    return Stand(microscope)


class TestUrlCamera(CameraContract, FreshFramesContract):
    @pytest.fixture(params=list(ADDRESSES))
    def camera(self, request, stand):
        gives = "mjpeg" if request.param == "mjpeg" else "snapshot"
        with web_camera(stand) as server:
            devices = opened(server.url + ADDRESSES[request.param], gives=gives)
            yield devices.camera
            devices.close()

    @pytest.fixture
    def elsewhere(self, stand):
        x_um, y_um, z_um = stand.place_um
        return lambda: stand.start((x_um + 200.0, y_um + 200.0, z_um), 0.0)


class TestExposure(ExposureContract):
    cannot: ClassVar = {"exposure": "it is set in the camera's own program: docs/serial-boards.md"}

    @pytest.fixture
    def camera_at(self):
        pass

    @pytest.fixture
    def exposures_ms(self):
        pass


class TestConnection(ConnectionContract):
    cannot: ClassVar = {"place": "a camera stands nowhere"}

    @pytest.fixture(params=list(ADDRESSES))
    def connection(self, request, stand, monkeypatch):
        gives, hangs = "mjpeg" if request.param == "mjpeg" else "snapshot", Event()
        with web_camera(stand) as server:

            def opened_camera():
                devices = opened(server.url + ADDRESSES[request.param], gives=gives, timeout_s=0.4)
                return devices.close, devices.camera.snap, tuple

            def fall_silent():
                monkeypatch.setattr(stand.microscope.camera, "snap", lambda: hangs.wait(3))
                sleep(0.1)  # a picture may still be under way

            yield Connection(opened_camera, fall_silent, 0.4)
            hangs.set()


@contextmanager
def answering(answer):
    """A server that answers every GET by `answer(request)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *_):
            pass

    with LoopbackServer(Handler) as server:
        yield server.url


def pictures(*brightness):
    """Pictures one after the other, the last one again and again."""
    left = [encoded(np.full((4, 6, 3), (level, 0, 255), np.uint8), ".png") for level in brightness]

    def answer(request):
        body = left.pop(0) if len(left) > 1 else left[0]
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def snap_three(camera):
    for _ in range(3):
        camera.snap()


class TestFreshness:
    def test_a_frame_after_a_move_is_exposed_after_it_though_the_camera_keeps_old_ones(self, small_toml):
        microscope = open_microscope(small_toml(), "blood-smear", 1).microscope
        microscope.lamp.on()
        stand = Stand(microscope, stale_frames=2)
        with web_camera(stand) as server:
            devices = opened(server.url + "/snapshot.ppm", stale_frames=2)
            lit = devices.camera.snap().mean()
            stand.switch(False)
            assert devices.camera.snap().mean() < 0.2 * lit
            devices.close()

    def test_the_same_picture_again_is_no_new_one(self):
        with answering(pictures(10, 20, 20, 20, 30, 40)) as url:
            devices = opened(url)
            assert [int(devices.camera.snap()[0, 0, 0]) for _ in range(3)] == [20, 30, 40]

    def test_dark_pictures_may_be_the_same(self):
        body = encoded(np.zeros((4, 6, 3), np.uint8), ".jpg")

        def answer(request):
            request.send_response(200)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)

        with answering(answer) as url:
            assert opened(url).camera.snap().max() < 10

    def test_a_frozen_stream_is_told_of(self, stand):
        with web_camera(stand) as server:
            devices = opened(server.url + ADDRESSES["mjpeg"], gives="mjpeg", timeout_s=0.4)
            stand.frozen = devices.camera.snap()
            with pytest.raises(InstrumentError, match="only the same picture came"):
                snap_three(devices.camera)  # one may still be under way
            stand.frozen = None
            assert devices.camera.snap().mean() > 20
            devices.close()

    def test_a_frozen_camera_is_told_of(self):
        with answering(pictures(10, 20)) as url:
            devices = opened(url, timeout_s=0.2)
            devices.camera.snap()
            with pytest.raises(InstrumentError, match=r"gives the same picture again and again for 0\.2 s"):
                devices.camera.snap()


class TestWhatIsWrong:
    def test_nobody_there(self):
        with answering(pictures(10)) as url:
            pass
        with pytest.raises(InstrumentError, match="cannot be reached: is it switched on"):
            opened(url)

    @pytest.mark.parametrize(("code", "why"), [(401, "wants a password"), (404, "no such address"), (500, "HTTP 500")])
    def test_it_refuses(self, code, why):
        with answering(lambda request: request.send_error(code)) as url, pytest.raises(InstrumentError, match=why):
            opened(url)

    def test_a_password_is_not_repeated(self):
        with (
            answering(lambda request: request.send_error(401)) as url,
            pytest.raises(InstrumentError) as error,
        ):
            opened(url.replace("//", "//me:secret@"))
        assert "secret" not in str(error.value)

    @pytest.mark.parametrize(
        ("body", "why"), [(b"<html>", "not a picture"), (b"", "not a picture"), (b"\xff\xd8\xff\xe0cut", "cut off")]
    )
    def test_what_comes_is_no_picture(self, body, why):
        def answer(request):
            request.send_response(200)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)

        with answering(answer) as url, pytest.raises(InstrumentError, match=why):
            opened(url, timeout_s=0.2)

    def test_it_is_gone_in_between_and_comes_back(self, stand):
        with web_camera(stand) as server:
            devices = opened(server.url + "/snapshot.ppm", timeout_s=0.5)
            port = int(server.url.rpartition(":")[2])
        with pytest.raises(InstrumentError, match=r"broke off|cannot be reached"):
            devices.camera.snap()
        with web_camera(stand, port):
            assert devices.camera.snap().mean() > 20
        devices.close()

    def test_a_stream_that_ends_is_told_of_and_begun_again(self):
        ends = Event()

        def stream(request):
            request.send_response(200)
            request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
            request.end_headers()
            for level in (level for _ in range(100) for level in (40, 90) if not ends.is_set()):
                body = encoded(np.full((8, 8, 3), level, np.uint8), ".jpg")
                request.wfile.write(b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + body + b"\r\n")
                ends.wait(0.02)

        with answering(stream) as url:
            devices = opened(url, gives="mjpeg")
            ends.set()
            with pytest.raises(InstrumentError, match=r"the stream has ended|broke off"):
                devices.camera.snap()
            ends.clear()
            devices.camera._thread.join(2.0)
            assert devices.camera.snap().mean() > 20
            devices.close()


class TestPartsOf:
    HEAD = b"--b\r\nContent-Type: image/jpeg\r\n"

    @pytest.mark.parametrize("size", [1, 3, 7, 1000])
    def test_pictures_are_found_however_they_are_cut(self, size):
        with_length = self.HEAD + b"Content-Length: 4\r\n\r\n\r\n--\r\n"
        without = self.HEAD + b"\r\nabc\r\n"
        stream = with_length + without + without
        chunks = (stream[start : start + size] for start in range(0, len(stream), size))
        assert list(parts_of(chunks)) == [b"\r\n--", b"abc"]  # the third may not be whole

    def test_what_is_no_stream_is_given_up(self, monkeypatch):
        monkeypatch.setattr("parfocal.devices.url_camera.mjpeg._LARGEST_BYTES", 100)
        with pytest.raises(InstrumentError, match="not an MJPEG stream"):
            list(parts_of([b"x" * 60, b"x" * 60]))


def test_what_follows_the_question_mark_may_be_a_password_and_is_not_shown():
    assert without_password("http://me:secret@eye/shot.jpg?user=me&pwd=secret#top") == "http://eye/shot.jpg"


@pytest.mark.parametrize("url", ["http://[::1", "http://", "http://eye:99999999/"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ValueError, match=r"this is no URL|should match"):
        UrlCameraSettings(url=url)
