"""A USB camera gives frames exposed after the call, with exposure and white balance held. No camera is needed here."""

import threading
import time
from typing import ClassVar

import cv2
import numpy as np
import pytest
from contract import CameraContract, Connection, ConnectionContract, ExposureContract, FreshFramesContract

from parfocal.devices import uvc
from parfocal.devices.driver import Asked
from parfocal.devices.uvc import CaptureCamera, UvcSettings, hold_fixed
from parfocal.devices.wall_clock import WallClock
from parfocal.errors import DisconnectedError, InstrumentError

SHAPE = (48, 64)
FIXED = {
    cv2.CAP_PROP_AUTO_EXPOSURE: 3.0,
    cv2.CAP_PROP_EXPOSURE: 157.0,
    cv2.CAP_PROP_AUTO_WB: 1.0,
    cv2.CAP_PROP_WB_TEMPERATURE: 4600.0,
    cv2.CAP_PROP_GAIN: 0.0,
}


class Queue:
    """Stands in for cv2.VideoCapture: up to `held` frames wait that were exposed before they are asked for."""

    def __init__(self, held=4, properties=FIXED):
        self.scene = 60
        self.properties = {cv2.CAP_PROP_FRAME_HEIGHT: SHAPE[0], cv2.CAP_PROP_FRAME_WIDTH: SHAPE[1], **properties}
        self.stubborn = set()
        self.unplugged = self.released = False
        self._waiting = [self.scene] * held

    def grab(self):
        self._waiting.append(self.scene)  # the sensor goes on
        self._grabbed = self._waiting.pop(0)
        return not self.unplugged

    def read(self):
        if not self.grab():
            return False, None
        frame = np.full((*SHAPE, 3), self._grabbed, dtype=np.uint8)
        frame[..., 0] = 10  # blue comes first
        return True, frame

    def get(self, name):
        return self.properties.get(name, -1.0)

    def set(self, name, value):
        if name in self.stubborn or name not in self.properties:
            return False
        self.properties[name] = value
        return True

    def isOpened(self):  # noqa: N802
        return True

    def release(self):
        self.released = self.unplugged = True  # a capture that was released gives no frame


class TestCaptureCamera(CameraContract, FreshFramesContract):
    @pytest.fixture
    def queue(self):
        return Queue()

    @pytest.fixture
    def camera(self, queue):
        return CaptureCamera(queue, "/dev/video0", 0.5, stale_frames=5)

    @pytest.fixture
    def elsewhere(self, queue):
        return lambda: setattr(queue, "scene", 200)


class Exposing(Queue):
    """Bright by its exposure, of which it has 0.1 to 50 ms: it cuts off what it is told beyond, as many do."""

    def set(self, name, value):
        return super().set(name, min(max(value, 1.0), 500.0) if name == cv2.CAP_PROP_EXPOSURE else value)

    def grab(self):
        self.scene = self.properties[cv2.CAP_PROP_EXPOSURE] / 2
        return super().grab()


class TestExposure(ExposureContract):
    @pytest.fixture
    def camera_at(self):
        def open_at(exposure_ms):
            queue = Exposing(held=0)
            hold_fixed(queue, UvcSettings(exposure_ms=exposure_ms))
            return CaptureCamera(queue, "/dev/video0", 0.5, stale_frames=0)

        return open_at

    @pytest.fixture
    def exposures_ms(self):
        return 10.0, 40.0, 900.0


class TestConnection(ConnectionContract):
    cannot: ClassVar = {
        "silence": "OpenCV gives a frame up by itself after 10 s, then as for one that was unplugged",
        "place": "a camera stands nowhere",
    }

    @pytest.fixture
    def connection(self, video0):
        path, queue = video0

        def open_it():
            queue.unplugged = False
            devices = opened(path)
            return devices.close, devices.camera.snap, tuple

        return Connection(open_it)


