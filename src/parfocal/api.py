"""The typed API: what a program that uses Parfocal calls."""

from __future__ import annotations

import datetime
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from parfocal import __version__
from parfocal.config import Instrument, open_microscope
from parfocal.devices.approach import GuardedZ, lamp_lit
from parfocal.devices.replay import replay_microscope
from parfocal.errors import InstrumentError, SettingsError
from parfocal.focus.controller import FocusResult
from parfocal.focus.controller import focus_field as _focus_field
from parfocal.focus.policies import PolicyName
from parfocal.focus.predictor import Predictor
from parfocal.focus.search import initial_focus
from parfocal.scan.calibration.keep import calibrate_into, default_file
from parfocal.scan.calibration.procedure import CalibrationPlan
from parfocal.scan.calibration.progress import silent
from parfocal.scan.calibration.record import STEP_NAMES, StepName
from parfocal.scan.collect import Collected, CollectSettings
from parfocal.scan.collect import collect as _collect
from parfocal.scan.journal import Beat, no_beat
from parfocal.scan.pause import ScanSwitch
from parfocal.scan.pictures import FOCUS_PICTURE, draw_focus
from parfocal.scan.plan import ScanPlan, plan_scan
from parfocal.scan.progress import ScanProgress
from parfocal.scan.report import FieldTruth, TruthLedger, amend_report, build_report, write_report
from parfocal.scan.rescan import fields_in_doubt, read_report, rescan_fields
from parfocal.scan.scanner import scan_fields
from parfocal.scan.settings import ScanSettings
from parfocal.slide.fields import FieldsFolder
from parfocal.slide.fields_writer import FieldsWriter
from parfocal.slide.label import read_label
from parfocal.slide.layout import HEADER_FILE
from parfocal.slide.quality import read_scores, write_scores
from parfocal.slide.reader import Slide
from parfocal.slide.records import FieldRecord, FieldsHeader, Verdict
from parfocal.slide.stitch import stitch
from parfocal.stacks.recorded import read_stack
from parfocal.supervisor.overseen import overseen

__all__ = ["Instrument", "Slide", "calibrate", "collect", "focus_field", "open_microscope", "rescan", "scan"]

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
    settings, predictor = instrument.settings, predictor or instrument.predictor()
    with overseen(instrument) as seen, lamp_lit(seen.microscope.lamp):
        microscope = seen.microscope
        z = GuardedZ(microscope.z, microscope.clock, settings.approach, settings.limits)
        return _focus_field(microscope, z, predictor, pivot_um, settings.focus)


def scan(
    instrument: Instrument,
    out: Path | str,
    area_mm: tuple[float, float] = DEFAULT_AREA_MM,
    *,
    predictor: Predictor | None = None,
    policy: PolicyName | None = None,
    everywhere: bool | None = None,
    overwrite: bool = False,
    slide_id: str = "",
    label: Path | None = None,
    on_progress: OnProgress | None = None,
    on_stitch: OnStitch | None = None,
    switch: ScanSwitch | None = None,
    beat: Beat = no_beat,
) -> dict[str, Any]:
    """Scan an area into a virtual slide.

    Args:
        instrument: an opened instrument.
        out: folder for fields, slide, report and pictures.
        area_mm: (width, height) around the stage's origin, in mm.
        predictor: defocus from pairs; the instrument's own network if None.
        policy: how a field is brought into focus (`focus.policies`); as the instrument is set up if None.
        everywhere: visit every field, not only tissue and its border; as the instrument is set up if None.
        overwrite: whether an earlier scan in the folder may be replaced.
        slide_id: what the laboratory calls the slide; it stays in the folder unless an export is told to name it.
        label: photograph of the slide's label, a picture file.
        on_progress: called after each field.
        on_stitch: called while stitching with what, how many are done, how many there are.
        switch: pauses, continues or ends it from another thread.
        beat: called at every move and exposure: whoever watches knows that it has not hung.

    Returns:
        The report, as in `report.json`.

    Raises:
        SettingsError: if the area does not fit the stage; nothing has moved.
        FileError: if the label cannot be read, or the folder cannot be written.
        ScanStoppedError: if the instrument fails or the scan is interrupted; the fields so far can be stitched.
    """
    began_s = time.monotonic()
    instrument = replace(instrument, settings=_scanning(instrument.settings, policy, everywhere))
    settings, folder = instrument.settings, Path(out)
    predictor = predictor or instrument.predictor()
    plan = _plan(instrument, area_mm)
    ledger = TruthLedger(instrument.truth) if instrument.truth else None

    def on_field(record: FieldRecord, progress: ScanProgress) -> None:
        if ledger:
            ledger.add(record)
        if on_progress:
            on_progress(progress)

    header = replace(
        _header(instrument, plan, area_mm),
        slide_id=slide_id,
        scan_id=uuid.uuid4().hex,
        started_at=datetime.datetime.now(datetime.UTC),
    )
    photograph = None if label is None else read_label(label)
    with overseen(instrument) as seen, FieldsWriter(folder, header, overwrite=overwrite, label=photograph) as writer:
        microscope, truth = seen.microscope, instrument.truth
        summary = scan_fields(microscope, settings, predictor, plan, writer, on_field, truth, switch=switch, beat=beat)
    write_scores(folder, {index: seen.out_of_focus for index, seen in summary.judgements.items()})
    stitched = stitch(folder, on_stitch)
    fields, truths = FieldsFolder(folder), ledger.fields if ledger else []
    draw_focus(fields, {truth.index: truth.error_um for truth in truths if truth.is_tissue}, folder / FOCUS_PICTURE)
    coverage = ledger.tissue_coverage(plan) if ledger else None
    report = build_report(fields, summary, stitched, truths, time.monotonic() - began_s, coverage)
    write_report(folder, report)
    return report


