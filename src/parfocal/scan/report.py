"""What a scan came to: `report.json`, for people and machines, truth included where an instrument knows it."""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parfocal import __version__
from parfocal.devices.base import Truth
from parfocal.durable import written_aside
from parfocal.scan.drift import drift_figures, focus_drift_in
from parfocal.scan.plan import ScanPlan
from parfocal.scan.progress import CHANGES_NOTE, ScanSummary
from parfocal.scan.run import ScanRun
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import REPORT_FILE
from parfocal.slide.fields.records import FieldRecord
from parfocal.slide.stitch import StitchResult


@dataclass(frozen=True)
class FieldTruth:
    """What a simulated instrument knows about a kept field: error = true z − best focus, in µm."""

    index: int
    error_um: float
    is_tissue: bool


class TruthLedger:
    """Compares each kept field with the truth, after the fact.

    Args:
        truth: of a simulated instrument.
    """

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._of_field: dict[int, FieldTruth] = {}

    @property
    def fields(self) -> list[FieldTruth]:
        """What is known of each field, by its last attempt."""
        return list(self._of_field.values())

    def add(self, record: FieldRecord) -> None:
        """Look up the truth about a field that was just kept; fields without recorded true position are left out."""
        if record.true_stage_um is None:
            return
        x_um, y_um, z_um = record.true_stage_um
        error_um = z_um - self._truth.best_focus_um(x_um, y_um)
        self._of_field[record.index] = FieldTruth(record.index, error_um, self._truth.is_tissue(x_um, y_um))

    def add_missing(self, records: list[FieldRecord]) -> None:
        """The same for all fields that were not looked up yet: those of an earlier run."""
        for record in records:
            if record.index not in self._of_field:
                self.add(record)

    def tissue_coverage(self, plan: ScanPlan) -> float | None:
        """Share of the plan's tissue fields that were visited; None where the plan holds no tissue."""
        covered = sum(truth.is_tissue for truth in self._of_field.values())
        missed = sum(
            self._truth.is_tissue(planned.x_um, planned.y_um) for planned in plan if planned.index not in self._of_field
        )
        return covered / (covered + missed) if covered + missed else None


@dataclass(frozen=True)
class FocusFigures:
    """Focus of the kept frames over the tissue fields; all None where nobody knows the truth or there is no tissue.

    Attributes:
        tissue_fields: fields whose noise-free frame shows tissue, whatever the scan said about them.
        in_focus_fraction: share of them with verdict focused and within half the depth of field of best focus.
        mean_abs_error_um: mean distance of their kept z from best focus, in µm.
        p95_abs_error_um: 95th percentile of that distance, in µm.
        depth_of_field_um: total depth of field in µm.
    """

    tissue_fields: int | None
    in_focus_fraction: float | None
    mean_abs_error_um: float | None
    p95_abs_error_um: float | None
    depth_of_field_um: float


def focus_figures(records: list[FieldRecord], truths: list[FieldTruth], depth_of_field_um: float) -> FocusFigures:
    """Focus over the tissue fields. One that the scan calls empty, unsure or failed counts as out of focus."""
    verdicts = {record.index: record.verdict for record in records}
    tissue = [truth for truth in truths if truth.is_tissue]
    if not tissue:
        return FocusFigures(0 if truths else None, None, None, None, depth_of_field_um)
    errors_um = np.abs([truth.error_um for truth in tissue])
    focused = np.array([verdicts[truth.index] == "focused" for truth in tissue])
    return FocusFigures(
        tissue_fields=len(tissue),
        in_focus_fraction=float(np.mean(focused & (errors_um <= depth_of_field_um / 2))),
        mean_abs_error_um=float(errors_um.mean()),
        p95_abs_error_um=float(np.percentile(errors_um, 95)),
        depth_of_field_um=depth_of_field_um,
    )


def images_per_field(attempts: list[FieldRecord], truths: list[FieldTruth]) -> float | None:
    """Mean exposures between arrival and verdict, every attempt's counted, over tissue fields; over all that are not
    empty without the truth."""
    tissue = {truth.index for truth in truths if truth.is_tissue}
    counted = [r for r in attempts if (r.index in tissue if truths else r.verdict != "empty")]
    return sum(r.images for r in counted) / len({r.index for r in counted}) if counted else None