class TestVideoFile(CameraContract):
    """The same class over what OpenCV really decodes."""

    @pytest.fixture
    def camera(self, tmp_path):
        path = str(tmp_path / "clip.avi")
        clip = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 25, (SHAPE[1], SHAPE[0]))
        for _ in range(40):
            clip.write(np.full((*SHAPE, 3), (20, 90, 200), dtype=np.uint8))
        clip.release()
        return CaptureCamera(cv2.VideoCapture(path), path, 0.5, stale_frames=2)

    def test_colours_are_in_our_order(self, camera):
        red, green, blue = camera.snap().mean((0, 1))
        assert red > green > blue


def test_too_few_thrown_away_leave_a_frame_from_before_the_move():
    queue = Queue(held=4)
    camera = CaptureCamera(queue, "/dev/video0", 0.5, stale_frames=2)
    queue.scene = 200
    assert camera.snap()[0, 0, 0] == 60  # why `stale_frames` must cover the driver's queue


def test_colours_come_as_red_green_blue():
    frame = CaptureCamera(Queue(), "/dev/video0", 0.5, stale_frames=0).snap()
    assert frame[0, 0].tolist() == [60, 60, 10]
    assert frame.flags.c_contiguous


def test_an_unplugged_camera_is_told_of():
    queue = Queue()
    queue.unplugged = True
    for stale_frames in (0, 2):
        with pytest.raises(DisconnectedError, match=r"/dev/video0: no frame came; is it still plugged in\?"):
            CaptureCamera(queue, "/dev/video0", 0.5, stale_frames).snap()


def test_exposure_and_white_balance_are_held_where_the_automatics_left_them():
    queue = Queue()
    hold_fixed(queue, UvcSettings())
    assert queue.get(cv2.CAP_PROP_AUTO_EXPOSURE) == 1.0
    assert queue.get(cv2.CAP_PROP_AUTO_WB) == 0.0
    assert queue.get(cv2.CAP_PROP_EXPOSURE) == 157.0
    assert queue.get(cv2.CAP_PROP_WB_TEMPERATURE) == 4600.0


def test_exposure_is_told_in_units_of_a_tenth_of_a_millisecond():
    queue = Queue()
    hold_fixed(queue, UvcSettings(exposure_ms=12.3, white_balance_k=5000, gain=4))
    assert queue.get(cv2.CAP_PROP_EXPOSURE) == 123.0
    assert queue.get(cv2.CAP_PROP_WB_TEMPERATURE) == 5000.0
    assert queue.get(cv2.CAP_PROP_GAIN) == 4.0


def test_a_camera_that_keeps_adapting_itself_is_refused():
    queue = Queue()
    queue.stubborn = {cv2.CAP_PROP_AUTO_EXPOSURE}
    with pytest.raises(InstrumentError, match="does not take 1 as manual exposure: it says 3"):
        hold_fixed(queue, UvcSettings())


def test_what_a_camera_does_not_have_cannot_adapt_itself_either():
    hold_fixed(Queue(properties={}), UvcSettings())
    with pytest.raises(InstrumentError, match="does not take 0 as manual white balance"):
        hold_fixed(Queue(properties={}), UvcSettings(white_balance_k=5000))


@pytest.fixture
def video0(tmp_path, monkeypatch):
    """A device file, and what OpenCV opens there."""
    queue = Queue()
    monkeypatch.setattr(uvc.cv2, "VideoCapture", lambda device, backend: queue)
    path = tmp_path / "video0"
    path.touch()
    return path, queue


def opened(path):
    return uvc.DRIVER.open(UvcSettings(device=str(path)), Asked(frozenset({"camera"}), SHAPE, 0.5, WallClock(), path))


def test_letting_go_releases_the_camera(video0):
    path, queue = video0
    devices = opened(path)
    assert devices.camera.frame_shape == SHAPE
    devices.close()
    assert queue.released


def test_a_camera_that_cannot_be_set_up_is_released(video0):
    path, queue = video0
    queue.stubborn = {cv2.CAP_PROP_AUTO_WB}
    with pytest.raises(InstrumentError, match="white balance"):
        opened(path)
    assert queue.released


