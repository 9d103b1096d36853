"""The driver of Micro-Manager's devices."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.devices.base import Lamp
from parfocal.devices.driver import Asked, Devices, Driver, Found
from parfocal.devices.micromanager.camera import CameraOfCore
from parfocal.devices.micromanager.lamps import PropertyLampOfCore, ShutterOfCore
from parfocal.devices.micromanager.session import as_text, close_session, open_session, speaking
from parfocal.devices.micromanager.settings import MicroManagerSettings
from parfocal.devices.micromanager.stages import Arrival, XYStageOfCore, ZStageOfCore
from parfocal.errors import InstrumentError, SettingsError

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus


_EXPOSURE_WITHIN = 0.1
"""Share by which a camera may round its exposure."""
_FOUND = "a configuration of Micro-Manager (add xy_limits_um and z_limits_um: it knows no limits)"


def devices_of(session: CMMCorePlus, settings: MicroManagerSettings, asked: Asked) -> Devices:
    """Devices of a core that has its configuration already; closing them puts the lamp out, and leaves the core.

    Raises:
        SettingsError: if the core has no such device, or a stage's limits are not given.
        InstrumentError: if a device does not answer.
    """
    roles, arrival = asked.roles, Arrival(settings.arrives_within_um, settings.settle_s)
    camera = xy = z = lamp = None
    if "camera" in roles:
        label = _label(session, "camera", settings.camera, session.getCameraDevice())
        camera = CameraOfCore(session, label, asked.pixel_size_um, settings.bayer)
        if settings.exposure_ms is not None:
            _expose(session, label, settings.exposure_ms)
    if "xy" in roles:
        label = _label(session, "xy", settings.xy, session.getXYStageDevice())
        if settings.xy_limits_um is None:
            raise SettingsError(f"Micro-Manager does not know the limits of {label}: give xy_limits_um")
        xy = XYStageOfCore(session, label, settings.xy_limits_um, arrival)
    if "z" in roles:
        label = _label(session, "z", settings.z, session.getFocusDevice())
        if settings.z_limits_um is None:
            raise SettingsError(f"Micro-Manager does not know the limits of {label}: give z_limits_um")
        z = ZStageOfCore(session, label, settings.z_limits_um, arrival)
    if "lamp" in roles:
        lamp = _lamp(session, settings)
    return Devices(camera, xy, z, lamp, close=lamp.off if lamp else lambda: None)


def _expose(session: CMMCorePlus, label: str, exposure_ms: float) -> None:
    """Set the exposure; adapters pass over one that the camera does not have, without a word."""
    with speaking(label):
        session.setExposure(label, exposure_ms)
        has_ms = float(session.getExposure(label))
    if abs(has_ms - exposure_ms) > _EXPOSURE_WITHIN * exposure_ms:
        raise InstrumentError(
            f"Micro-Manager, {label}: does not take an exposure of {exposure_ms:g} ms, it has {has_ms:g} ms"
        )


def _lamp(session: CMMCorePlus, settings: MicroManagerSettings) -> Lamp:
    label = _label(session, "lamp", settings.lamp, session.getShutterDevice())
    if not settings.lamp_property:
        return ShutterOfCore(session, label)
    lit, out = as_text(settings.lamp_on), as_text(settings.lamp_off)
    return PropertyLampOfCore(session, label, settings.lamp_property, lit, out)


def _label(session: CMMCorePlus, role: str, named: str, by_configuration: str) -> str:
    label = named or by_configuration
    if not label:
        raise SettingsError(f'the configuration names no device for the {role}: give its label, {role} = "…"')
    loaded = session.getLoadedDevices()
    if label not in loaded:
        raise SettingsError(f"Micro-Manager has no device {label!r} for the {role}: it has {', '.join(loaded)}")
    return label


def _open(settings: MicroManagerSettings, asked: Asked) -> Devices:
    session = open_session(settings, asked.folder, set_up=asked.roles != {"lamp"})
    with ExitStack() as letting_go:
        letting_go.callback(close_session, session)
        devices = devices_of(session, settings, asked)
        letting_go.callback(devices.close)
        close = letting_go.pop_all().close
    return Devices(devices.camera, devices.xy, devices.z, devices.lamp, close)


def _find() -> list[Found]:
    """Configurations beside an installed Micro-Manager; which of them fits, only its owner knows."""
    if find_spec("pymmcore_plus") is None:
        return []
    from pymmcore_plus import find_micromanager

    folders = [Path(folder) for folder in find_micromanager(return_first=False)]
    return [
        Found("micromanager", str(file), _FOUND, {"configuration": str(file), "adapters": str(folder)})
        for folder in folders
        for file in sorted(folder.glob("*.cfg"))
    ]


DRIVER = Driver(
    name="micromanager",
    summary="whatever Micro-Manager drives, by its configuration file",
    roles=frozenset({"camera", "xy", "z", "lamp"}),
    settings=MicroManagerSettings,
    open=_open,
    find=_find,
)
