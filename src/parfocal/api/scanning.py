"""From an opened instrument to a finished slide: scan an area, or take fields of a scan again."""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from parfocal import __version__
from parfocal.config import Instrument
from parfocal.config.origin import sha256_of
from parfocal.devices.base import Truth
from parfocal.errors import SettingsError
from parfocal.focus.policies import PolicyName
from parfocal.focus.predictor import FocusPredictor, Predictor
from parfocal.scan.journal import Beat, no_beat
from parfocal.scan.pause import ScanSwitch
from parfocal.scan.pictures import FOCUS_PICTURE, draw_focus
from parfocal.scan.plan import ScanPlan, plan_scan
from parfocal.scan.progress import ScanProgress, ScanSummary
from parfocal.scan.report import FieldTruth, TruthLedger, amend_report, build_report, write_report
from parfocal.scan.rescan import fields_in_doubt, read_report, rescan_fields
from parfocal.scan.scanner import scan_fields
from parfocal.scan.settings import ScanSettings
from parfocal.slide.fields.disk import check_room
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.label import read_label
from parfocal.slide.fields.records import FieldRecord, FieldsHeader, Origin
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.quality.table import read_scores, write_scores
from parfocal.slide.stitch import stitch
from parfocal.supervisor.overseen import overseen

DEFAULT_AREA_MM = (2.0, 2.0)

OnProgress = Callable[[ScanProgress], None]
OnStitch = Callable[[str, int, int], None]


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
    """Scan an area into a virtual slide. What breaks off can be gone on with (`resume`).

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
        FileError: if the label cannot be read, the folder cannot be written, or the disk has no room for the scan;
            nothing has moved.
        ScanStoppedError: if instrument or disk fail, or the scan is interrupted; the fields so far can be stitched.
    """
    began_s = time.monotonic()
    instrument = replace(instrument, settings=scanning(instrument.settings, policy, everywhere))
    settings, folder = instrument.settings, Path(out)
    predictor = predictor or instrument.predictor()
    plan = plan_of(instrument, area_mm)
    ledger = TruthLedger(instrument.truth) if instrument.truth else None
    header = replace(
        _header(instrument, plan, area_mm),
        slide_id=slide_id,
        scan_id=uuid.uuid4().hex,
        started_at=datetime.datetime.now(datetime.UTC),
        origin=with_network(instrument.origin, predictor),
    )
    photograph = None if label is None else read_label(label)
    check_room(folder, len(plan), header.frame_shape, overwrite=overwrite)
    with overseen(instrument) as seen, FieldsWriter(folder, header, overwrite=overwrite, label=photograph) as writer:
        summary = scan_fields(
            seen.microscope, settings, predictor, plan, writer, told(ledger, on_progress), instrument.truth,
            switch=switch, beat=beat,
        )  # fmt: skip
    return finish(folder, plan, summary, ledger, began_s, on_stitch)


def told(ledger: TruthLedger | None, on_progress: OnProgress | None) -> Callable[[FieldRecord, ScanProgress], None]:
    """What is done after each field: the truth about it is looked up, and progress told."""

    def on_field(record: FieldRecord, progress: ScanProgress) -> None:
        if ledger:
            ledger.add(record)
        if on_progress:
            on_progress(progress)

    return on_field


def finish(
    folder: Path,
    plan: ScanPlan,
    summary: ScanSummary,
    ledger: TruthLedger | None,
    began_s: float,
    on_stitch: OnStitch | None,
) -> dict[str, Any]:
    """Make slide, pictures and report of a scan that has taken its last field; the report comes last."""
    write_scores(folder, {index: seen.out_of_focus for index, seen in summary.judgements.items()})
    stitched = stitch(folder, on_stitch)
    fields = FieldsFolder(folder)
    truths: list[FieldTruth] = []
    if ledger:
        ledger.add_missing(fields.records)
        truths = ledger.fields
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
    plan = plan_of(instrument, tuple(before.header.settings["area_mm"]))
    _check_same(instrument, before, plan)
    report = read_report(before)
    wanted = fields_in_doubt(before) if fields is None else sorted(set(fields))
    if not wanted:
        return report
    microscope, predictor = instrument.microscope, predictor or instrument.predictor()
    with overseen(instrument) as seen:
        run = rescan_fields(
            seen.microscope, instrument.settings, predictor, plan, before, wanted, told(None, on_progress),
            instrument.truth, switch=switch, beat=beat,
        )  # fmt: skip
    spent_s = microscope.clock.now_s - began_modelled_s
    judged = {index: seen.out_of_focus for index, seen in run.judgements.items()}
    write_scores(path, read_scores(path) | judged)
    stitched, after = stitch(path, on_stitch), FieldsFolder(path)
    truths = _truths(instrument.truth, after)
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


def _truths(truth: Truth | None, folder: FieldsFolder) -> list[FieldTruth]:
    """What a simulated instrument knows of the fields; nothing on a real one."""
    if truth is None:
        return []
    ledger = TruthLedger(truth)
    ledger.add_missing(folder.records)
    return ledger.fields


def plan_of(instrument: Instrument, area_mm: tuple[float, float]) -> ScanPlan:
    """The fields that cover an area around the stage's origin. Raises SettingsError if it does not fit the stage."""
    camera, error_um = instrument.microscope.camera, instrument.settings.neighbour_error_um
    return plan_scan(area_mm, camera.frame_shape, camera.pixel_size_um, error_um, reach_um(instrument))


def reach_um(instrument: Instrument) -> tuple[tuple[float, float], tuple[float, float]]:
    """((x_min, x_max), (y_min, y_max)) of fields that the stage can come to, from below, in µm."""
    (x_min, x_max), (y_min, y_max) = instrument.microscope.xy.limits_um
    back_x, back_y = instrument.settings.xy_backlash_um
    return (x_min + 2 * back_x, x_max), (y_min + 2 * back_y, y_max)


def scanning(settings: ScanSettings, policy: PolicyName | None, everywhere: bool | None) -> ScanSettings:
    """The settings with another policy, or another choice of fields, where one is given."""
    return replace(
        settings,
        policy=settings.policy if policy is None else policy,
        everywhere=settings.everywhere if everywhere is None else everywhere,
    )


def with_network(origin: Origin | None, predictor: Predictor) -> Origin | None:
    """The origin with the file of a network, where the predictor has one."""
    if origin is None or not isinstance(predictor, FocusPredictor):
        return origin
    path = predictor.network.absolute()
    return replace(origin, network=str(path), network_sha256=sha256_of(path))


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
        plan=asdict(plan),
    )
