"""The calibration file: what was measured, on which instrument and when, and what of it a scan takes over."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import AwareDatetime, Field, ValidationError

from parfocal.devices.microscope import Microscope
from parfocal.durable import written_aside
from parfocal.errors import FileError, SettingsError
from parfocal.scan.calibration.figures import (
    BacklashFigures,
    LightFigures,
    NoiseFigures,
    OpticsFigures,
    SettleFigures,
    StageFigures,
    StartFigures,
    Values,
)
from parfocal.scan.settings import ScanSettings

StepName = Literal["backlash", "stage", "settle", "optics", "light", "noise", "start"]
STEP_NAMES: tuple[StepName, ...] = get_args(StepName)

MAX_AGE_DAYS = 90
SPARE_UM = 0.5
"""Added to the largest z backlash that was found: wear, and a pair of sweeps more."""

_MAX_BYTES = 2**20


class _Step(Values):
    date: AwareDatetime
    version: str
    images: int
    settings: dict[str, Any] = Field(max_length=100)


class _Backlash(_Step):
    figures: BacklashFigures


class _Stage(_Step):
    figures: StageFigures


class _Settle(_Step):
    figures: SettleFigures


class _Optics(_Step):
    figures: OpticsFigures


class _Light(_Step):
    figures: LightFigures


class _Noise(_Step):
    figures: NoiseFigures


class _Start(_Step):
    figures: StartFigures


class Calibration(Values):
    """The calibration of one instrument. Steps that were not run are None.

    Attributes:
        microscope: the instrument's name.
        identity: SHA-256 of what it is, see `identity_of`.
    """

    format: Literal["parfocal-calibration"] = "parfocal-calibration"
    microscope: str
    identity: str
    backlash: _Backlash | None = None
    stage: _Stage | None = None
    settle: _Settle | None = None
    optics: _Optics | None = None
    light: _Light | None = None
    noise: _Noise | None = None
    start: _Start | None = None

    def with_step(self, name: StepName, values: dict[str, Any]) -> Calibration:
        """The same with one step measured anew: its date, version, images, settings and figures.

        Raises:
            SettingsError: if a figure is no number.
        """
        try:
            return Calibration.model_validate({**self.model_dump(), name: values})
        except ValidationError as error:
            raise SettingsError(f"calibration step {name}: {_first(error)}") from error

    def oldest(self) -> tuple[str, datetime] | None:
        """Name and date of its oldest step; None where it has none."""
        dated = [(name, step.date) for name in STEP_NAMES if (step := getattr(self, name)) is not None]
        return min(dated, key=lambda entry: entry[1], default=None)


def identity_of(microscope: Microscope) -> str:
    """SHA-256 of what a calibration depends on: the instrument's name, its objective and its camera."""
    camera = microscope.camera
    what = {
        "name": microscope.name,
        "objective": asdict(microscope.objective),
        "frame_shape": list(camera.frame_shape),
        "pixel_size_um": camera.pixel_size_um,
        "sensor_pixel_um": microscope.sensor_pixel_um,
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def read_calibration(path: Path, microscope: Microscope) -> Calibration:
    """Read the calibration of an instrument.

    Raises:
        FileError: if the file cannot be read or is no calibration.
        SettingsError: if it belongs to another instrument.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise FileError(f"{path}: {path.stat().st_size} bytes are more than the {_MAX_BYTES} of a calibration")
        calibration = Calibration.model_validate_json(path.read_bytes())
    except OSError as error:
        raise FileError(f"{path}: cannot read: {error.strerror}") from error
    except ValidationError as error:
        raise FileError(f"{path} is no calibration: {_first(error)}") from error
    if calibration.identity != identity_of(microscope):
        same_name = calibration.microscope == microscope.name
        why = "whose objective or camera was another" if same_name else f"and this is {microscope.name}"
        raise SettingsError(f"{path} is the calibration of {calibration.microscope}, {why}")
    return calibration


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write it as JSON, complete or not at all. Raises FileError if that fails."""
    with written_aside(path) as part:
        part.write_text(calibration.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")


def check_age(calibration: Calibration, now: datetime | None = None, limit_days: int = MAX_AGE_DAYS) -> None:
    """Raise SettingsError if a step is older than the limit, or dated more than a day ahead of now."""
    oldest = calibration.oldest()
    if oldest is None:
        return
    name, date = oldest
    age_days = ((now or datetime.now(UTC)) - date).total_seconds() / 86_400
    if age_days > limit_days:
        raise SettingsError(
            f"the calibration of {calibration.microscope} is stale: its step {name} is {age_days:.0f} days old, "
            f"more than {limit_days}; calibrate again, or accept it with --accept-stale"
        )
    if age_days < -1:
        raise SettingsError(f"the calibration's step {name} is dated {-age_days:.0f} days in the future")


def apply_calibration(settings: ScanSettings, calibration: Calibration) -> ScanSettings:
    """The settings with what was measured in place of what was written down.

    Largest z backlash and half a µm more (the take-up grows with it if it must), start of a pair, x-y backlash,
    error of the distance of neighbours, floor of a difference and empty level.

    Raises:
        SettingsError: if the outcome cannot work on this instrument.
    """
    approach, focus = settings.approach, settings.focus
    if calibration.backlash is not None:
        largest_um = max(calibration.backlash.figures.backlash_um.max, 0.0) + SPARE_UM
        take_up_um = max(approach.take_up_um, largest_um + approach.margin_um)
        approach = replace(approach, backlash_um=largest_um, take_up_um=take_up_um)
    if calibration.start is not None:
        approach = replace(approach, start_below_um=calibration.start.figures.start_below_um)
    if calibration.noise is not None:
        noise = calibration.noise.figures
        focus = replace(focus, difference_floor=noise.difference_floor, empty_sd=noise.empty_sd)
    settings = replace(settings, approach=approach, focus=focus)
    if calibration.stage is None:
        return settings
    stage = calibration.stage.figures
    back_x, back_y = (max(spread.mean, 0.0) for spread in stage.xy_backlash_um)
    return replace(settings, xy_backlash_um=(back_x, back_y), neighbour_error_um=stage.neighbour_error_um)


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
