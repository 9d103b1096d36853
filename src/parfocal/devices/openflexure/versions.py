"""What the two versions of the API call things."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from parfocal.devices.openflexure.connection import Connection
from parfocal.devices.stepped import AxisName, Steps
from parfocal.errors import InstrumentError

Version = Literal["auto", "v2", "v3"]
_EXTENSION = "api/v2/extensions/org.openflexure.camera_stage_mapping/get_calibration"


@dataclass(frozen=True)
class Mapping2D:
    """The server's own calibration of its stage by its camera.

    Attributes:
        steps_per_px: (2, 2); (dy, dx) in pixels times it is the way of the stage, (x, y) in steps.
        height_px: height of the pictures that it was made with; None if it does not say.
    """

    steps_per_px: tuple[tuple[float, float], tuple[float, float]]
    height_px: int | None

    def um_per_step(self, pixel_size_um: float, height_px: int) -> tuple[float, float]:
        """µm of a step of x and y.

        Args:
            pixel_size_um: of our frames, in µm.
            height_px: of our frames.

        Raises:
            InstrumentError: if the calibration is of no use.
        """
        try:
            px_per_step = np.linalg.inv(np.array(self.steps_per_px))
        except np.linalg.LinAlgError as error:
            raise InstrumentError(f"the server's camera-stage mapping {self.steps_per_px} cannot be turned") from error
        scaled_um = pixel_size_um * height_px / (self.height_px or height_px)
        x_um, y_um = (float(np.hypot(*row)) * scaled_um for row in px_per_step)
        return x_um, y_um


class Api(ABC):
    """A server, in one of its versions.

    Args:
        connection: to it.
    """

    has_lamp: bool

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @abstractmethod
    def position(self) -> Steps:
        """Where the stage stands."""

    @abstractmethod
    def move(self, target: Mapping[AxisName, int]) -> None:
        """Drive the named axes to these steps, and return when the server says that they are there."""

    @abstractmethod
    def picture(self) -> bytes:
        """The next picture of the camera's stream, a JPEG file."""

    @abstractmethod
    def light(self, is_on: bool) -> None:
        """Switch the lamp."""

    @abstractmethod
    def mapping(self) -> Any:
        """What the server says of its camera-stage mapping."""

    def camera_stage_mapping(self) -> Mapping2D:
        """The calibration of the stage by the camera. Raises InstrumentError if there is none."""
        found = self.mapping()
        if found is None:
            raise InstrumentError(
                f"{self._connection.name} has no camera-stage mapping yet: calibrate it in its own program, "
                "or set xy_um_per_step"
            )
        try:
            (a, b), (c, d) = found["matrix"]
            height = found["resolution"]
            numbers = ((float(a), float(b)), (float(c), float(d)))
            return Mapping2D(numbers, int(height[0]) if height else None)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise InstrumentError(f"{self._connection.name}: its camera-stage mapping is malformed, {found}") from error


class Api2(Api):
    """Version 2. Its lamp is always on."""

    has_lamp = False

    def position(self) -> Steps:
        """Where the stage stands."""
        return _steps(self._connection.read("api/v2/instrument/state/stage/position"))

    def move(self, target: Mapping[AxisName, int]) -> None:
        """Drive the named axes to these steps, and return when the server says that they are there."""
        self._connection.act("api/v2/actions/stage/move/", {"absolute": True, **_named(target)})

    def picture(self) -> bytes:
        """The next picture of the camera's stream, a JPEG file."""
        return self._connection.bytes_at("api/v2/streams/snapshot")

    def light(self, is_on: bool) -> None:
        """Raises InstrumentError: this version cannot switch it."""
        raise InstrumentError(f"{self._connection.name}: version 2 of the API cannot switch a lamp {is_on=}")

    def mapping(self) -> Any:
        """Matrix and resolution, or None."""
        found = self._connection.read(_EXTENSION) or {}
        inner = found.get("camera_stage_mapping_calibration") or found
        matrix = inner.get("image_to_stage_displacement")
        return None if matrix is None else {"matrix": matrix, "resolution": found.get("image_resolution")}


class Api3(Api):
    """Version 3.

    Args:
        connection: to the server.
        prefix: what its paths begin with.
    """

    has_lamp = True

    def __init__(self, connection: Connection, prefix: str) -> None:
        super().__init__(connection)
        self._prefix = prefix

    def position(self) -> Steps:
        """Where the stage stands."""
        return _steps(self._connection.read(f"{self._prefix}stage/position"))

    def move(self, target: Mapping[AxisName, int]) -> None:
        """Drive the named axes to these steps, and return when the server says that they are there."""
        self._connection.act(f"{self._prefix}stage/move_absolute", _named(target))

    def picture(self) -> bytes:
        """The next picture of the camera's main stream, a JPEG file."""
        blob = self._connection.act(f"{self._prefix}camera/grab_jpeg", {"stream_name": "main"})
        return self._connection.bytes_at(str(blob["href"]))

    def light(self, is_on: bool) -> None:
        """Switch the lamp."""
        self._connection.act(f"{self._prefix}illumination/set_led", {"led_on": is_on})

    def mapping(self) -> Any:
        """Matrix and resolution, or None."""
        place = f"{self._prefix}camera_stage_mapping/"
        matrix = self._connection.read(f"{place}image_to_stage_displacement_matrix")
        resolution = self._connection.read(f"{place}image_resolution") if matrix is not None else None
        return None if matrix is None else {"matrix": matrix, "resolution": resolution}


def open_api(connection: Connection, version: Version) -> Api:
    """The API that a server has. Raises InstrumentError if it has none of them."""
    if version != "v3" and connection.has("api/v2/instrument/state/stage/position"):
        return Api2(connection)
    if version != "v2":
        for prefix in ("api/v3/", ""):
            if connection.has(f"{prefix}stage/position"):
                return Api3(connection, prefix)
    wanted = "version 2 or 3" if version == "auto" else f"version {version[1:]}"
    raise InstrumentError(f"{connection.name} answers, but not as an OpenFlexure server with {wanted} of its API")


def _named(target: Mapping[AxisName, int]) -> dict[str, int]:
    return {axis: steps for axis, steps in target.items()}


def _steps(position: Any) -> Steps:
    try:
        return int(position["x"]), int(position["y"]), int(position["z"])
    except (TypeError, KeyError, ValueError) as error:
        raise InstrumentError(f"the server's position is malformed: {position!r}") from error
