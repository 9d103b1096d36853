"""USB cameras (UVC) through Video4Linux: exposure and white balance held fixed, older frames thrown away."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal, Protocol

import cv2
import numpy as np
from pydantic import Field

from parfocal.devices.base import Frame
from parfocal.devices.driver import Asked, Devices, Driver, DriverSettings, Found
from parfocal.errors import DisconnectedError, InstrumentError, SettingsError

_MANUAL_EXPOSURE = 1.0  # V4L2_EXPOSURE_MANUAL
_UNKNOWN = -1.0  # of a property that the camera does not have
_ADAPTING = {"backlight compensation": cv2.CAP_PROP_BACKLIGHT, "automatic focus": cv2.CAP_PROP_AUTOFOCUS}
_UNITS_PER_MS = 10.0  # V4L2 counts exposure in 100 µs
_MOST_OLD_FRAMES = 30
_COMES_BACK_WITHIN_S = 15.0  # OpenCV gives a frame up after 10 s
_OLDEST_MS = 10_000.0  # a frame's time that lies farther back is of another clock
_SYSTEM = Path("/sys/class/video4linux")
_Positive = Annotated[float, Field(gt=0)]


class UvcSettings(DriverSettings):
    """A USB camera.

    Attributes:
        device: its device file.
        pixels: how it sends pictures: "MJPG" is fast and compressed, "YUYV" slow and not.
        exposure_ms: exposure in ms; where automatic exposure stands at the start if None.
        white_balance_k: colour temperature in K; where automatic white balance stands at the start if None.
        gain: as the camera counts; left as it is if None.
        stale_frames: frames thrown away before each one that is kept: what the driver may hold from before.
    """

    device: str = "/dev/video0"
    pixels: Literal["MJPG", "YUYV"] = "MJPG"
    exposure_ms: _Positive | None = None
    white_balance_k: _Positive | None = None
    gain: float | None = None
    stale_frames: Annotated[int, Field(ge=0, le=30)] = 5


class Capture(Protocol):
    """What is used of cv2.VideoCapture."""

    def grab(self) -> bool:
        """Take the next frame of the queue, undecoded."""

    def read(self) -> tuple[bool, Any]:
        """Take and decode it: BGR."""

    def get(self, name: int, /) -> float:
        """A property."""

    def set(self, name: int, value: float, /) -> bool:
        """Set a property; whether it could be."""

    def release(self) -> None:
        """Close it."""


class CaptureCamera:
    """A camera behind a queue of frames.

    Args:
        capture: an opened cv2.VideoCapture.
        who: its name, for messages.
        pixel_size_um: size of a pixel in the specimen plane, in µm.
        stale_frames: how many frames are thrown away in any case: the driver may hold so many from before a call.
        exposure_ms: exposure in ms, for frames that say when they came.
    """

    def __init__(
        self, capture: Capture, who: str, pixel_size_um: float, stale_frames: int, exposure_ms: float = 0.0
    ) -> None:
        self._capture = capture
        self._who = who
        self._pixel_size_um = pixel_size_um
        self._stale_frames = stale_frames
        self._exposure_ms = exposure_ms
        self._using = Lock()
        sides = (capture.get(cv2.CAP_PROP_FRAME_HEIGHT), capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self._frame_shape = (round(sides[0]), round(sides[1]))

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return self._frame_shape

    @property
    def pixel_size_um(self) -> float:
        """Size of a frame's pixel in the specimen plane, in µm."""
        return self._pixel_size_um

    def snap(self) -> Frame:
        """A frame exposed after the call, uint8 (Y, X, 3).

        Raises:
            DisconnectedError: if none comes.
            InstrumentError: if those that come were all exposed before the call, by the time that they bear.
        """
        with self._using:
            return self._fresh(1000 * time.monotonic())

    def close(self) -> None:
        """Let go of the camera, not while a call on another thread still waits for it: OpenCV would crash.

        Raises:
            InstrumentError: if that call does not come back.
        """
        if not self._using.acquire(timeout=_COMES_BACK_WITHIN_S):
            raise InstrumentError(f"camera {self._who} hangs and cannot be let go of: pull its plug")
        try:
            self._capture.release()
        finally:
            self._using.release()

    def _fresh(self, called_ms: float) -> Frame:
        for _ in range(self._stale_frames):
            if not self._capture.grab():
                raise self._gone()
        for _ in range(_MOST_OLD_FRAMES):
            there, frame = self._capture.read()
            if not there:
                raise self._gone()
            if not self._is_from_before(called_ms):
                return self._checked(frame)
        raise InstrumentError(f"camera {self._who}: the frames that come were exposed before they were asked for")

    def _is_from_before(self, called_ms: float) -> bool:
        """Whether the frame read last bears a time that tells so; many bear none."""
        came_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        is_of_our_clock = 0 <= 1000 * time.monotonic() - came_ms < _OLDEST_MS
        return is_of_our_clock and came_ms - self._exposure_ms < called_ms

    def _checked(self, frame: Any) -> Frame:
        if frame.shape != (*self._frame_shape, 3):
            raise InstrumentError(f"camera {self._who}: a frame of {frame.shape}, not {(*self._frame_shape, 3)}")
        return np.ascontiguousarray(frame[..., ::-1])

    def _gone(self) -> DisconnectedError:
        return DisconnectedError(f"camera {self._who}: no frame came; is it still plugged in?")


