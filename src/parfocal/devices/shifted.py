"""Stages whose zero has moved: what was called z = 3 µm before is reached again by calling it so."""

from __future__ import annotations

from parfocal.devices.approach import check_limits
from parfocal.devices.base import XYStage, ZStage


class ShiftedZ:
    """A z stage whose positions are told in another zero than its own.

    Args:
        stage: the stage.
        shift_um: what is called 0 here, by the stage's own count, in µm.
        limits_um: (lowest, highest) by the stage's own count, beside the stage's own limits, in µm.
    """

    def __init__(self, stage: ZStage, shift_um: float, limits_um: tuple[float, float]) -> None:
        self._stage = stage
        self._shift_um = shift_um
        self._own_um = (max(stage.limits_um[0], limits_um[0]), min(stage.limits_um[1], limits_um[1]))

    @property
    def position_um(self) -> float:
        """Position in µm."""
        return self._stage.position_um - self._shift_um

    @property
    def limits_um(self) -> tuple[float, float]:
        """(lowest, highest) position in µm."""
        return self._own_um[0] - self._shift_um, self._own_um[1] - self._shift_um

    def move_to(self, z_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""
        check_limits("z", z_um, self.limits_um)
        self._stage.move_to(z_um + self._shift_um)


class ShiftedXY:
    """An x-y stage whose positions are told in another zero than its own.

    Args:
        stage: the stage.
        shift_um: what is called (0, 0) here, by the stage's own count, in µm.
    """

    def __init__(self, stage: XYStage, shift_um: tuple[float, float]) -> None:
        self._stage = stage
        self._shift_um = shift_um

    @property
    def position_um(self) -> tuple[float, float]:
        """Position (x_um, y_um)."""
        (x_um, y_um), (shift_x, shift_y) = self._stage.position_um, self._shift_um
        return x_um - shift_x, y_um - shift_y

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x_min, x_max), (y_min, y_max)) in µm."""
        (x_min, x_max), (y_min, y_max) = self._stage.limits_um
        shift_x, shift_y = self._shift_um
        return (x_min - shift_x, x_max - shift_x), (y_min - shift_y, y_max - shift_y)

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""
        self._stage.move_to(x_um + self._shift_um[0], y_um + self._shift_um[1])
