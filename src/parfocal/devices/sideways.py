"""Sideways motion with the measured backlash taken out, so that a serpentine's rows lie under one another."""

from __future__ import annotations

from parfocal.devices.approach import check_limits
from parfocal.devices.base import XYStage


class CompensatedXY:
    """An x-y stage that arrives where it was sent from either side.

    An axis that last moved towards negative positions stands its backlash too high; its commands are lowered by as
    much. Before the first move the slack's side is unknown, so the first move comes from below.

    Args:
        stage: the stage.
        backlash_um: measured slack of (x, y) on reversal, in µm.
    """

    def __init__(self, stage: XYStage, backlash_um: tuple[float, float]) -> None:
        self._stage = stage
        self._backlash_um = backlash_um
        self._position_um: tuple[float, float] | None = None
        self._lowered_um = [0.0, 0.0]

    @property
    def position_um(self) -> tuple[float, float]:
        """Where the slide stands, as far as backlash goes: the last target in µm, or what the stage reports."""
        return self._position_um or self._stage.position_um

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x_min, x_max), (y_min, y_max)) in µm: the stage's, less the backlash at the lower ends."""
        (x_min, x_max), (y_min, y_max) = self._stage.limits_um
        return (x_min + self._backlash_um[0], x_max), (y_min + self._backlash_um[1], y_max)

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""
        target_um = (x_um, y_um)
        for axis, axis_um, limits_um in zip("xy", target_um, self.limits_um, strict=True):
            check_limits(axis, axis_um, limits_um)
        if self._position_um is None:
            self._stage.move_to(x_um - self._backlash_um[0], y_um - self._backlash_um[1])
            self._position_um = (x_um - self._backlash_um[0], y_um - self._backlash_um[1])
        for axis_index, (before_um, after_um) in enumerate(zip(self._position_um, target_um, strict=True)):
            if after_um != before_um:
                self._lowered_um[axis_index] = self._backlash_um[axis_index] if after_um < before_um else 0.0
        self._position_um = target_um
        self._stage.move_to(x_um - self._lowered_um[0], y_um - self._lowered_um[1])
