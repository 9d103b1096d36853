"""GenICam cameras (GigE Vision, USB3 Vision and others) through harvesters and the maker's GenTL producer.

Each exposure is triggered by software, so that no frame is older than the call.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from parfocal.devices.base import Frame
from parfocal.devices.driver import Asked, Devices, Driver, DriverSettings, Found
from parfocal.devices.pixels import BayerPattern, rgb_bytes
from parfocal.errors import InstrumentError, SettingsError

_Positive = Annotated[float, Field(gt=0)]
_FORMAT = re.compile(r"(?P<kind>Mono|RGB|BGR|Bayer(?P<first>RG|GR|GB|BG))(?P<bits>8|10|12|14|16)")
_PATTERNS: dict[str | None, BayerPattern] = {None: "", "RG": "RGGB", "GR": "GRBG", "GB": "GBRG", "BG": "BGGR"}
_TRIGGER = {"AcquisitionMode": "Continuous", "TriggerSelector": "FrameStart", "TriggerSource": "Software"}
_PRODUCERS = "GENICAM_GENTL64_PATH"
_FOUND = "a GenTL producer; its cameras are looked for when it is opened (add serial_number if there are several)"
_FIXED = ("ExposureAuto", "GainAuto", "BalanceWhiteAuto")


class GenicamSettings(DriverSettings):
    """A GenICam camera.

    Attributes:
        producer: the maker's GenTL producer, a .cti file.
        serial_number: which camera; the only one if empty.
        pixel_format: such as "RGB8", "BayerRG8", "Mono12"; as the camera has it if empty. Packed formats are not read.
        exposure_ms: exposure in ms.
        features: any other features of the camera, by name, set last.
        timeout_s: how long a frame may take.
    """

    producer: Path
    serial_number: str = ""
    pixel_format: str = ""
    exposure_ms: _Positive
    features: dict[str, str | int | float | bool] = Field(default_factory=dict)
    timeout_s: _Positive = 5.0


class GenicamCamera:
    """A camera that exposes when it is told to.

    Args:
        acquirer: harvesters' ImageAcquirer, acquiring, its trigger set up.
        pixel_size_um: size of a pixel in the specimen plane, in µm.
        timeout_s: how long a frame may take.
    """

    def __init__(self, acquirer: Any, pixel_size_um: float, timeout_s: float) -> None:
        self._acquirer = acquirer
        self._pixel_size_um = pixel_size_um
        self._timeout_s = timeout_s
        self._is_behind = False
        nodes = acquirer.remote_device.node_map
        self._frame_shape = int(nodes.Height.value), int(nodes.Width.value)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return self._frame_shape

    @property
    def pixel_size_um(self) -> float:
        """Size of a frame's pixel in the specimen plane, in µm."""
        return self._pixel_size_um

    def snap(self) -> Frame:
        """Trigger an exposure and wait for it: uint8 (Y, X, 3). Raises InstrumentError if none comes.

        After a failure the acquisition begins anew, lest the frame that came too late is taken for the next one.
        """
        with _speaking("exposure"):
            if self._is_behind:
                self._acquirer.stop()
                self._acquirer.start()
            self._is_behind = True
            frame = self._triggered()
            self._is_behind = False
        return frame

    def _triggered(self) -> Frame:
        self._acquirer.remote_device.node_map.TriggerSoftware.execute()
        with self._acquirer.fetch(timeout=self._timeout_s) as buffer:
            if not buffer.payload.components:
                raise InstrumentError("GenICam camera: a frame came incomplete")
            component = buffer.payload.components[0]
            return _frame(component.data, component.data_format, (component.height, component.width))


def _frame(values: np.ndarray[Any, Any], data_format: str, shape: tuple[int, int]) -> Frame:
    known = _FORMAT.fullmatch(data_format)
    if known is None:
        raise InstrumentError(f"GenICam camera: pixels come as {data_format}: choose a pixel_format such as RGB8")
    colours = 3 if known["kind"] in ("RGB", "BGR") else 1
    image = np.array(values).reshape(*shape, colours)  # a copy: the buffer goes back to the camera
    image = image[..., 0] if colours == 1 else image[..., ::-1] if known["kind"] == "BGR" else image
    return rgb_bytes(image, int(known["bits"]), _PATTERNS[known["first"]])


@contextmanager
def _speaking(what: str) -> Iterator[None]:
    """What the producer and the camera raise becomes an InstrumentError."""
    from genicam.genapi import GenericException as CameraError
    from genicam.gentl import GenericException as ProducerError

    try:
        yield
    except (CameraError, ProducerError, OSError, ValueError, AttributeError) as error:  # a node that is not there
        raise InstrumentError(f"GenICam camera, {what}: {error}") from error


def _open(settings: GenicamSettings, asked: Asked) -> Devices:
    if find_spec("harvesters") is None:
        raise SettingsError("the driver genicam needs harvesters: pip install parfocal[genicam]")
    producer = asked.folder / settings.producer
    if not producer.is_file():
        raise SettingsError(f"GenTL producer {producer} is not there: it comes with the camera maker's software")
    from harvesters.core import Harvester

    with ExitStack() as letting_go, _speaking(settings.serial_number or producer.name):
        harvester = Harvester()
        letting_go.callback(harvester.reset)
        harvester.add_file(str(producer))
        harvester.update()
        acquirer = harvester.create({"serial_number": settings.serial_number} if settings.serial_number else None)
        letting_go.callback(acquirer.destroy)
        _set_up(acquirer.remote_device.node_map, settings)
        acquirer.start()
        letting_go.callback(acquirer.stop)
        camera = GenicamCamera(acquirer, asked.pixel_size_um, settings.timeout_s)
        close = letting_go.pop_all().close
    return Devices(camera=camera, close=close)


def _set_up(nodes: Any, settings: GenicamSettings) -> None:
    """Fixed exposure, gain and white balance, a software trigger, then what the file asks for."""
    for name in _FIXED:
        if hasattr(nodes, name):
            getattr(nodes, name).value = "Off"
    if settings.pixel_format:
        nodes.PixelFormat.value = settings.pixel_format
    nodes.ExposureTime.value = 1000 * settings.exposure_ms  # SFNC counts in µs
    for name, value in (*_TRIGGER.items(), ("TriggerMode", "On"), *settings.features.items()):
        getattr(nodes, name).value = value


def _find() -> list[Found]:
    """Producers where GenTL says that they are; they are not loaded, so which cameras are there is not known yet."""
    folders = [Path(folder) for folder in os.environ.get(_PRODUCERS, "").split(os.pathsep) if folder]
    files = sorted({file for folder in folders for file in folder.glob("*.cti")})
    return [Found("genicam", str(file), _FOUND, {"producer": str(file)}) for file in files]


DRIVER = Driver(
    name="genicam",
    summary="a GenICam camera (GigE Vision, USB3 Vision), by its maker's GenTL producer",
    roles=frozenset({"camera"}),
    settings=GenicamSettings,
    open=_open,
    find=_find,
)
