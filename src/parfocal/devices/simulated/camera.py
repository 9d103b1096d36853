"""Camera, lamp and clock of a simulated instrument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.base import Clock, Frame, Lamp
from parfocal.errors import InstrumentError, ParfocalError, SettingsError


class Sensor(Protocol):
    """From light to grey levels (`parfocal.optics.sensor.Sensor`)."""

    def expose(self, light: NDArray[np.float32], rng: np.random.Generator) -> Frame:
        """One frame uint8 (Y, X, 3) of light float32 (Y, X, 3)."""


class VirtualClock:
    """Modelled time, which stands still unless a device or a decision spends some. Exact on any machine."""

    def __init__(self) -> None:
        self._now_s = 0.0

    @property
    def now_s(self) -> float:
        """Seconds since the instrument was opened."""
        return self._now_s

    def spend(self, duration_s: float) -> None:
        """Let `duration_s` pass. Raises SettingsError if it is negative."""
        if not duration_s >= 0:
            raise SettingsError(f"a duration of {duration_s:g} s is not 0 s or more")
        self._now_s += duration_s

    def together(self, *actions: Callable[[], None]) -> None:
        """Do each from the same moment on; afterwards it is as late as when the last of them ended."""
        began_s = ended_s = self._now_s
        failures: list[ParfocalError] = []
        for action in actions:
            self._now_s = began_s
            try:
                action()
            except ParfocalError as error:
                failures.append(error)
            ended_s = max(ended_s, self._now_s)
        self._now_s = ended_s
        if failures:
            raise failures[0]


class SimulatedLamp:
    """A lamp that does what it is told.

    Args:
        file: where it keeps its state, "on" or "off", so that it outlives the process that lit it, as a real lamp does;
            None to keep it in memory.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._is_on = False

    @property
    def is_on(self) -> bool:
        """Whether the lamp is lit."""
        if self._file is None:
            return self._is_on
        try:
            return self._file.read_text(encoding="ascii").strip() == "on"
        except FileNotFoundError:
            return False
        except OSError as error:
            raise InstrumentError(f"lamp {self._file}: cannot read: {error.strerror}") from error

    def on(self) -> None:
        """Light it."""
        self._switch(True)

    def off(self) -> None:
        """Put it out."""
        self._switch(False)

    def _switch(self, is_on: bool) -> None:
        self._is_on = is_on
        if self._file is None:
            return
        try:
            self._file.write_text("on\n" if is_on else "off\n", encoding="ascii")
        except OSError as error:
            raise InstrumentError(f"lamp {self._file}: cannot write: {error.strerror}") from error


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """The simulated camera.

    Attributes:
        frame_shape: (Y, X) of a frame in pixels.
        pixel_size_um: size of a pixel in the specimen plane, in µm.
        frame_s: time of a triggered frame.
        shift_sigma_px: standard deviation of the picture's movement between frames, in pixels along each axis.
        flicker: relative standard deviation of the exposure.

    Raises:
        SettingsError: if the frame has no pixels or the pixel no size.
    """

    frame_shape: tuple[int, int] = (1024, 1224)
    pixel_size_um: float = 0.345
    frame_s: float = 0.033
    shift_sigma_px: float = 0.1
    flicker: float = 0.005

    def __post_init__(self) -> None:
        if min(self.frame_shape) < 1:
            raise SettingsError(f"a frame of {self.frame_shape[0]} × {self.frame_shape[1]} pixels has none")
        if not self.pixel_size_um > 0:
            raise SettingsError(f"pixel size {self.pixel_size_um:g} µm is not above 0 µm")


class SimulatedCamera:
    """A triggered colour camera that looks at a scene.

    Args:
        settings: frame, time, shift, flicker.
        scene: gives the light (Y, X, 3) of its frame, moved by (y, x) pixels.
        sensor: turns light into grey levels.
        lamp: while it is off, frames are dark.
        clock: on which frames take their time.
        rng: noise, flicker and shift.
    """

    def __init__(
        self,
        settings: CameraSettings,
        scene: Callable[[tuple[float, float]], NDArray[np.float32]],
        sensor: Sensor,
        lamp: Lamp,
        clock: Clock,
        rng: np.random.Generator,
    ) -> None:
        self._settings = settings
        self._scene = scene
        self._sensor = sensor
        self._lamp = lamp
        self._clock = clock
        self._rng = rng

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return self._settings.frame_shape

    @property
    def pixel_size_um(self) -> float:
        """Size of a pixel in the specimen plane, in µm."""
        return self._settings.pixel_size_um

    def snap(self) -> Frame:
        """Expose one frame, uint8 (Y, X, 3)."""
        self._clock.spend(self._settings.frame_s)
        if not self._lamp.is_on:
            return self._sensor.expose(np.zeros((*self.frame_shape, 3), dtype=np.float32), self._rng)
        shift_y, shift_x = self._rng.normal(0.0, self._settings.shift_sigma_px, 2)
        exposure = np.float32(1 + self._settings.flicker * self._rng.normal())
        return self._sensor.expose(self._scene((float(shift_y), float(shift_x))) * exposure, self._rng)
