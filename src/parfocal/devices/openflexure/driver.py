"""The driver `openflexure`."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Annotated

from pydantic import Field

from parfocal.devices.driver import Asked, Devices, Driver, DriverSettings, Limits
from parfocal.devices.openflexure.connection import Connection
from parfocal.devices.openflexure.devices import ServerLamp, ServerMotors
from parfocal.devices.openflexure.versions import Api, Version, open_api
from parfocal.devices.stepped import AXES, SteppedAxis, SteppedXY, SteppedZ
from parfocal.devices.url_camera.snapshot import SnapshotCamera
from parfocal.errors import InstrumentError, SettingsError

_Positive = Annotated[float, Field(gt=0)]


class OpenFlexureSettings(DriverSettings):
    """An OpenFlexure microscope.

    Attributes:
        url: of its server.
        api: version of the API; "auto" asks the server.
        xy_um_per_step: µm of a step of x and y; by the server's camera-stage mapping if left out.
        z_um_per_step: µm of a step of z, which no camera can tell.
        x_limits_um: soft limits of x in µm; likewise y and z.
        origin_um: where our (0, 0, 0) is in the server's coordinates, in µm.
        settle_ms: pause after a move.
        stale_frames: how many pictures that come after a request may have been exposed before it.
        timeout_s: how long the server may take to answer, and a new picture to come.
        move_s: how long a move may take.
    """

    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    api: Version = "auto"
    xy_um_per_step: tuple[_Positive, _Positive] | None = None
    z_um_per_step: _Positive = 0.05
    x_limits_um: Limits
    y_limits_um: Limits
    z_limits_um: Limits
    origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    settle_ms: Annotated[float, Field(ge=0)] = 50.0
    stale_frames: Annotated[int, Field(ge=0, le=30)] = 1
    timeout_s: _Positive = 10.0
    move_s: _Positive = 60.0


def _open(settings: OpenFlexureSettings, asked: Asked) -> Devices:
    with ExitStack() as letting_go:
        connection = Connection(settings.url, settings.timeout_s, settings.move_s)
        letting_go.callback(connection.close)
        api = open_api(connection, settings.api)
        lamp = _lamp(api, asked, connection.name)
        camera = None
        if "camera" in asked.roles:
            camera = SnapshotCamera(
                api.picture, connection.name, asked.pixel_size_um, settings.stale_frames, settings.timeout_s
            )
        xy, z = _stages(settings, asked, api) if asked.roles & {"xy", "z"} else (None, None)
        letting_go.pop_all()
    return Devices(camera=camera, xy=xy, z=z, lamp=lamp, close=lambda: _close(connection, lamp))


def _lamp(api: Api, asked: Asked, name: str) -> ServerLamp | None:
    if "lamp" not in asked.roles:
        return None
    if not api.has_lamp:
        raise SettingsError(
            f"{name} has version 2 of the API, whose lamp is always on: "
            'set roles = ["camera", "xy", "z"], and for the lamp a table with driver = "always-on"'
        )
    return ServerLamp(api)


def _stages(settings: OpenFlexureSettings, asked: Asked, api: Api) -> tuple[SteppedXY | None, SteppedZ | None]:
    motors, settle_s = ServerMotors(api), settings.settle_ms / 1000
    x_um, y_um = settings.xy_um_per_step or api.camera_stage_mapping().um_per_step(
        asked.pixel_size_um, asked.frame_shape[0]
    )
    limits_um = (settings.x_limits_um, settings.y_limits_um, settings.z_limits_um)
    x, y, z = (
        SteppedAxis(name, per_step, origin, limits)
        for name, per_step, origin, limits in zip(
            AXES, (x_um, y_um, settings.z_um_per_step), settings.origin_um, limits_um, strict=True
        )
    )
    return (
        SteppedXY(motors, x, y, settle_s) if "xy" in asked.roles else None,
        SteppedZ(motors, z, settle_s) if "z" in asked.roles else None,
    )


def _close(connection: Connection, lamp: ServerLamp | None) -> None:
    if lamp is not None and lamp.is_on and not connection.is_closed:
        with suppress(InstrumentError):  # whoever lit it has been told, by the same attempt
            lamp.off()
    connection.close()


DRIVER = Driver(
    name="openflexure",
    summary="an OpenFlexure microscope, over the HTTP API of its server, version 2 or 3",
    roles=frozenset({"camera", "xy", "z", "lamp"}),
    settings=OpenFlexureSettings,
    open=_open,
)
