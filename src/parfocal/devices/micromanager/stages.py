"""Stages that Micro-Manager drives. It knows no limits; they are held here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parfocal.devices.approach import check_limits
from parfocal.devices.micromanager.session import speaking
from parfocal.errors import InstrumentError

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus


@dataclass(frozen=True)
class Arrival:
    """When a move counts as done: the device is idle, has settled, and says that it stands where it was sent.

    Attributes:
        within_um: how far it may stand from there along each axis, in µm.
        settle_s: wait after the device is idle, in s.
    """

    within_um: float
    settle_s: float

    def check(self, label: str, target_um: tuple[float, ...], reported_um: tuple[float, ...]) -> None:
        """Raise InstrumentError if a stage did not arrive."""
        if any(abs(a - b) > self.within_um for a, b in zip(target_um, reported_um, strict=True)):
            sent, stands = (", ".join(f"{axis_um:.2f}" for axis_um in place) for place in (target_um, reported_um))
            raise InstrumentError(
                f"Micro-Manager, {label}: sent to {sent} µm, it says that it stands at {stands} µm, "
                f"more than {self.within_um:g} µm off"
            )


class XYStageOfCore:
    """An x-y stage.

    Args:
        session: the core.
        label: the stage's.
        limits_um: ((x_min, x_max), (y_min, y_max)) in µm, which the core does not know.
        arrival: when a move is done.
    """

    def __init__(
        self,
        session: CMMCorePlus,
        label: str,
        limits_um: tuple[tuple[float, float], tuple[float, float]],
        arrival: Arrival,
    ) -> None:
        self._session = session
        self._label = label
        self._limits_um = limits_um
        self._arrival = arrival

    @property
    def position_um(self) -> tuple[float, float]:
        """Position (x_um, y_um) as the stage reports it."""
        with speaking(self._label):
            x_um, y_um = self._session.getXYPosition(self._label)
        return float(x_um), float(y_um)

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x_min, x_max), (y_min, y_max)) in µm."""
        return self._limits_um

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""
        for axis, target_um, limits_um in zip("xy", (x_um, y_um), self._limits_um, strict=True):
            check_limits(axis, target_um, limits_um)
        with speaking(self._label):
            self._session.setXYPosition(self._label, x_um, y_um)
            self._session.waitForDevice(self._label)
        time.sleep(self._arrival.settle_s)
        self._arrival.check(self._label, (x_um, y_um), self.position_um)


class ZStageOfCore:
    """A focus drive, up being towards the objective.

    Args:
        session: the core.
        label: the drive's.
        limits_um: (lowest, highest) in µm as the core counts, which it does not know.
        arrival: when a move is done.

    Where the configuration declares that the drive's positive direction leads the specimen away from the objective, the
    axis is turned round here.

    Attributes:
        label: the drive's.
        direction: 1, or −1 where the axis is turned round.
    """

    def __init__(self, session: CMMCorePlus, label: str, limits_um: tuple[float, float], arrival: Arrival) -> None:
        self._session = session
        self.label = label
        self._arrival = arrival
        with speaking(label):
            self.direction = -1.0 if int(session.getFocusDirection(label)) < 0 else 1.0
        ends_um = sorted(self.direction * end_um for end_um in limits_um)
        self._limits_um = (ends_um[0], ends_um[1])

    @property
    def position_um(self) -> float:
        """Position in µm as the stage reports it."""
        with speaking(self.label):
            return self.direction * float(self._session.getPosition(self.label))

    @property
    def limits_um(self) -> tuple[float, float]:
        """(lowest, highest) position in µm."""
        return self._limits_um

    def move_to(self, z_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""
        check_limits("z", z_um, self._limits_um)
        with speaking(self.label):
            self._session.setPosition(self.label, self.direction * z_um)
            self._session.waitForDevice(self.label)
        time.sleep(self._arrival.settle_s)
        self._arrival.check(self.label, (z_um,), (self.position_um,))
