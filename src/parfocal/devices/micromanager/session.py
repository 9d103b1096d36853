"""A core of Micro-Manager with a configuration in it, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.devices.micromanager.settings import MicroManagerSettings, Value
from parfocal.errors import InstrumentError, SettingsError

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus

_PYTHON_DEVICE = "#py "


def open_session(settings: MicroManagerSettings, folder: Path, *, set_up: bool = True) -> CMMCorePlus:
    """Load a configuration. Where it names devices written in Python, the core is pymmcore-plus' UniMMCore.

    Args:
        settings: which one, and what to set after it.
        folder: where a relative path begins.
        set_up: whether presets and properties are set, which may move something.

    Raises:
        SettingsError: if pymmcore-plus, the adapters or the configuration are missing.
        InstrumentError: if a device does not answer.
    """
    if find_spec("pymmcore_plus") is None:
        raise SettingsError("the driver micromanager needs pymmcore-plus: pip install parfocal[micromanager]")
    adapters = _adapters(settings.adapters, folder)
    file = _configuration(settings.configuration, [folder, *([adapters] if adapters else [])])
    session = _session(adapters, uses_python=_names_python(file))
    with ExitStack() as letting_go, speaking(settings.configuration):
        letting_go.callback(close_session, session)
        session.setTimeoutMs(round(1000 * settings.timeout_s))
        session.loadSystemConfiguration(str(file))
        _check_initialised(session)
        if set_up:
            _set_up(session, settings)
        session.setAutoShutter(False)
        session.waitForSystem()
        letting_go.pop_all()
    return session


def _check_initialised(session: CMMCorePlus) -> None:
    """Raise if a device is not; a core that is UniMMCore only logs that."""
    from pymmcore_plus import DeviceInitializationState

    for label in session.getLoadedDevices():
        if (
            label != "Core"
            and session.getDeviceInitializationState(label) == DeviceInitializationState.InitializationFailed
        ):
            raise InstrumentError(f"Micro-Manager: {label} could not be initialised; its log says why")


def close_session(session: CMMCorePlus) -> None:
    """Unload the devices, and end the core's own thread: one that outlives Python aborts the process."""
    from pymmcore import CMMCore

    session.unloadAllDevices()
    CMMCore.registerCallback(session, None)


def _set_up(session: CMMCorePlus, settings: MicroManagerSettings) -> None:
    for group, preset in settings.presets.items():
        session.setConfig(group, preset)
    for label, properties in settings.properties.items():
        for name, value in properties.items():
            session.setProperty(label, name, as_text(value))


def as_text(value: Value) -> str:
    """A property's value as Micro-Manager takes it; true is "1"."""
    return str(int(value)) if isinstance(value, bool) else str(value)


@contextmanager
def speaking(who: str) -> Iterator[None]:
    """What the core raises becomes an InstrumentError that says who was spoken to."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, KeyError) as error:  # of the core and of its Python devices
        raise InstrumentError(f"Micro-Manager, {who}: {error}") from error


def _adapters(named: str, folder: Path) -> Path | None:
    if not named:
        return None
    path = folder / named
    if path.is_dir():
        return path
    if named.isidentifier() and find_spec(named) is not None:
        return Path(str(import_module(named).device_adapter_path()))
    raise SettingsError(f"adapters {named!r} is neither a folder nor an installed package")


def _configuration(named: str, folders: list[Path]) -> Path:
    for folder in folders:
        if (folder / named).is_file():
            return folder / named
    raise SettingsError(f"configuration {named} of Micro-Manager is not in {' or '.join(map(str, folders))}")


def _names_python(file: Path) -> bool:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.strip().startswith(_PYTHON_DEVICE) for line in lines)


def _session(adapters: Path | None, *, uses_python: bool) -> CMMCorePlus:
    path = None if adapters is None else str(adapters)
    if uses_python:
        from pymmcore_plus.experimental.unicore import UniMMCore

        return UniMMCore(mm_path=path)
    from pymmcore_plus import CMMCorePlus

    return CMMCorePlus(mm_path=path)
