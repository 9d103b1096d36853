"""The driver `url-camera`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Literal

from pydantic import Field, field_validator
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from parfocal.devices.driver import Asked, Devices, Driver, DriverSettings
from parfocal.devices.url_camera.mjpeg import StreamCamera
from parfocal.devices.url_camera.snapshot import PictureUrl, SnapshotCamera


class UrlCameraSettings(DriverSettings):
    """A camera at a URL.

    Attributes:
        url: of a picture, or of a stream.
        gives: "snapshot", one picture a request, or "mjpeg", a stream.
        stale_frames: how many pictures that come after a request may have been exposed before it.
        timeout_s: how long a picture may take.
    """

    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    gives: Literal["snapshot", "mjpeg"] = "snapshot"
    stale_frames: Annotated[int, Field(ge=0, le=30)] = 1
    timeout_s: Annotated[float, Field(gt=0)] = 5.0

    @field_validator("url")
    @classmethod
    def _is_one(cls, url: str) -> str:
        try:
            host = parse_url(url).host
        except LocationParseError:
            host = None
        if not host:
            raise ValueError("this is no URL")
        return url


def _open(settings: UrlCameraSettings, asked: Asked) -> Devices:
    stale_frames, timeout_s = settings.stale_frames, settings.timeout_s
    if settings.gives == "mjpeg":
        stream = StreamCamera(settings.url, asked.pixel_size_um, stale_frames, timeout_s)
        return Devices(camera=stream, close=stream.close)
    with ExitStack() as letting_go:
        source = PictureUrl(settings.url, timeout_s)
        letting_go.callback(source.close)
        camera = SnapshotCamera(source.fetch, source.name, asked.pixel_size_um, stale_frames, timeout_s)
        letting_go.pop_all()
    return Devices(camera=camera, close=source.close)


DRIVER = Driver(
    name="url-camera",
    summary="a camera that gives pictures at a URL: IP camera, mjpg-streamer, Raspberry Pi",
    roles=frozenset({"camera"}),
    settings=UrlCameraSettings,
    open=_open,
)
