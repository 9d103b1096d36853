"""From a name or a TOML file to an instrument that is ready to use. The physics is checked before anything moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

from parfocal.config.assembled import assembled_instrument, assembled_lamp
from parfocal.config.origin import origin_of
from parfocal.config.simulated import simulated_instrument
from parfocal.config.tables import folder_of, read_instrument_file
from parfocal.devices.base import Lamp, Truth
from parfocal.devices.driver import nothing
from parfocal.devices.microscope import Microscope
from parfocal.devices.simulated import SimulatedLamp
from parfocal.devices.watched import Reopening
from parfocal.errors import SettingsError
from parfocal.focus.predictor import FocusPredictor
from parfocal.scan.calibration.record import apply_calibration, check_age, read_calibration
from parfocal.scan.settings import ScanSettings
from parfocal.slide.fields.records import Origin

DEFAULT_SPECIMEN = "he-tissue"
_MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class Instrument:
    """An opened instrument.

    Attributes:
        microscope: its devices.
        settings: how it focuses and scans.
        truth: what a simulated instrument knows about itself; None on a real one.
        specimen: what lies under it, in words; empty where nobody said.
        seed: of everything random in it.
        origin: from what it was opened; None where it cannot be opened again.
        lamp_name: what `open_lamp` takes to reach its lamp from another process; None where it ends with this one, or
            only a hand can put it out (`Microscope.lamp_by_hand`).
        close: lets go of its devices, the lamp out first; leaving a `with` block does it.
        reopening: how devices that dropped off are opened again.
    """

    microscope: Microscope
    settings: ScanSettings
    truth: Truth | None
    specimen: str
    seed: int
    lamp_name: str | None = None
    origin: Origin | None = None
    close: Callable[[], None] = nothing
    reopening: Reopening = field(default_factory=Reopening)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def predictor(self, network: Path | None = None) -> FocusPredictor:
        """A network for this instrument: the one in a file, or the one that comes with Parfocal.

        Raises:
            FileError: if the file is not a network.
        """
        microscope = self.microscope
        return FocusPredictor(
            network or shipped_network(),
            microscope.objective,
            microscope.camera.pixel_size_um,
            self.settings.focus.empty_sd,
            patch_grid=self.settings.patch_grid,
        )


def shipped_network() -> Path:
    """Path of the network that comes with Parfocal."""
    return Path(str(resources.files("parfocal") / "weights" / "focus.onnx"))


def open_microscope(
    name: str,
    specimen: str | None = None,
    seed: int = 0,
    *,
    calibration: Path | str | None = None,
    accept_stale: bool = False,
) -> Instrument:
    """Open an instrument.

    Args:
        name: a built-in instrument's name, or the path of a TOML file.
        specimen: what lies under a simulated instrument: a sample's name, or image:PATH; he-tissue if None. On a real
            one, what it is in words.
        seed: of the specimen and of the instrument's errors, 0 to 2³¹ − 1.
        calibration: file of `parfocal calibrate`, whose figures take the place of the instrument's settings.
        accept_stale: whether it may be older than 90 days.

    Raises:
        FileError: if the TOML file, the specimen's image or the calibration cannot be read.
        SettingsError: if a setting is missing, unknown, out of range, or cannot work on this instrument; if the
            calibration is another instrument's, or stale.
        InstrumentError: if a device does not answer.
    """
    if not 0 <= seed <= _MAX_SEED:
        raise SettingsError(f"seed {seed} is not between 0 and {_MAX_SEED}")
    file = read_instrument_file(name)
    settings = file.scan_settings()
    if file.kind == "simulated":
        specimen = DEFAULT_SPECIMEN if specimen is None else specimen
        microscope, truth = simulated_instrument(file, specimen, seed)
        lamp_name = None if file.simulated.lamp_file is None else name
        instrument = Instrument(microscope, settings, truth, specimen, seed, lamp_name)
    else:
        microscope, close, reopening = assembled_instrument(file, folder_of(name))
        lamp_name = None if microscope.lamp_by_hand else name
        instrument = Instrument(
            microscope, settings, None, specimen or "", seed, lamp_name, close=close, reopening=reopening
        )
    path = None if calibration is None else Path(calibration)
    instrument = replace(instrument, origin=origin_of(name, file, instrument.specimen, path))
    return instrument if path is None else _calibrated(instrument, path, accept_stale)


def _calibrated(instrument: Instrument, path: Path, accept_stale: bool) -> Instrument:
    with ExitStack() as letting_go:
        letting_go.callback(instrument.close)
        measured = read_calibration(path, instrument.microscope)
        if not accept_stale:
            check_age(measured)
        calibrated = replace(instrument, settings=apply_calibration(instrument.settings, measured))
        letting_go.pop_all()
    return calibrated


@contextmanager
def open_lamp(name: str) -> Iterator[Lamp]:
    """Open nothing but an instrument's lamp, from another process than the one that lit it.

    Args:
        name: a built-in instrument's name, or the path of a TOML file.

    Raises:
        FileError: if the TOML file cannot be read.
        SettingsError: if a setting is wrong, the lamp ends with the process that lit it, or only a hand can switch it.
        InstrumentError: if the lamp does not answer.
    """
    file = read_instrument_file(name)
    if file.kind == "simulated":
        if file.simulated.lamp_file is None:
            raise SettingsError(f"the lamp of {name} ends with the process that lit it: no other can reach it")
        yield SimulatedLamp(file.simulated.lamp_file)
        return
    lamp, close = assembled_lamp(file, folder_of(name))
    try:
        yield lamp
    finally:
        close()