def rescan(
    instrument: Instrument,
    folder: Path | str,
    fields: Sequence[int] | None = None,
    *,
    predictor: Predictor | None = None,
    on_progress: OnProgress | None = None,
    on_stitch: OnStitch | None = None,
    switch: ScanSwitch | None = None,
    beat: Beat = no_beat,
) -> dict[str, Any]:
    """Take fields of a finished scan again, and make its slide and report anew.

    Args:
        instrument: the one that scanned, over the same slide, its stage in the same coordinates.
        folder: of the scan.
        fields: their numbers; those in doubt if None.
        predictor: defocus from pairs; the instrument's own network if None.
        on_progress: called after each field.
        on_stitch: called while stitching with what, how many are done, how many there are.
        switch: pauses, continues or ends it from another thread.
        beat: called at every move and exposure: whoever watches knows that it has not hung.

    Returns:
        The report, as in `report.json`.

    Raises:
        SettingsError: if the scan is another instrument's or slide's, or a field is not in it; nothing has moved.
        FileError: if the folder cannot be read or written.
        ScanStoppedError: if the instrument fails or the command is interrupted; what was taken is kept.
    """
    began_s, began_modelled_s = time.monotonic(), instrument.microscope.clock.now_s
    path = Path(folder)
    before = FieldsFolder(path)
    plan = _plan(instrument, tuple(before.header.settings["area_mm"]))
    _check_same(instrument, before, plan)
    report = read_report(before)
    wanted = fields_in_doubt(before) if fields is None else sorted(set(fields))
    if not wanted:
        return report

    def on_field(_: FieldRecord, progress: ScanProgress) -> None:
        if on_progress:
            on_progress(progress)

    predictor = predictor or instrument.predictor()
    with overseen(instrument) as seen:
        microscope, truth = seen.microscope, instrument.truth
        run = rescan_fields(
            microscope, instrument.settings, predictor, plan, before, wanted, on_field, truth,
            switch=switch, beat=beat,
        )  # fmt: skip
    spent_s = microscope.clock.now_s - began_modelled_s
    judged = {index: seen.out_of_focus for index, seen in run.judgements.items()}
    write_scores(path, read_scores(path) | judged)
    stitched, after = stitch(path, on_stitch), FieldsFolder(path)
    truths = _truths(instrument, after)
    draw_focus(after, {truth.index: truth.error_um for truth in truths if truth.is_tissue}, path / FOCUS_PICTURE)
    report = amend_report(report, after, run, stitched, truths, spent_s, time.monotonic() - began_s)
    write_report(path, report)
    return report


def _check_same(instrument: Instrument, folder: FieldsFolder, plan: ScanPlan) -> None:
    """Raise unless the folder was scanned by this instrument over this slide."""
    header = folder.header
    for what, mine, theirs in (
        ("instrument", instrument.microscope.name, header.microscope),
        ("specimen", instrument.specimen, header.specimen),
        ("seed", instrument.seed, header.seed),
        ("plan of rows and columns", (plan.rows, plan.columns), (header.rows, header.columns)),
    ):
        if mine != theirs:
            raise SettingsError(f"{folder.path}: its {what} was {theirs!r}, this one's is {mine!r}")


