"""Axes as an instrument's file declares them: +x towards the right of the frame, +y its bottom, +z the objective."""

from __future__ import annotations

from dataclasses import dataclass

from parfocal.devices.base import Homing, XYStage, ZStage


@dataclass(frozen=True)
class AxisDirections:
    """How a device's axes lie against ours.

    Attributes:
        invert: axes, of "x", "y" and "z" in our sense, that run the other way.
        swap_xy: whether the device's x moves what we call y.
    """

    invert: frozenset[str] = frozenset()
    swap_xy: bool = False

    def sign(self, axis: str) -> int:
        """1, or −1 for an axis that runs the other way."""
        return -1 if axis in self.invert else 1

    def turns_xy(self) -> bool:
        """Whether x and y differ from the device's."""
        return self.swap_xy or bool(self.invert & {"x", "y"})


class DirectedXY:
    """An x-y stage in our directions.

    Args:
        stage: the device, in its own.
        directions: how they differ.
    """

    def __init__(self, stage: XYStage, directions: AxisDirections) -> None:
        self._stage = stage
        self._swap = directions.swap_xy
        self._signs = (directions.sign("x"), directions.sign("y"))
        if isinstance(stage, Homing):
            self.home = stage.home

    @property
    def position_um(self) -> tuple[float, float]:
        """Position (x_um, y_um) as the stage reports it."""
        first, second = self._stage.position_um
        x, y = (second, first) if self._swap else (first, second)
        return self._signs[0] * x, self._signs[1] * y

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x_min, x_max), (y_min, y_max)) in µm."""
        first, second = self._stage.limits_um
        x, y = (second, first) if self._swap else (first, second)
        return _signed(x, self._signs[0]), _signed(y, self._signs[1])

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""
        x, y = self._signs[0] * x_um, self._signs[1] * y_um
        self._stage.move_to(*((y, x) if self._swap else (x, y)))


class InvertedZ:
    """A z stage whose own axis runs away from the objective, in our direction.

    Args:
        stage: the device, in its own; kept as an attribute.
    """

    def __init__(self, stage: ZStage) -> None:
        self.stage = stage
        if isinstance(stage, Homing):
            self.home = stage.home

    @property
    def position_um(self) -> float:
        """Position in µm as the stage reports it; up is towards the objective."""
        return -self.stage.position_um

    @property
    def limits_um(self) -> tuple[float, float]:
        """(lowest, highest) position in µm."""
        return _signed(self.stage.limits_um, -1)

    def move_to(self, z_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""
        self.stage.move_to(-z_um)


def _signed(limits_um: tuple[float, float], sign: int) -> tuple[float, float]:
    return limits_um if sign > 0 else (-limits_um[1], -limits_um[0])
