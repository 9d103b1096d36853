"""Lamps that Micro-Manager switches: by a shutter, or by a property of a device."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parfocal.devices.micromanager.session import speaking

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus


class ShutterOfCore:
    """A lamp behind a shutter, or switched by one.

    Args:
        session: the core.
        label: the shutter's.
    """

    def __init__(self, session: CMMCorePlus, label: str) -> None:
        self._session = session
        self._label = label

    @property
    def is_on(self) -> bool:
        """Whether the shutter is open."""
        with speaking(self._label):
            return bool(self._session.getShutterOpen(self._label))

    def on(self) -> None:
        """Open it."""
        self._switch(True)

    def off(self) -> None:
        """Close it."""
        self._switch(False)

    def _switch(self, is_open: bool) -> None:
        with speaking(self._label):
            self._session.setShutterOpen(self._label, is_open)
            self._session.waitForDevice(self._label)


class PropertyLampOfCore:
    """A lamp that a property of a device switches, such as the label of a state device.

    Args:
        session: the core.
        label: the device's.
        name: the property's.
        lit: its value with the lamp lit.
        out: its value with the lamp out.
    """

    def __init__(self, session: CMMCorePlus, label: str, name: str, lit: str, out: str) -> None:
        self._session = session
        self._label = label
        self._name = name
        self._lit = lit
        self._out = out

    @property
    def is_on(self) -> bool:
        """Whether the property has another value than with the lamp out."""
        with speaking(self._label):
            return not _same(self._session.getProperty(self._label, self._name), self._out)

    def on(self) -> None:
        """Light it."""
        self._set(self._lit)

    def off(self) -> None:
        """Put it out."""
        self._set(self._out)

    def _set(self, value: str) -> None:
        with speaking(self._label):
            self._session.setProperty(self._label, self._name, value)
            self._session.waitForDevice(self._label)


def _same(value: str, other: str) -> bool:
    """Whether two values of a property mean the same: 0 and 0.0000 do."""
    try:
        return math.isclose(float(value), float(other), abs_tol=1e-9)
    except ValueError:
        return value == other