def build_report(
    fields: FieldsFolder,
    summary: ScanSummary,
    stitched: StitchResult,
    truths: list[FieldTruth],
    wall_time_s: float,
    tissue_coverage: float | None = None,
) -> dict[str, Any]:
    """The report of a finished scan, as JSON values.

    Args:
        fields: the fields folder.
        summary: what the scan said.
        stitched: what stitching said.
        truths: what a simulated instrument knows; empty otherwise.
        wall_time_s: time on the wall from command to report.
        tissue_coverage: share of the tissue fields that were visited; None where nobody knows.
    """
    header, records = fields.header, fields.records
    return {
        "version": __version__,
        "seed": header.seed,
        "microscope": header.microscope,
        "specimen": header.specimen,
        "fields": len(records),
        **_outcome(fields, stitched, truths),
        "drift": drift_figures(stitched.fading, summary.focus_drift),
        "fields_in_doubt": list(summary.in_doubt),
        "policy": summary.policy,
        "tissue_coverage": tissue_coverage,
        "images_total": summary.images,
        "modelled_time_s": round(summary.modelled_time_s, 6),
        "wall_time_s": round(wall_time_s, 2),
        "peak_memory_mib": round(peak_memory_mib(), 1),
        "slide": stitched.slide_path.name,
        "sweep": summary.sweep.to_json(),
        "settings": header.settings,
        "changes_accepted": [
            {"after_fields": note["fields"], "changes": note["changes"]} for note in fields.notes(CHANGES_NOTE)
        ],
        "out_of_focus": {str(index): round(seen.out_of_focus, 4) for index, seen in summary.judgements.items()},
    }


def amend_report(
    report: dict[str, Any],
    fields: FieldsFolder,
    run: ScanRun,
    stitched: StitchResult,
    truths: list[FieldTruth],
    modelled_time_s: float,
    wall_time_s: float,
) -> dict[str, Any]:
    """The report of a scan after fields were taken again.

    Args:
        report: of the scan.
        fields: the fields folder, the new attempts in it.
        run: what took them.
        stitched: what stitching said.
        truths: what a simulated instrument knows; empty otherwise.
        modelled_time_s: instrument time that it took.
        wall_time_s: time on the wall that it took.
    """
    judged = {str(index): round(seen.out_of_focus, 4) for index, seen in run.judgements.items()}
    return report | {
        **_outcome(fields, stitched, truths),
        "drift": drift_figures(stitched.fading, focus_drift_in(report.get("drift", {}))),
        "fields_in_doubt": list(run.in_doubt),
        "images_total": report["images_total"] + run.new_images,
        "modelled_time_s": round(report["modelled_time_s"] + modelled_time_s, 6),
        "wall_time_s": round(report["wall_time_s"] + wall_time_s, 2),
        "out_of_focus": report["out_of_focus"] | judged,
    }


def _outcome(fields: FieldsFolder, stitched: StitchResult, truths: list[FieldTruth]) -> dict[str, Any]:
    """What follows from the fields folder and its mosaic, however the fields came there."""
    records = fields.records
    return {
        "attempts": len(fields.attempts),
        "rescanned": len({record.index for record in fields.attempts if record.attempt > 1}),
        "fields_empty": sum(record.verdict == "empty" for record in records),
        "fields_unsure": sum(record.verdict in ("unsure", "failed") for record in records),
        "images_per_field": images_per_field(fields.attempts, truths),
        "focus": asdict(focus_figures(records, truths, fields.header.depth_of_field_um)),
        "stitching": {
            "seams": stitched.seams,
            "accepted": stitched.accepted,
            "rms_error_px": stitched.rms_error_px,
            "max_error_px": stitched.max_error_px,
        },
        "field_errors_um": {str(truth.index): round(truth.error_um, 4) for truth in truths if truth.is_tissue},
    }


def write_report(folder: Path, report: dict[str, Any]) -> Path:
    """Write `report.json` aside, then rename. Raises FileError if that fails."""
    path = folder / REPORT_FILE
    with written_aside(path) as part:
        part.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
