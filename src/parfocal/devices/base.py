"""One narrow Protocol per device. Simulated, replayed and real devices are peers behind them.

Signs: +z moves the specimen towards the objective ("up"). x and y are stage coordinates in µm of the centre of
the field; +x is towards the right of the frame, +y towards its bottom.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
"""What the camera returned: uint8 (Y, X, 3), RGB."""


@runtime_checkable
class Camera(Protocol):
    """Returns frames exposed after the call."""

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""

    @property
    def pixel_size_um(self) -> float:
        """Size of a frame's pixel in the specimen plane, in µm."""

    def snap(self) -> Frame:
        """Expose one frame, uint8 (Y, X, 3). Raises InstrumentError if none comes."""


@runtime_checkable
class XYStage(Protocol):
    """Moves the slide sideways."""

    @property
    def position_um(self) -> tuple[float, float]:
        """Position (x_um, y_um) as the stage reports it."""

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x_min, x_max), (y_min, y_max)) in µm."""

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""


@runtime_checkable
class ZStage(Protocol):
    """Moves the specimen along the optical axis. A stage with backlash does not hide it."""

    @property
    def position_um(self) -> float:
        """Position in µm as the stage reports it (what was commanded, on an open-loop stage)."""

    @property
    def limits_um(self) -> tuple[float, float]:
        """(lowest, highest) position in µm."""

    def move_to(self, z_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""


@runtime_checkable
class Homing(Protocol):
    """A stage that can find its zero again, by a switch or a mark. Other stages do not have it."""

    def home(self) -> None:
        """Go to the reference and take it for what it is: afterwards the stage's position is true again, whatever steps
        were lost. A z stage goes away from the objective. Raises InstrumentError if the reference is not found.
        """


@runtime_checkable
class RecordedZ(Protocol):
    """What a z stage can answer, beside moving, when it stands only at recorded planes. Other stages do not have it."""

    def nearest_um(self, z_um: float) -> float:
        """The recorded position nearest to z_um, in µm; an end of the record for a target beyond it."""

    def nearest_pair_um(self, z_um: float, delta_um: float) -> tuple[float, float]:
        """The recorded pair (first, second) in µm, about delta_um apart, whose first is nearest to z_um."""


@runtime_checkable
class Lamp(Protocol):
    """The light source."""

    @property
    def is_on(self) -> bool:
        """Whether the lamp is lit."""

    def on(self) -> None:
        """Light it."""

    def off(self) -> None:
        """Put it out. Safe to call at any time, any number of times."""


@runtime_checkable
class Clock(Protocol):
    """Instrument time. On a real instrument the clock on the wall; on a simulated one, exact modelled time."""

    @property
    def now_s(self) -> float:
        """Seconds since the instrument was opened."""

    def spend(self, duration_s: float) -> None:
        """Account for work that took `duration_s` on the modelled computer. Nothing to do on a real clock."""

    def together(self, *actions: Callable[[], None]) -> None:
        """Do things at the same time, such as moving two stages and thinking, and wait for all of them.

        All of them end before the first error, in the order given, is raised.
        """


@runtime_checkable
class Truth(Protocol):
    """What only a simulated instrument knows. For reports and tests; focus and motion never see it."""

    @property
    def stage_position_um(self) -> tuple[float, float, float]:
        """True (x, y, z) of the stage in µm, backlash and errors included."""

    def best_focus_um(self, x_um: float, y_um: float) -> float:
        """True stage z in µm at which the field at true (x_um, y_um) is in best focus (design: peak of the
        noise-free Tenengrad over the central 448² canonical pixels)."""

    def is_tissue(self, x_um: float, y_um: float) -> bool:
        """Whether green optical density exceeds 0.05 on at least 1 % of the noise-free frame at best focus."""