def _truths(instrument: Instrument, folder: FieldsFolder) -> list[FieldTruth]:
    """What a simulated instrument knows of the fields; nothing on a real one."""
    if instrument.truth is None:
        return []
    ledger = TruthLedger(instrument.truth)
    for record in folder.records:
        ledger.add(record)
    return ledger.fields


def _plan(instrument: Instrument, area_mm: tuple[float, float]) -> ScanPlan:
    """The fields that cover an area around the stage's origin."""
    camera, settings = instrument.microscope.camera, instrument.settings
    limits_um = _compensated_limits(instrument)
    return plan_scan(area_mm, camera.frame_shape, camera.pixel_size_um, settings.neighbour_error_um, limits_um)


def _scanning(settings: ScanSettings, policy: PolicyName | None, everywhere: bool | None) -> ScanSettings:
    return replace(
        settings,
        policy=settings.policy if policy is None else policy,
        everywhere=settings.everywhere if everywhere is None else everywhere,
    )


def collect(
    instrument: Instrument,
    out: Path | str,
    area_mm: tuple[float, float] = DEFAULT_AREA_MM,
    *,
    wanted: CollectSettings | None = None,
    slide: str | None = None,
    on_progress: OnStitch | None = None,
) -> tuple[Collected, ...]:
    """Record focal stacks of a slide, to train on (paper, section 4.2). What is there already stays.

    Args:
        instrument: an opened instrument.
        out: folder for the stacks, of one slide or several.
        area_mm: (width, height) around the stage's origin over which the places are spread, in mm.
        wanted: which stacks; ten, ±25 µm in steps of 1 µm, if None.
        slide: the slide's name, which training does not split; specimen and seed if None.
        on_progress: called with what, how many are done, how many there are.

    Returns:
        The stacks that were recorded now.

    Raises:
        SettingsError: if the area does not fit the stage, or the settings do not fit it; nothing has moved.
        FileError: if the folder holds something else, or cannot be written.
        ScanStoppedError: if it ends early; whole stacks are kept, and the same call goes on.
    """
    settings, plan = instrument.settings, _plan(instrument, area_mm)
    name = slide_name(instrument) if slide is None else slide
    with overseen(instrument) as seen:
        return _collect(seen.microscope, settings, wanted or CollectSettings(), plan, Path(out), name, on_progress)


def slide_name(instrument: Instrument) -> str:
    """Name of what lies under an instrument, fit for a file: the specimen's, or its image's, and the seed."""
    specimen = Path(instrument.specimen).stem if ":" in instrument.specimen else instrument.specimen
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{specimen}-{instrument.seed}").strip("-")[-60:].strip("-")


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


def calibrate(
    instrument: Instrument,
    steps: Sequence[str] | None = None,
    out: Path | str | None = None,
    *,
    repeats: int = 10,
    network: Path | None = None,
    on_progress: OnStitch | None = None,
) -> dict[str, Any]:
    """Measure an instrument and keep the figures in a file (`open_microscope(…, calibration=FILE)` takes them over).

    Args:
        instrument: an opened instrument.
        steps: of "backlash", "stage", "settle", "optics", "light", "noise", "start"; all of them if None.
        out: the file; NAME.calibration.json in the working directory if None. Other steps in it are kept.
        repeats: pairs of sweeps for the z backlash.
        network: ONNX file for the steps noise and start; the shipped network if None.
        on_progress: called with the step, how much of it is done, of how much.

    Returns:
        microscope, file, pictures, images and the figures: `backlash_um` with mean, sd and max, and so on.

    Raises:
        SettingsError: if a step is unknown, or the file is another instrument's; nothing has moved.
        FileError: if the file cannot be read or written.
        InstrumentError: if a step cannot be measured; those before it are kept.
    """
    for step in steps or ():
        if step not in STEP_NAMES:
            raise SettingsError(f"calibration step {step!r} is none of {', '.join(STEP_NAMES)}")
    chosen: list[StepName] = [name for name in STEP_NAMES if steps is None or name in steps]
    with overseen(instrument) as seen:
        return calibrate_into(
            default_file(seen.microscope) if out is None else Path(out),
            seen.microscope,
            instrument.settings,
            lambda: instrument.predictor(network),
            chosen,
            CalibrationPlan(repeats),
            on_progress or silent,
        )


