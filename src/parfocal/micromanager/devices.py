"""Devices that a configuration file of Micro-Manager may name, for a core that is pymmcore-plus' UniMMCore.

    #py pyDevice,Microscope,parfocal.micromanager.devices,Instrument
    #py pyDevice,Camera,parfocal.micromanager.devices,Camera
    #py Property,Microscope,Name,simulated-20x
    #py Parent,Camera,Microscope

The instrument is opened when one of its devices is first used, and let go of when its hub is unloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from threading import Lock
from weakref import WeakValueDictionary

from pymmcore_plus.experimental.unicore import HubDevice

from parfocal.config import DEFAULT_SPECIMEN, open_microscope
from parfocal.config import Instrument as OpenedInstrument
from parfocal.devices.micromanager.offered import OfferedCamera, OfferedLamp, OfferedXYStage, OfferedZStage
from parfocal.devices.microscope import Microscope
from parfocal.errors import SettingsError

_NAME, _SPECIMEN, _SEED = "Name", "Specimen", "Seed"


class Instrument(HubDevice):
    """An instrument of Parfocal, as the hub of its devices: by Name, a built-in one or a TOML file's path."""

    def __init__(self) -> None:
        super().__init__()
        self._opened: OpenedInstrument | None = None
        self._opening = Lock()
        self.register_property(_NAME, default_value="simulated-20x", is_pre_init=True)
        self.register_property(_SPECIMEN, default_value=DEFAULT_SPECIMEN, is_pre_init=True)
        self.register_property(_SEED, default_value=0, is_pre_init=True)

    def initialize(self) -> None:
        """Let the devices find it. Raises SettingsError if another of that label lives in this process."""
        label = self.get_label()
        if _HUBS.get(label, self) is not self:
            raise SettingsError(f"there is an instrument {label!r} in this process already: give one another label")
        _HUBS[label] = self

    def shutdown(self) -> None:
        """Let go of the instrument, the lamp out first."""
        with ExitStack() as letting_go:  # all of it, whatever fails
            letting_go.callback(self._unregister)
            if self._opened is not None:
                opened, self._opened = self._opened, None
                letting_go.callback(opened.close)
                opened.microscope.lamp.off()

    def _unregister(self) -> None:
        if _HUBS.get(self.get_label()) is self:
            del _HUBS[self.get_label()]

    def get_installed_peripherals(self) -> Sequence[tuple[str, str]]:
        """The devices it has."""
        return [(kind.__name__, kind.__doc__ or "") for kind in (Camera, XYStage, ZStage, Lamp)]

    @property
    def microscope(self) -> Microscope:
        """The instrument's devices, opened now if they were not. Raises as `open_microscope`."""
        with self._opening:
            if self._opened is None:
                name, specimen, seed = (self.get_property_value(key) for key in (_NAME, _SPECIMEN, _SEED))
                self._opened = open_microscope(str(name), str(specimen), int(seed))
            return self._opened.microscope


_HUBS: WeakValueDictionary[str, Instrument] = WeakValueDictionary()
"""By label, since a device is told of its hub by that alone."""


def _microscope_of(label: str, hub: str) -> Microscope:
    if hub not in _HUBS:
        raise SettingsError(f"device {label!r} needs the line #py Parent,{label},… that names its instrument's label")
    return _HUBS[hub].microscope


class Camera(OfferedCamera):
    """Camera of an instrument of Parfocal."""

    def __init__(self) -> None:
        super().__init__(lambda: _microscope_of(self.get_label(), self.get_parent_label()).camera)


class XYStage(OfferedXYStage):
    """x-y stage of an instrument of Parfocal."""

    def __init__(self) -> None:
        super().__init__(lambda: _microscope_of(self.get_label(), self.get_parent_label()).xy)


class ZStage(OfferedZStage):
    """z stage of an instrument of Parfocal."""

    def __init__(self) -> None:
        super().__init__(lambda: _microscope_of(self.get_label(), self.get_parent_label()).z)


class Lamp(OfferedLamp):
    """Lamp of an instrument of Parfocal, as a shutter."""

    def __init__(self) -> None:
        super().__init__(lambda: _microscope_of(self.get_label(), self.get_parent_label()).lamp)
