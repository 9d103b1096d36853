"""The typed API: what a program that uses Parfocal calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parfocal import __version__
from parfocal.config import Instrument, open_microscope
from parfocal.devices.approach import GuardedZ, lamp_lit
from parfocal.focus.controller import FocusResult
from parfocal.focus.controller import focus_field as _focus_field
from parfocal.focus.predictor import Predictor
from parfocal.scan.pictures import FOCUS_PICTURE, draw_focus
from parfocal.scan.plan import ScanPlan, plan_scan
from parfocal.scan.report import TruthLedger, build_report, write_report
from parfocal.scan.scanner import ScanProgress, scan_fields
from parfocal.slide.fields import FieldRecord, FieldsFolder, FieldsHeader, FieldsWriter
from parfocal.slide.reader import Slide
from parfocal.slide.stitch import stitch

__all__ = ["Instrument", "Slide", "focus_field", "open_microscope", "scan"]

DEFAULT_AREA_MM = (2.0, 2.0)

OnProgress = Callable[[ScanProgress], None]
OnStitch = Callable[[str, int, int], None]


def focus_field(instrument: Instrument, pivot_um: float, predictor: Predictor | None = None) -> FocusResult:
    """Bring the field under the lens into focus (paper, sections 2.2.1 and 4.3). The lamp is off afterwards.

    Args:
        instrument: an opened instrument.
        pivot_um: where the focus is expected, in µm.
        predictor: defocus from pairs; the instrument's own network if None.

    Raises:
        InstrumentError: if the stage does not move, a limit is in the way or a device fails.
    """
    microscope, settings = instrument.microscope, instrument.settings
    z = GuardedZ(microscope.z, microscope.clock, settings.approach, settings.limits)
    with lamp_lit(microscope.lamp):
        return _focus_field(microscope, z, predictor or instrument.predictor(), pivot_um, settings.focus)


def scan(
    instrument: Instrument,
    out: Path | str,
    area_mm: tuple[float, float] = DEFAULT_AREA_MM,
    *,
    predictor: Predictor | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    on_stitch: OnStitch | None = None,
) -> dict[str, Any]:
    """Scan an area into a virtual slide.

    Args:
        instrument: an opened instrument.
        out: folder for fields, slide, report and pictures.
        area_mm: (width, height) around the stage's origin, in mm.
        predictor: defocus from pairs; the instrument's own network if None.
        overwrite: whether an earlier scan in the folder may be replaced.
        on_progress: called after each field.
        on_stitch: called while stitching with what, how many are done, how many there are.

    Returns:
        The report, as in `report.json`.

    Raises:
        SettingsError: if the area does not fit the stage; nothing has moved.
        FileError: if the folder cannot be written.
        ScanStoppedError: if the instrument fails or the scan is interrupted; the fields so far can be stitched.
    """
    began_s = time.monotonic()
    microscope, settings, folder = instrument.microscope, instrument.settings, Path(out)
    predictor = predictor or instrument.predictor()
    camera = microscope.camera
    limits_um = _compensated_limits(instrument)
    plan = plan_scan(area_mm, camera.frame_shape, camera.pixel_size_um, settings.neighbour_error_um, limits_um)
    ledger = TruthLedger(instrument.truth) if instrument.truth else None

    def on_field(record: FieldRecord, progress: ScanProgress) -> None:
        if ledger:
            ledger.add(record)
        if on_progress:
            on_progress(progress)

    with FieldsWriter(folder, _header(instrument, plan, area_mm), overwrite=overwrite) as writer:
        summary = scan_fields(microscope, settings, predictor, plan, writer, on_field, instrument.truth)
    stitched = stitch(folder, on_stitch)
    fields, truths = FieldsFolder(folder), ledger.fields if ledger else []
    draw_focus(fields, {truth.index: truth.error_um for truth in truths if truth.is_tissue}, folder / FOCUS_PICTURE)
    report = build_report(fields, summary, stitched, truths, time.monotonic() - began_s)
    write_report(folder, report)
    return report


def _compensated_limits(instrument: Instrument) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the stage can go with room to come from below, in µm."""
    (x_min, x_max), (y_min, y_max) = instrument.microscope.xy.limits_um
    back_x, back_y = instrument.settings.xy_backlash_um
    return (x_min + 2 * back_x, x_max), (y_min + 2 * back_y, y_max)


def _header(instrument: Instrument, plan: ScanPlan, area_mm: tuple[float, float]) -> FieldsHeader:
    microscope, camera = instrument.microscope, instrument.microscope.camera
    return FieldsHeader(
        version=__version__,
        seed=instrument.seed,
        microscope=microscope.name,
        specimen=instrument.specimen,
        pixel_size_um=camera.pixel_size_um,
        frame_shape=camera.frame_shape,
        magnification=microscope.objective.magnification,
        na=microscope.objective.na,
        immersion_index=microscope.objective.immersion_index,
        depth_of_field_um=microscope.depth_of_field_um,
        rows=plan.rows,
        columns=plan.columns,
        overlap=plan.overlap,
        settings={"area_mm": list(area_mm), **instrument.settings.to_json()},
    )