def focus_once(name: str, specimen: str, seed: int, network: Path | None = None) -> dict[str, Any]:
    """Sweep for the focal plane at the stage's origin, then focus that field, on a simulated microscope.

    Args:
        name: a built-in instrument's name, or the path of a TOML file.
        specimen: what lies under it.
        seed: of specimen, errors and noise.
        network: ONNX file; the shipped network if None.

    Returns:
        final_z and best_z in µm (best_z None on an instrument that does not know), images, verdict, trace.

    Raises:
        InstrumentError: if no focus is found.
    """
    instrument = open_microscope(name, specimen, seed)
    settings, predictor = instrument.settings, instrument.predictor(network)
    with overseen(instrument) as seen, lamp_lit(seen.microscope.lamp):
        microscope = seen.microscope
        z = GuardedZ(microscope.z, microscope.clock, settings.approach, settings.limits)
        sweep = initial_focus(microscope, z, settings.sweep)
        if sweep.verdict != "found":
            raise InstrumentError(sweep.reason)
        result = _focus_field(microscope, z, predictor, sweep.z_um, settings.focus)
    best_um = None
    if instrument.truth:
        x_um, y_um, true_z_um = instrument.truth.stage_position_um
        best_um = instrument.truth.best_focus_um(x_um, y_um) + result.z_um - true_z_um
    return {"final_z": result.z_um, "best_z": best_um, "z_unit": "um", **_focus_json(result)}


def focus_replay(
    folder: Path,
    name: str,
    *,
    start_z: float | None = None,
    um_per_step: float | None = None,
    network: Path | None = None,
) -> dict[str, Any]:
    """Focus on a recorded z-stack, at recorded planes only.

    Args:
        folder: holds `stack.json`.
        name: instrument whose optics and Δ stand in where the record does not know its own.
        start_z: plane of the first image in the stack's unit; the lowest that leaves a pair if None.
        um_per_step: µm that one step stands for, for a stack in steps; half the optics' Δ if None.
        network: ONNX file; the shipped network if None.

    Returns:
        final_z and best_z in the stack's unit, images, verdict, trace.

    Raises:
        FileError: if the stack cannot be read.
        SettingsError: if it leaves no pair.
    """
    instrument = open_microscope(name)
    stack, settings = read_stack(folder), instrument.settings
    replay = replay_microscope(
        stack,
        instrument.microscope.objective,
        settings.approach.delta_um,
        start_z=start_z,
        um_per_step=um_per_step,
    )
    microscope = replay.microscope
    predictor = replace(instrument, microscope=microscope).predictor(network)
    z = GuardedZ(microscope.z, microscope.clock, replay.approach, replay.limits)
    with lamp_lit(microscope.lamp):
        result = _focus_field(microscope, z, predictor, replay.first_um, settings.focus)
    final_z = replay.recorded_z(result.z_um)
    return {"final_z": final_z, "best_z": stack.best_z, "z_unit": stack.z_unit, **_focus_json(result)}


def _focus_json(result: FocusResult) -> dict[str, Any]:
    return {name: result.to_json()[name] for name in ("images", "verdict", "reason", "trace")}


def describe(path: Path | str) -> dict[str, Any]:
    """What a slide or a fields folder is, as names and values.

    Args:
        path: a folder of fields, or whatever `Slide.open` takes.

    Raises:
        FileError: if it is neither.
        SettingsError: if it is a URL whose file system is not installed.
    """
    if (Path(path) / HEADER_FILE).exists():
        fields = FieldsFolder(Path(path))
        header, records = fields.header, fields.records
        planned = header.rows * header.columns
        verdicts = {verdict: sum(record.verdict == verdict for record in records) for verdict in get_args(Verdict)}
        return {
            "kind": "fields folder",
            "microscope": header.microscope,
            "specimen": header.specimen,
            "seed": header.seed,
            "version": header.version,
            "fields": len(records),
            "fields_planned": planned,
            **verdicts,
            "pixel_size_um": header.pixel_size_um,
            "objective": f"{header.magnification:g}X/{header.na:g}",
            "overlap": round(header.overlap, 3),
        }
    with Slide.open(path) as slide:
        return {
            "kind": "slide",
            "width_px": slide.dimensions[0],
            "height_px": slide.dimensions[1],
            "levels": [list(size) for size in slide.level_dimensions],
            **{name.removeprefix("openslide."): value for name, value in sorted(slide.properties.items())},
        }
