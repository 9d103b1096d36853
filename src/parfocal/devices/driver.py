"""How real devices come into an instrument: a driver is one module that says what it can be told and opens it.

An instrument's file names drivers (`[devices.NAME] driver = "…"`); each gives one or more of camera, x-y stage, z stage
and lamp. Drivers of other packages are found by their entry point in the group `parfocal.drivers`, or as
`module:ATTRIBUTE`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict

from parfocal.devices.base import Camera, Clock, Lamp, XYStage, ZStage
from parfocal.errors import SettingsError


def _finite_and_rising(limits_um: tuple[float, float]) -> tuple[float, float]:
    lowest_um, highest_um = limits_um
    if not -math.inf < lowest_um < highest_um < math.inf:
        raise ValueError(f"limits {lowest_um:g} … {highest_um:g} µm are not two finite, rising numbers")
    return limits_um


Limits = Annotated[tuple[float, float], AfterValidator(_finite_and_rising)]
"""(lowest, highest) in µm, as settings of a driver take them."""

Role = Literal["camera", "xy", "z", "lamp"]
ENTRY_POINTS = "parfocal.drivers"

BUILT_IN = {
    "always-on": "parfocal.devices.always_on:DRIVER",
    "files": "parfocal.devices.picture_files:DRIVER",
    "genicam": "parfocal.devices.genicam:DRIVER",
    "grbl": "parfocal.devices.serial_stage.drivers:GRBL",
    "marlin": "parfocal.devices.serial_stage.drivers:MARLIN",
    "micromanager": "parfocal.devices.micromanager.driver:DRIVER",
    "openflexure": "parfocal.devices.openflexure.driver:DRIVER",
    "sangaboard": "parfocal.devices.serial_stage.drivers:SANGABOARD",
    "url-camera": "parfocal.devices.url_camera.driver:DRIVER",
    "uvc": "parfocal.devices.uvc:DRIVER",
}
"""Where the drivers that come with Parfocal are; each is imported when an instrument asks for it."""


class DriverSettings(BaseModel):
    """What an instrument's file may say about a driver's devices; a driver derives its own. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Asked:
    """What an instrument wants of a driver.

    Attributes:
        roles: which devices; nothing else need be opened, so that a lamp can be put out while a camera is busy.
        frame_shape: (Y, X) of the frames in pixels that the camera is to return.
        pixel_size_um: size of a frame's pixel in the specimen plane, in µm.
        clock: instrument time.
        folder: where relative paths in the settings begin.
    """

    roles: frozenset[Role]
    frame_shape: tuple[int, int]
    pixel_size_um: float
    clock: Clock
    folder: Path


def nothing() -> None:
    """Nothing is to be closed."""


@dataclass(frozen=True)
class Devices:
    """What a driver opened, and how to let go of it; `close` puts the lamp out first and may be called twice."""

    camera: Camera | None = None
    xy: XYStage | None = None
    z: ZStage | None = None
    lamp: Lamp | None = None
    close: Callable[[], None] = nothing


@dataclass(frozen=True)
class Found:
    """A device that seems to be connected.

    Attributes:
        driver: name of the driver that would open it.
        address: port, URL or number, as the driver's settings take it.
        description: what it says of itself, in words.
        settings: TOML keys and values that would open it, without `driver`.
    """

    driver: str
    address: str
    description: str
    settings: dict[str, Any]


def none_found() -> list[Found]:
    """A driver that cannot look for its devices."""
    return []


_Settings = TypeVar("_Settings", bound=DriverSettings)


@dataclass(frozen=True)
class Driver(Generic[_Settings]):
    """One kind of device.

    Attributes:
        name: as instruments' files call it.
        summary: one line about it.
        roles: devices that it can give.
        settings: what it can be told, as a pydantic model.
        open: opens the devices asked for. Raises InstrumentError if they do not answer, and lets go of everything then.
        find: what of its kind is connected now; asks carefully, moves nothing.
    """

    name: str
    summary: str
    roles: frozenset[Role]
    settings: type[_Settings]
    open: Callable[[_Settings, Asked], Devices]
    find: Callable[[], list[Found]] = none_found


def driver_names() -> list[str]:
    """Names of the drivers that come with Parfocal or are installed beside it."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINTS))})


def driver_named(name: str) -> Driver[Any]:
    """Import a driver.

    Args:
        name: a name of `driver_names`, or module:ATTRIBUTE.

    Raises:
        SettingsError: if there is none, or what it needs is not installed.
    """
    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    where = BUILT_IN.get(name) or installed.get(name) or name
    module, _, attribute = where.partition(":")
    if not attribute:
        raise SettingsError(f"unknown driver {name!r}: choose one of {', '.join(driver_names())}, or module:ATTRIBUTE")
    try:
        driver = getattr(import_module(module), attribute, None)
    except ImportError as error:
        raise SettingsError(f"driver {name!r} cannot be imported: {error}") from error
    if not isinstance(driver, Driver):
        raise SettingsError(f"driver {name!r}: {attribute} in {module} is not a parfocal.devices.driver.Driver")
    return driver
