"""Calibrate into a file: each step is kept as soon as it is measured, with its picture beside the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parfocal import __version__
from parfocal.devices.microscope import Microscope
from parfocal.errors import FileError, SettingsError
from parfocal.focus.predictor import Predictor
from parfocal.scan.calibration.pictures import save_picture
from parfocal.scan.calibration.procedure import CalibrationPlan, StepResult, run_steps
from parfocal.scan.calibration.progress import OnProgress, silent
from parfocal.scan.calibration.record import (
    Calibration,
    StepName,
    identity_of,
    read_calibration,
    write_calibration,
)
from parfocal.scan.settings import ScanSettings

FILE_SUFFIX = ".calibration.json"


def default_file(microscope: Microscope) -> Path:
    """NAME.calibration.json in the working directory; what cannot stand in a file's name becomes a hyphen."""
    return Path(re.sub(r"[^\w.-]+", "-", microscope.name) + FILE_SUFFIX)


def calibrate_into(
    file: Path,
    microscope: Microscope,
    settings: ScanSettings,
    predictor: Callable[[], Predictor],
    steps: Sequence[StepName],
    plan: CalibrationPlan,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Run steps and keep them. Steps that are in the file already and are not run again stay as they are.

    Args:
        file: the calibration file; the pictures lie beside it.
        microscope: the instrument.
        settings: how it is set up so far.
        predictor: makes the predictor, for the steps noise and start.
        steps: in this order.
        plan: how much is measured.
        on_progress: called with the step, how much of it is done, of how much.

    Returns:
        microscope, file, pictures, images, and every figure of the steps that ran.

    Raises:
        FileError: if the file is no calibration or cannot be written; in the first case nothing has moved.
        SettingsError: if it is another instrument's; nothing has moved.
        InstrumentError: if a step cannot be measured. What was measured before it is kept.
    """
    if not file.parent.is_dir():
        raise FileError(f"{file.parent} is no folder")
    kept = _begin(file, microscope)
    report: dict[str, Any] = {"microscope": microscope.name, "file": str(file), "pictures": [], "images": 0}
    with closing(run_steps(microscope, settings, predictor, steps, plan, on_progress)) as results:
        for result in results:
            kept = kept.with_step(result.name, _dated(result))
            write_calibration(file, kept)
            if result.draw is not None:
                picture = file.with_name(f"{_stem(file)}.{result.name}.png")
                report["pictures"].append(str(save_picture(result.draw, picture)))
            report["images"] += result.images
            report |= result.figures.model_dump(mode="json")
    return report


def _begin(file: Path, microscope: Microscope) -> Calibration:
    """What the file holds already, or nothing."""
    if not file.exists():
        return Calibration(microscope=microscope.name, identity=identity_of(microscope))
    try:
        return read_calibration(file, microscope)
    except SettingsError as error:
        raise SettingsError(f"{error}: choose another file with --out") from error


def _dated(result: StepResult) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).replace(microsecond=0),
        "version": __version__,
        "images": result.images,
        "settings": result.settings,
        "figures": result.figures.model_dump(),
    }


def _stem(file: Path) -> str:
    """NAME.calibration of NAME.calibration.json."""
    return file.name.removesuffix(".json")