def hold_fixed(capture: Capture, settings: UvcSettings) -> None:
    """Fix exposure, white balance and gain: pictures can only be compared where nothing adapts itself.

    Raises:
        InstrumentError: if the camera does not take a value.
    """
    exposure, kelvin = settings.exposure_ms, settings.white_balance_k
    wanted: list[tuple[str, int, float]] = []
    if exposure is not None or capture.get(cv2.CAP_PROP_AUTO_EXPOSURE) != _UNKNOWN:
        units = capture.get(cv2.CAP_PROP_EXPOSURE) if exposure is None else round(exposure * _UNITS_PER_MS)
        wanted.append(("manual exposure", cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE))
        wanted.append(("exposure in 100 µs", cv2.CAP_PROP_EXPOSURE, units))
    if kelvin is not None or capture.get(cv2.CAP_PROP_AUTO_WB) != _UNKNOWN:
        kelvin = capture.get(cv2.CAP_PROP_WB_TEMPERATURE) if kelvin is None else kelvin
        wanted.append(("manual white balance", cv2.CAP_PROP_AUTO_WB, 0.0))
        wanted.append(("white balance in K", cv2.CAP_PROP_WB_TEMPERATURE, kelvin))
    if settings.gain is not None:
        wanted.append(("gain", cv2.CAP_PROP_GAIN, settings.gain))
    for what, name in _ADAPTING.items():
        if capture.get(name) not in (_UNKNOWN, 0.0):
            wanted.append((what, name, 0.0))
    for what, name, value in wanted:
        if not capture.set(name, value) or capture.get(name) != value:
            raise InstrumentError(
                f"camera {settings.device} does not take {value:g} as {what}: it says {capture.get(name):g}"
            )


def _open(settings: UvcSettings, asked: Asked) -> Devices:
    if not hasattr(os, "uname") or os.uname().sysname != "Linux":
        raise SettingsError("the driver uvc speaks Video4Linux, which only Linux has")
    _check_device(Path(settings.device))
    capture = cv2.VideoCapture(settings.device, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise InstrumentError(f"camera {settings.device} cannot be opened: another program uses it, or it is no camera")
    try:
        _set_pixels(capture, settings)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, asked.frame_shape[0])
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, asked.frame_shape[1])
        hold_fixed(capture, settings)
    except InstrumentError:
        capture.release()
        raise
    exposure_ms = capture.get(cv2.CAP_PROP_EXPOSURE) / _UNITS_PER_MS
    camera = CaptureCamera(capture, settings.device, asked.pixel_size_um, settings.stale_frames, max(0.0, exposure_ms))
    return Devices(camera=camera, close=camera.close)


def _set_pixels(capture: Capture, settings: UvcSettings) -> None:
    wanted = float(cv2.VideoWriter.fourcc(*settings.pixels))
    capture.set(cv2.CAP_PROP_FOURCC, wanted)
    sends = capture.get(cv2.CAP_PROP_FOURCC)
    if sends not in (wanted, _UNKNOWN, 0.0):
        name = int(sends).to_bytes(4, "little", signed=True).decode("ascii", "replace")
        raise InstrumentError(f"camera {settings.device} does not send pixels as {settings.pixels}: it says {name}")


def _check_device(path: Path) -> None:
    if not path.exists():
        raise InstrumentError(f"camera {path} is not there: is it plugged in?")
    if not os.access(path, os.R_OK | os.W_OK):
        raise InstrumentError(f"camera {path}: no permission; on most systems the group video has it")


def _find() -> list[Found]:
    """Video4Linux devices that take pictures; a camera's other nodes are left out."""
    found = []
    for node in sorted(_SYSTEM.glob("video*")):
        if (node / "index").read_text(encoding="ascii").strip() == "0":
            device = f"/dev/{node.name}"
            found.append(Found("uvc", device, (node / "name").read_text(encoding="utf-8").strip(), {"device": device}))
    return found


DRIVER = Driver(
    name="uvc",
    summary="a USB camera, through Video4Linux",
    roles=frozenset({"camera"}),
    settings=UvcSettings,
    open=_open,
    find=_find,
)