def test_a_device_that_is_not_there_or_busy_or_forbidden_is_told_apart(video0, tmp_path, monkeypatch):
    path, queue = video0
    with pytest.raises(InstrumentError, match=r"is not there: is it plugged in\?"):
        opened(tmp_path / "video7")
    monkeypatch.setattr(queue, "isOpened", lambda: False)
    with pytest.raises(InstrumentError, match="another program uses it"):
        opened(path)
    monkeypatch.setattr(uvc.os, "access", lambda path, mode: False)
    with pytest.raises(InstrumentError, match="no permission"):
        opened(path)


def test_cameras_are_found_by_the_first_of_their_nodes(tmp_path, monkeypatch):
    for node, index, name in (("video0", 0, "USB Camera: USB Camera"), ("video1", 1, "USB Camera: USB Camera")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "index").write_text(f"{index}\n")
        (tmp_path / node / "name").write_text(f"{name}\n")
    monkeypatch.setattr(uvc, "_SYSTEM", tmp_path)
    (found,) = uvc.DRIVER.find()
    assert (found.address, found.description) == ("/dev/video0", "USB Camera: USB Camera")
    assert UvcSettings(**found.settings).device == "/dev/video0"


class Stamped(Queue):
    """Its frames bear the time at which they came, by the clock of the computer; the sensor takes one at each grab."""

    def __init__(self, held):
        super().__init__(held)
        self._came_ms = [1000 * time.monotonic() - 200] * held

    def grab(self):
        self._came_ms.append(1000 * time.monotonic() + 50)
        self.properties[cv2.CAP_PROP_POS_MSEC] = self._came_ms.pop(0)
        return super().grab()


def test_frames_that_say_when_they_came_are_thrown_away_for_as_long_as_that_was_before_the_call():
    queue = Stamped(held=12)  # more than are thrown away in any case: the camera has a queue of its own
    camera = CaptureCamera(queue, "/dev/video0", 0.5, stale_frames=5, exposure_ms=10.0)
    queue.scene = 200
    assert camera.snap()[0, 0, 0] == 200


def test_if_no_other_come_that_is_told():
    camera = CaptureCamera(Stamped(held=99), "/dev/video0", 0.5, stale_frames=5)
    with pytest.raises(InstrumentError, match="were exposed before they were asked for"):
        camera.snap()


def test_what_else_adapts_itself_is_switched_off_or_the_camera_refused():
    queue = Queue(properties={**FIXED, cv2.CAP_PROP_BACKLIGHT: 1.0})
    hold_fixed(queue, UvcSettings())
    assert queue.get(cv2.CAP_PROP_BACKLIGHT) == 0.0
    queue = Queue(properties={**FIXED, cv2.CAP_PROP_AUTOFOCUS: 1.0})
    queue.stubborn = {cv2.CAP_PROP_AUTOFOCUS}
    with pytest.raises(InstrumentError, match="does not take 0 as automatic focus: it says 1"):
        hold_fixed(queue, UvcSettings())


def test_a_camera_that_sends_other_pixels_than_it_was_told_is_refused(video0):
    path, queue = video0
    queue.properties[cv2.CAP_PROP_FOURCC] = float(cv2.VideoWriter.fourcc(*"YUYV"))
    queue.stubborn = {cv2.CAP_PROP_FOURCC}
    with pytest.raises(InstrumentError, match="does not send pixels as MJPG: it says YUYV"):
        opened(path)
    assert queue.released


def test_a_camera_is_not_let_go_of_while_another_thread_waits_for_a_frame(monkeypatch):
    monkeypatch.setattr(uvc, "_COMES_BACK_WITHIN_S", 0.0)
    queue, waits, may_go_on = Queue(), threading.Event(), threading.Event()
    camera = CaptureCamera(queue, "/dev/video0", 0.5, stale_frames=0)
    read = queue.read

    def hanging():
        waits.set()
        may_go_on.wait(10)
        return read()

    queue.read = hanging
    snapping = threading.Thread(target=camera.snap)
    snapping.start()
    assert waits.wait(10)
    with pytest.raises(InstrumentError, match="hangs and cannot be let go of"):
        camera.close()
    assert not queue.released
    may_go_on.set()
    snapping.join()
    camera.close()
    assert queue.released
