"""A lamp with a switch that only a hand can reach. The program cannot put it out, and says so where that matters."""

from __future__ import annotations

from parfocal.devices.driver import Asked, Devices, Driver, DriverSettings


class AlwaysOnLamp:
    """Takes orders and does nothing; `is_on` is what it was told last."""

    def __init__(self) -> None:
        self._is_on = False

    @property
    def is_on(self) -> bool:
        """What it was told last."""
        return self._is_on

    def on(self) -> None:
        """Take note."""
        self._is_on = True

    def off(self) -> None:
        """Take note."""
        self._is_on = False


def _open(_settings: DriverSettings, _asked: Asked) -> Devices:
    return Devices(lamp=AlwaysOnLamp())


DRIVER = Driver(
    name="always-on",
    summary="a lamp that is switched by hand",
    roles=frozenset({"lamp"}),
    settings=DriverSettings,
    open=_open,
)
