"""The quality of a virtual slide, field by field: where its focus came from, and how well it joins its neighbours."""

from __future__ import annotations

from dataclasses import dataclass

from parfocal.slide.fields import Verdict


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
