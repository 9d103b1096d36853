"""The typed API: what a program that uses Parfocal calls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from parfocal.api.resuming import Reopened, needs_instrument, open_again, open_already, resume, verify
from parfocal.api.scanning import DEFAULT_AREA_MM, OnStitch, plan_of, rescan, scan
from parfocal.config import Instrument, open_microscope
from parfocal.config.tables import read_instrument_file
from parfocal.devices.approach import GuardedZ, lamp_lit
from parfocal.devices.replay import replay_microscope
from parfocal.errors import InstrumentError, SettingsError
from parfocal.focus.controller import FocusResult
from parfocal.focus.controller import focus_field as _focus_field
from parfocal.focus.predictor import Predictor
from parfocal.focus.search import initial_focus
from parfocal.optics.objective import Objective
from parfocal.scan.calibration.keep import calibrate_into, default_file
from parfocal.scan.calibration.procedure import CalibrationPlan
from parfocal.scan.calibration.progress import silent
from parfocal.scan.calibration.record import STEP_NAMES, StepName
from parfocal.scan.collect import Collected, CollectSettings
from parfocal.scan.collect import collect as _collect
from parfocal.scan.pause import ScanSwitch
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import HEADER_FILE
from parfocal.slide.fields.records import Verdict
from parfocal.slide.reader import Slide
from parfocal.stacks.recorded import read_stack
from parfocal.supervisor.overseen import overseen

__all__ = [
    "Instrument", "Reopened", "ScanSwitch", "Slide", "calibrate", "collect", "focus_field", "needs_instrument",
    "open_again", "open_already", "open_microscope", "rescan", "resume", "scan", "verify",
]  # fmt: skip


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
    settings, plan = instrument.settings, plan_of(instrument, area_mm)
    name = slide_name(instrument) if slide is None else slide
    with overseen(instrument) as seen:
        return _collect(seen.microscope, settings, wanted or CollectSettings(), plan, Path(out), name, on_progress)


def slide_name(instrument: Instrument) -> str:
    """Name of what lies under an instrument, fit for a file: the specimen's, or its image's, and the seed."""
    specimen = Path(instrument.specimen).stem if ":" in instrument.specimen else instrument.specimen
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{specimen}-{instrument.seed}").strip("-")[-60:].strip("-")


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
    with open_microscope(name, specimen, seed) as instrument:
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
    file = read_instrument_file(name)  # its devices are not needed, and stay closed
    stack, settings = read_stack(folder), file.scan_settings()
    replay = replay_microscope(
        stack,
        Objective(**file.objective.model_dump()),
        settings.approach.delta_um,
        start_z=start_z,
        um_per_step=um_per_step,
    )
    microscope = replay.microscope
    predictor = Instrument(microscope, settings, None, "", 0).predictor(network)
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
