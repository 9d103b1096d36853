"""When a fault strikes, and what can go wrong on the line to any device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from parfocal.errors import DisconnectedError, InstrumentError, SettingsError

LineFault = Literal["raise", "disconnect", "gone", "delay", "hang"]
"""raise: the call fails and does nothing. disconnect: the device drops off; opened again (`reopen`), it is back. gone:
the same, and it cannot be opened again. delay: the call takes long, but not too long. hang: it does not come back."""

DELAY_S = 2.0
HANG_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class When:
    """At which calls a fault strikes.

    Attributes:
        call: the first, from 0.
        times: how many calls in a row, from that one on; math.inf for all of them.
        chance: instead, the probability of each call from `call` on.
        seed: of that chance.

    Raises:
        SettingsError: if a value is out of range.
    """

    call: int = 0
    times: float = 1
    chance: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.call < 0 or not self.times >= 1:
            raise SettingsError(f"a fault at call {self.call}, {self.times:g} times, never strikes")
        if self.chance is not None and not 0 < self.chance <= 1:
            raise SettingsError(f"chance {self.chance:g} is not above 0 and at most 1")


ALWAYS = When(times=math.inf)


class Strikes:
    """Counts the calls of a device, and lets its line fail where the fault is one of the line.

    Args:
        name: of the device, for messages.
        kind: of the fault.
        when: it strikes.
        wait: takes so many seconds, on the instrument's clock or on the wall's.
    """

    def __init__(self, name: str, kind: str, when: When, wait: Callable[[float], None]) -> None:
        self._name = name
        self._kind = kind
        self._when = when
        self._wait = wait
        self._rng = np.random.default_rng(when.seed)
        self._calls = 0
        self._is_off = False
        self.struck = 0

    def now(self) -> bool:
        """Count a call: whether the fault strikes it. A fault of the line has done so on return.

        Raises:
            InstrumentError: if the line fails.
        """
        if self._is_off:
            raise DisconnectedError(f"{self._name}: not connected")
        call, when = self._calls, self._when
        self._calls += 1
        if when.chance is None:
            strikes = when.call <= call < when.call + when.times
        else:
            strikes = call >= when.call and bool(self._rng.random() < when.chance)
        if strikes:
            self.struck += 1
            self._fail()
        return strikes

    def reopen(self) -> None:
        """The device is opened again. Raises DisconnectedError if it is gone."""
        if self._kind == "gone":
            raise DisconnectedError(f"{self._name}: no such device")
        self._is_off = False

    def drop_off(self) -> DisconnectedError:
        """The device is no longer there; the error to raise."""
        self._is_off = True
        return DisconnectedError(f"{self._name}: dropped off its line")

    def _fail(self) -> None:
        if self._kind == "raise":
            raise InstrumentError(f"{self._name}: error 42")
        if self._kind in ("disconnect", "gone"):
            raise self.drop_off()
        if self._kind in ("delay", "hang"):
            self._wait(DELAY_S if self._kind == "delay" else HANG_S)
