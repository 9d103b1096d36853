"""An instrument put together from drivers: who gives camera, x-y, z and lamp, opened and let go of as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from parfocal.config.reopening import Reopenable
from parfocal.config.tables import InstrumentFile
from parfocal.devices.always_on import AlwaysOnLamp
from parfocal.devices.axes import AxisDirections, DirectedXY, InvertedZ
from parfocal.devices.base import Camera, Clock, Lamp
from parfocal.devices.driver import Asked, Devices, Driver, Role, driver_named
from parfocal.devices.microscope import Microscope
from parfocal.devices.wall_clock import WallClock
from parfocal.devices.watched import Reopening
from parfocal.errors import InstrumentError, SettingsError
from parfocal.optics.objective import Objective

FindDriver = Callable[[str], Driver[Any]]


def assembled_instrument(
    file: InstrumentFile, folder: Path, find_driver: FindDriver = driver_named
) -> tuple[Microscope, Callable[[], None], Reopening]:
    """Open every device of an instrument.

    Args:
        file: what it is made of.
        folder: where the paths in it begin.
        find_driver: gives a driver by its name.

    Returns:
        The microscope, what lets go of its devices, the lamp out first, and how a camera or a lamp of its own that
        dropped off is opened again.

    Raises:
        SettingsError: if a device is missing or given twice, a driver is unknown or its settings cannot be.
        InstrumentError: if a device does not answer; those that did are let go of.
    """
    clock = WallClock()
    with ExitStack() as letting_go:
        tables = _open(file, folder, clock, get_args(Role), letting_go, find_driver)
        opened = [table.devices for table in tables]
        camera = _given("camera", (devices.camera for devices in opened))
        if camera.frame_shape != file.camera.frame_shape:
            raise SettingsError(
                f"instrument {file.name}: camera.frame_shape is {file.camera.frame_shape} px, "
                f"the camera returns {camera.frame_shape} px"
            )
        lamp = _given("lamp", (devices.lamp for devices in opened))
        microscope = Microscope(
            name=file.name,
            camera=camera,
            xy=_given("xy", (devices.xy for devices in opened)),
            z=_given("z", (devices.z for devices in opened)),
            lamp=lamp,
            clock=clock,
            objective=Objective(**file.objective.model_dump()),
            sensor_pixel_um=file.camera.sensor_pixel_um,
            decision_time_s=file.decision_time_s,
            lamp_by_hand=isinstance(lamp, AlwaysOnLamp),
        )
        return microscope, letting_go.pop_all().close, _reopening(tables)


def assembled_lamp(file: InstrumentFile, folder: Path) -> tuple[Lamp, Callable[[], None]]:
    """Open the lamp alone, and what lets go of it.

    Raises:
        SettingsError: if only a hand can switch it; else as `assembled_instrument`.
        InstrumentError: if it does not answer.
    """
    with ExitStack() as letting_go:
        tables = _open(file, folder, WallClock(), ("lamp",), letting_go)
        lamp = _given("lamp", (table.devices.lamp for table in tables))
        if isinstance(lamp, AlwaysOnLamp):
            raise SettingsError(f"the lamp of {file.name} is switched by hand: switch it off, no program can")
        return lamp, letting_go.pop_all().close


def check_devices(file: InstrumentFile) -> None:
    """Raise SettingsError if an instrument's devices cannot be what its file says; nothing is opened."""
    for name in _owners(file).values():
        _settings(file, name, driver_named(file.devices[name].driver))


def _open(
    file: InstrumentFile,
    folder: Path,
    clock: Clock,
    roles: Iterable[Role],
    letting_go: ExitStack,
    find_driver: FindDriver = driver_named,
) -> list[Reopenable]:
    owners = _owners(file)
    wanted: dict[str, set[Role]] = {}
    for role in sorted(roles, key=lambda role: role == "xy"):  # z before x and y, lest they drive it against something
        wanted.setdefault(owners[role], set()).add(role)
    opened: list[Reopenable] = []
    for name, of_it in wanted.items():
        table = file.devices[name]
        driver = find_driver(table.driver)
        settings = _settings(file, name, driver)
        asked = Asked(frozenset(of_it), file.camera.frame_shape, file.camera.pixel_size_um, clock, folder)
        directions = AxisDirections(frozenset(table.invert), table.swap_xy)
        of_table = Reopenable(partial(_opened, driver, settings, asked, directions))
        letting_go.callback(of_table.close)
        opened.append(of_table)
    return opened


def _opened(driver: Driver[Any], settings: Any, asked: Asked, directions: AxisDirections) -> Devices:
    return _directed(driver.open(settings, asked), directions)


def _reopening(tables: list[Reopenable]) -> Reopening:
    """Of those whose table has no stage, and no other device that would be opened with it."""
    camera = lamp = None
    for table in tables:
        match table.devices:
            case Devices(camera=Camera(), xy=None, z=None, lamp=None):
                camera = table.camera
            case Devices(camera=None, xy=None, z=None, lamp=Lamp()):
                lamp = table.lamp
    return Reopening(camera=camera, lamp=lamp)


def _owners(file: InstrumentFile) -> dict[Role, str]:
    """Which table of `devices` gives each role; exactly one does."""
    owners: dict[Role, str] = {}
    for name, table in file.devices.items():
        offered = driver_named(table.driver).roles
        for role in table.roles or sorted(offered):
            if role not in offered:
                raise SettingsError(f"instrument {file.name}: devices.{name}: driver {table.driver} has no {role}")
            if role in owners:
                raise SettingsError(
                    f"instrument {file.name}: both devices.{owners[role]} and devices.{name} give the {role}; "
                    "say which by roles = […]"
                )
            owners[role] = name
    missing = [role for role in get_args(Role) if role not in owners]
    if missing:
        hint = '; a lamp without a wire is driver = "always-on"' if missing == ["lamp"] else ""
        raise SettingsError(f"instrument {file.name}: none of its devices gives the {missing[0]}{hint}")
    return owners


def _settings(file: InstrumentFile, name: str, driver: Driver[Any]) -> Any:
    values = file.devices[name].model_extra or {}
    try:
        return driver.settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"instrument {file.name}: devices.{name}.{where}: {first['msg']}, got {first['input']!r}"
        ) from error


def _directed(devices: Devices, directions: AxisDirections) -> Devices:
    xy, z = devices.xy, devices.z
    return Devices(
        camera=devices.camera,
        xy=DirectedXY(xy, directions) if xy and directions.turns_xy() else xy,
        z=InvertedZ(z) if z and directions.sign("z") < 0 else z,
        lamp=devices.lamp,
        close=devices.close,
    )


_Device = TypeVar("_Device")


def _given(role: Role, devices: Iterable[_Device | None]) -> _Device:
    for device in devices:
        if device is not None:
            return device
    raise InstrumentError(f"the driver that was to give the {role} did not")
