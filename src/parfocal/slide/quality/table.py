"""The quality of a virtual slide, field by field: where its focus came from, and how well it joins its neighbours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from parfocal.documents import read_json
from parfocal.durable import written_aside
from parfocal.errors import FileError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import SCORES_FILE
from parfocal.slide.fields.records import FieldRecord, Verdict
from parfocal.slide.registration.kept import FieldSeams, seams_of_fields
from parfocal.slide.registration.register import Registration

_REPORT_FILE = "report.json"  # of the scan; older scans have the scores only there


@dataclass(frozen=True)
class FieldQuality:
    """One field in the mosaic: a row of the quality table.

    Attributes:
        field: number of the field in the plan.
        row: in the plan, from 0.
        column: in the plan, from 0.
        mosaic_x_px: left edge in level-0 px.
        mosaic_y_px: top edge in level-0 px.
        stage_x_um: x of the centre, as the stage reported it.
        stage_y_um: y likewise.
        stage_z_um: z of the kept frame, as the stage reported it.
        verdict: "focused", "empty", "unsure" or "failed".
        focus_um: z of best focus as measured or expected; None where nobody knows.
        focus_sd_um: its standard deviation; None where nobody knows.
        focus_source: "measured", "expected" or "none".
        score: probability that the kept frame is out of focus, from its neighbours and the surface; None if not asked.
        images: exposures it took.
        attempt: 1, or more where it was taken again.
        seams: neighbours it was compared with.
        seams_accepted: of these, the ones whose shift was used.
        seam_residual_px: largest residual of its accepted seams; None without any.
        seam_residual_um: the same in µm.
        island: number of the piece it belongs to, 0 the largest; pieces are placed by the stage.
    """

    field: int
    row: int
    column: int
    mosaic_x_px: float
    mosaic_y_px: float
    stage_x_um: float
    stage_y_um: float
    stage_z_um: float
    verdict: Verdict
    focus_um: float | None
    focus_sd_um: float | None
    focus_source: str
    score: float | None
    images: int
    attempt: int
    seams: int
    seams_accepted: int
    seam_residual_px: float | None
    seam_residual_um: float | None
    island: int


def field_table(folder: FieldsFolder, registration: Registration) -> tuple[FieldQuality, ...]:
    """The quality of every field, in the order of the folder's records.

    Args:
        folder: the scan.
        registration: of the same fields.

    Raises:
        FileError: if the scores of the scan are damaged.
    """
    scores, pixel_um = read_scores(folder.path), folder.header.pixel_size_um
    return tuple(
        _row(record, corner, seams, scores.get(record.index), pixel_um)
        for record, corner, seams in zip(
            folder.records, registration.mosaic_xy_px.tolist(), seams_of_fields(registration), strict=True
        )
    )


def _row(
    record: FieldRecord, corner: tuple[float, float], seams: FieldSeams, score: float | None, pixel_um: float
) -> FieldQuality:
    focus_um, focus_sd_um, source = _focus(record)
    return FieldQuality(
        field=record.index,
        row=record.row,
        column=record.column,
        mosaic_x_px=corner[0],
        mosaic_y_px=corner[1],
        stage_x_um=record.stage_x_um,
        stage_y_um=record.stage_y_um,
        stage_z_um=record.stage_z_um,
        verdict=record.verdict,
        focus_um=focus_um,
        focus_sd_um=focus_sd_um,
        focus_source=source,
        score=score,
        images=record.images,
        attempt=record.attempt,
        seams=seams.seams,
        seams_accepted=seams.accepted,
        seam_residual_px=seams.residual_px,
        seam_residual_um=None if seams.residual_px is None else seams.residual_px * pixel_um,
        island=seams.island,
    )


def _focus(record: FieldRecord) -> tuple[float | None, float | None, str]:
    """Best focus, its standard deviation, and where that is from: measured in the field, or expected beforehand."""
    for source, name, sd_name in (
        ("measured", "focus_um", "focus_sd_um"),
        ("expected", "expected_um", "expected_sd_um"),
    ):
        if record.focus.get(name) is not None:
            sd_um = record.focus.get(sd_name)
            return float(record.focus[name]), None if sd_um is None else float(sd_um), source
    if record.verdict == "focused":  # a single image is kept where the focus was expected
        return record.stage_z_um, None, "expected"
    return None, None, "none"


def write_scores(folder: Path, out_of_focus: dict[int, float]) -> None:
    """Keep, beside the fields, how probably each kept frame is out of focus.

    Args:
        folder: of the fields.
        out_of_focus: probability, 0 to 1, by the field's number.

    Raises:
        FileError: if the file cannot be written.
    """
    text = json.dumps({"out_of_focus": {str(index): score for index, score in out_of_focus.items()}}, allow_nan=False)
    with written_aside(folder / SCORES_FILE) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_scores(folder: Path) -> dict[int, float]:
    """What `write_scores` kept, or an older scan's report says; empty where nobody asked.

    Raises:
        FileError: if the file is damaged.
    """
    for path in (folder / SCORES_FILE, folder / _REPORT_FILE):
        if not path.exists():
            continue
        values = read_json(path)
        try:
            return {int(index): float(score) for index, score in values.get("out_of_focus", {}).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise FileError(f"{path}: out_of_focus is not a probability for each field: {error}") from error
    return {}
