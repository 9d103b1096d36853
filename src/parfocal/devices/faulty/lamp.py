"""A lamp that goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

from parfocal.devices.base import Lamp
from parfocal.devices.faulty.strike import LineFault, Strikes, When

LampFault = LineFault | Literal["drop", "opposite", "goes-out"]
"""drop: an order does nothing. opposite: the other order is carried out. goes-out: it is lit, goes out by itself and
still says that it is on."""


class FaultyLamp:
    """A lamp one of whose faults strikes now and then.

    Args:
        lamp: a sound one.
        kind: of the fault.
        when: it strikes, in orders.
        wait: takes so many seconds.
    """

    def __init__(self, lamp: Lamp, kind: LampFault, when: When, wait: Callable[[float], None]) -> None:
        self._lamp = lamp
        self._kind = kind
        self.strikes = Strikes("lamp", kind, when, wait)
        self._says_on = False

    @property
    def is_on(self) -> bool:
        """Whether the lamp says that it is lit."""
        return self._says_on or self._lamp.is_on

    def reopen(self) -> Self:
        """Itself, on a line that works again. Raises DisconnectedError if it is gone."""
        self.strikes.reopen()
        return self

    def on(self) -> None:
        """Light it, unless the fault strikes."""
        self._switch(True)

    def off(self) -> None:
        """Put it out, unless the fault strikes."""
        self._switch(False)

    def _switch(self, wanted: bool) -> None:
        strikes = self.strikes.now()
        if strikes and self._kind == "drop":
            return
        goes_out = strikes and self._kind == "goes-out"
        self._says_on = goes_out and wanted
        is_on = wanted != (strikes and self._kind == "opposite") and not goes_out
        (self._lamp.on if is_on else self._lamp.off)()
