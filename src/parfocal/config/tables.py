"""What an instrument's TOML file may say, table by table. What cannot work is refused before anything moves."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from parfocal.devices.approach import ApproachSettings, GuardLimits
from parfocal.devices.driver import Role
from parfocal.documents import read_toml
from parfocal.errors import SettingsError
from parfocal.focus.decision import FocusSettings
from parfocal.focus.policies import PolicyName
from parfocal.focus.search import SweepSettings
from parfocal.scan.settings import ScanSettings

_Positive = Annotated[float, Field(gt=0)]
_NotNegative = Annotated[float, Field(ge=0)]
_Range = tuple[float, float]


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
    stages_home: bool = False


class DeviceTable(BaseModel):
    """`[devices.NAME]`: which driver, for what; every other key is the driver's own."""

    model_config = ConfigDict(frozen=True, extra="allow")

    driver: str
    roles: tuple[Role, ...] = ()
    invert: tuple[Literal["x", "y", "z"], ...] = ()
    swap_xy: bool = False


class InstrumentFile(_Table):
    """An instrument's file."""

    name: str
    kind: Literal["simulated", "devices"]
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
    devices: dict[str, DeviceTable] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        if self.kind == "devices" and not self.devices:
            raise ValueError('kind = "devices" needs a table [devices.NAME] for each device')
        if self.kind == "simulated" and self.devices:
            raise ValueError('kind = "simulated" has no devices of its own')
        return self

    def scan_settings(self) -> ScanSettings:
        """How the instrument scans. Raises SettingsError if that cannot work."""
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


def instrument_names() -> list[str]:
    """Names of the built-in instruments."""
    files = (resources.files("parfocal") / "instruments").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def folder_of(name: str) -> Path:
    """Where the paths in an instrument's file begin: beside the file."""
    return Path(name).absolute().parent


def read_instrument_file(name: str) -> InstrumentFile:
    """Read an instrument's file.

    Args:
        name: a built-in instrument's name, or the path of a TOML file.

    Raises:
        FileError: if it cannot be read.
        SettingsError: if there is no such instrument, or a key is missing, unknown or out of range.
    """
    table = _read(name)
    try:
        return InstrumentFile.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"instrument {name}: {where}: {first['msg']}, got {first['input']!r}") from error


def _read(name: str) -> dict[str, Any]:
    if name in instrument_names():
        return tomllib.loads((resources.files("parfocal") / "instruments" / f"{name}.toml").read_text(encoding="utf-8"))
    if not name.endswith(".toml"):
        known = ", ".join(instrument_names())
        raise SettingsError(f"unknown microscope {name!r}: choose one of {known}, or the path of a .toml file")
    return read_toml(Path(name))
