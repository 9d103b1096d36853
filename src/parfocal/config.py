"""From a name or a TOML file to an instrument that is ready to use. The physics is checked before anything moves."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parfocal.devices.approach import ApproachSettings, GuardLimits
from parfocal.devices.base import Lamp, Truth
from parfocal.devices.microscope import Microscope
from parfocal.devices.simulated import (
    CameraSettings,
    SimulatedLamp,
    SimulatedSettings,
    XYSettings,
    ZSettings,
    simulated_microscope,
)
from parfocal.errors import FileError, SettingsError
from parfocal.focus.decision import FocusSettings
from parfocal.focus.policies import PolicyName
from parfocal.focus.predictor import FocusPredictor
from parfocal.focus.search import SweepSettings
from parfocal.optics.imaging import SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.photograph import read_photograph
from parfocal.optics.samples import SAMPLES, Appearance, make_sample
from parfocal.optics.sensor import Sensor
from parfocal.optics.specimen import Specimen, Topography
from parfocal.optics.transfer import Illumination
from parfocal.scan.calibration.record import apply_calibration, check_age, read_calibration
from parfocal.scan.settings import ScanSettings

DEFAULT_SPECIMEN = "he-tissue"
_IMAGE_PREFIX = "image:"
_MAX_SEED = 2**31 - 1

_Positive = Annotated[float, Field(gt=0)]
_NotNegative = Annotated[float, Field(ge=0)]
_Range = tuple[float, float]


@dataclass(frozen=True)
class Instrument:
    """An opened instrument.

    Attributes:
        microscope: its devices.
        settings: how it focuses and scans.
        truth: what a simulated instrument knows about itself; None on a real one.
        specimen: what lies under it, in words.
        seed: of everything random in it.
        lamp_name: what `open_lamp` takes to reach its lamp from another process; None where it ends with this one.
    """

    microscope: Microscope
    settings: ScanSettings
    truth: Truth | None
    specimen: str
    seed: int
    lamp_name: str | None = None

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


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Objective(_Table):
    magnification: _Positive
    na: _Positive
    immersion_index: _Positive = 1.0


class _Camera(_Table):
    frame_shape: tuple[int, int]
    pixel_size_um: _Positive
    sensor_pixel_um: _Positive


class _Approach(_Table):
    delta_um: _Positive
    backlash_um: _NotNegative
    margin_um: _NotNegative = 1.0
    take_up_um: _NotNegative
    start_below_um: _NotNegative


class _Z(_Table):
    lowest_um: float
    highest_um: float
    travel_budget_um: _Positive = 600.0
    time_budget_s: _Positive = 30.0


class _Sweep(_Table):
    lowest_um: float
    highest_um: float
    step_um: _Positive = 2.0
    merit: Literal["tenengrad", "variance-of-laplacian"] = "tenengrad"


class _Focus(_Table):
    max_pairs: int = 4
    max_spread_um: _Positive = 1.0
    max_defocus_um: _Positive = 12.0
    keep_within_um: _NotNegative = 0.3
    return_within_um: _NotNegative = 0.0
    peak_tolerance_um: _NotNegative = 0.0
    clearance_um: _NotNegative = 1.0
    empty_sd: _NotNegative = 2.0
    difference_floor: _NotNegative = 0.7
    vibration_share: _NotNegative = 0.05
    patch_grid: Annotated[int, Field(ge=1, le=8)] = 3


class _XY(_Table):
    backlash_um: tuple[float, float] = (0.0, 0.0)
    neighbour_error_um: _NotNegative = 0.0


class _Scan(_Table):
    policy: PolicyName = "surface"
    everywhere: bool = False
    arrival_error_um: _Positive = ScanSettings.arrival_error_um
    sure_of_dof: _Positive = ScanSettings.sure_of_dof


class _Simulated(_Table):
    """The truth about a simulated instrument, which its control code does not see."""

    z_backlash_um: _NotNegative = 20.0
    z_error_um: _NotNegative = 0.17
    z_screw_um: _NotNegative = 0.0
    xy_backlash_um: _NotNegative = 80.0
    xy_screw_um: _NotNegative = 20.0
    xy_error_um: _NotNegative = 2.0
    shift_sigma_px: _NotNegative = 0.1
    flicker: _NotNegative = 0.005
    condenser_ratio: _Positive = 0.7
    spherical_waves: float = 0.02
    focal_shift_um: _NotNegative = 0.3
    tilt_um_per_mm: tuple[float, float] | None = None
    stage_limits_um: tuple[_Range, _Range] = ((-12_500.0, 12_500.0), (-12_500.0, 12_500.0))
    lamp_file: Path | None = None


class _InstrumentFile(_Table):
    name: str
    kind: Literal["simulated"]
    decision_time_s: _NotNegative = 0.0
    objective: _Objective
    camera: _Camera
    approach: _Approach
    z: _Z
    sweep: _Sweep
    focus: _Focus = Field(default_factory=_Focus)
    xy: _XY = Field(default_factory=_XY)
    scan: _Scan = Field(default_factory=_Scan)
    simulated: _Simulated = Field(default_factory=_Simulated)

    def scan_settings(self) -> ScanSettings:
        return ScanSettings(
            approach=ApproachSettings(**self.approach.model_dump()),
            limits=GuardLimits(**self.z.model_dump()),
            focus=FocusSettings(**self.focus.model_dump(exclude={"patch_grid"})),
            patch_grid=self.focus.patch_grid,
            sweep=SweepSettings(**self.sweep.model_dump()),
            xy_backlash_um=self.xy.backlash_um,
            neighbour_error_um=self.xy.neighbour_error_um,
            **self.scan.model_dump(),
        )


def shipped_network() -> Path:
    """Path of the network that comes with Parfocal."""
    return Path(str(resources.files("parfocal") / "weights" / "focus.onnx"))


def instrument_names() -> list[str]:
    """Names of the built-in instruments."""
    files = (resources.files("parfocal") / "instruments").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def specimen_names() -> list[str]:
    """Names of the drawn specimens."""
    return list(SAMPLES)


def open_microscope(
    name: str,
    specimen: str = DEFAULT_SPECIMEN,
    seed: int = 0,
    *,
    calibration: Path | str | None = None,
    accept_stale: bool = False,
) -> Instrument:
    """Open an instrument.

    Args:
        name: a built-in instrument's name, or the path of a TOML file.
        specimen: what lies under a simulated instrument: a sample's name, or image:PATH.
        seed: of the specimen and of the instrument's errors, 0 to 2³¹ − 1.
        calibration: file of `parfocal calibrate`, whose figures take the place of the instrument's settings.
        accept_stale: whether it may be older than 90 days.

    Raises:
        FileError: if the TOML file, the specimen's image or the calibration cannot be read.
        SettingsError: if a setting is missing, unknown, out of range, or cannot work on this instrument; if the
            calibration is another instrument's, or stale.
    """
    if not 0 <= seed <= _MAX_SEED:
        raise SettingsError(f"seed {seed} is not between 0 and {_MAX_SEED}")
    file = _parse(name)
    settings = file.scan_settings()
    microscope, truth = _simulated(file, specimen, seed)
    if calibration is not None:
        measured = read_calibration(Path(calibration), microscope)
        if not accept_stale:
            check_age(measured)
        settings = apply_calibration(settings, measured)
    return Instrument(microscope, settings, truth, specimen, seed, _lamp_name(file, name))


def open_lamp(name: str) -> Lamp:
    """Open nothing but an instrument's lamp, from another process than the one that lit it.

    Args:
        name: a built-in instrument's name, or the path of a TOML file.

    Raises:
        FileError: if the TOML file cannot be read.
        SettingsError: if a setting is wrong, or the lamp ends with the process that lit it.
    """
    file = _parse(name)
    if _lamp_name(file, name) is None:
        raise SettingsError(f"the lamp of {name} ends with the process that lit it: no other can reach it")
    return SimulatedLamp(file.simulated.lamp_file)


def _lamp_name(file: _InstrumentFile, name: str) -> str | None:
    return None if file.simulated.lamp_file is None else name


def _parse(name: str) -> _InstrumentFile:
    text = _read(name)
    try:
        return _InstrumentFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"instrument {name} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"instrument {name}: {where}: {first['msg']}, got {first['input']!r}") from error


def _read(name: str) -> str:
    if name in instrument_names():
        return (resources.files("parfocal") / "instruments" / f"{name}.toml").read_text(encoding="utf-8")
    if not name.endswith(".toml"):
        known = ", ".join(instrument_names())
        raise SettingsError(f"unknown microscope {name!r}: choose one of {known}, or the path of a .toml file")
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"instrument {name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"instrument {name} is not a text file: {error.reason}") from error


def _simulated(file: _InstrumentFile, specimen: str, seed: int) -> tuple[Microscope, Truth]:
    world, objective = file.simulated, Objective(**file.objective.model_dump())
    relief = _relief(seed, world.tilt_um_per_mm)
    illumination = Illumination(
        objective,
        condenser_ratio=world.condenser_ratio,
        spherical_waves=world.spherical_waves,
        focal_shift_um=(world.focal_shift_um, 0.0, -0.7 * world.focal_shift_um),
    )
    settings = SimulatedSettings(
        name=file.name,
        objective=objective,
        sensor_pixel_um=file.camera.sensor_pixel_um,
        decision_time_s=file.decision_time_s,
        camera=CameraSettings(
            frame_shape=file.camera.frame_shape,
            pixel_size_um=file.camera.pixel_size_um,
            shift_sigma_px=world.shift_sigma_px,
            flicker=world.flicker,
        ),
        xy=XYSettings(
            limits_um=world.stage_limits_um,
            backlash_um=world.xy_backlash_um,
            screw_um=world.xy_screw_um,
            error_um=world.xy_error_um,
        ),
        z=ZSettings(backlash_um=world.z_backlash_um, error_um=world.z_error_um, screw_um=world.z_screw_um),
        lamp_file=world.lamp_file,
    )
    optics = SlideOptics(_specimen(specimen, file.camera.pixel_size_um, seed, relief), illumination)
    return simulated_microscope(optics, Sensor(seed=seed), settings, _surface(relief), seed)


def _relief(seed: int, tilt_um_per_mm: tuple[float, float] | None) -> Topography:
    """How this slide lies: some 2 µm/mm of tilt, a little bow and roughness, somewhere within ±15 µm of z = 0."""
    rng = np.random.default_rng((seed, 1))
    tilt = tilt_um_per_mm or tuple(float(t) for t in np.clip(rng.normal(0.0, 1.5, 2), -4.0, 4.0))
    return Topography(
        seed=seed,
        base_um=float(rng.uniform(-15.0, 15.0)),
        tilt_um_per_mm=(tilt[0], tilt[1]),
        bow_um_per_mm2=float(rng.uniform(-0.5, 0.5)),
        roughness_um=0.5,
    )


def _surface(relief: Topography) -> Callable[[float, float], float]:
    return lambda x_um, y_um: float(relief.focus_z_um(np.array([x_um]), np.array([y_um]))[0])


def _specimen(name: str, pixel_size_um: float, seed: int, relief: Topography) -> Specimen:
    if name.startswith(_IMAGE_PREFIX):
        return read_photograph(Path(name.removeprefix(_IMAGE_PREFIX)), pixel_size_um, relief)
    return make_sample(name, seed, relief, Appearance())
