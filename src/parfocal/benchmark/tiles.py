"""Scans whose every true position is known, to measure stitching on: rendered fields on the simulated stage.

The stage errs as a low-cost one does (play, screw, an error that does not repeat), its play is taken out as in a scan,
and neighbours overlap by what the planner chooses for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal import __version__
from parfocal.devices.sideways import CompensatedXY
from parfocal.devices.simulated import SimulatedXYStage, VirtualClock, XYSettings
from parfocal.optics.imaging import SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.samples import Appearance, make_sample
from parfocal.optics.sensor import Sensor
from parfocal.optics.specimen import Topography
from parfocal.optics.texture import noise_at
from parfocal.optics.transfer import Illumination
from parfocal.scan.plan import PlannedField, ScanPlan, plan_scan
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord, FieldsHeader, Verdict
from parfocal.slide.fields.writer import FieldsWriter

TileKind = Literal["tissue", "noise-free", "nearly-blank", "sparse"]
KINDS: tuple[TileKind, ...] = get_args(TileKind)

PIXEL_UM = 0.345
BACKLASH_UM = 80.0
NEIGHBOUR_ERROR_UM = 4.0

OBJECTIVE = Objective(20, 0.75)
FAINT = 0.012
"""Density of a nearly blank section, as a share of a stained one's: hardly above the noise."""

_SPARSE_EMPTY = 0.6
_COARSE_PX = 16  # the patches' noise is drawn on pixels so much larger
_PATCH_UM = 700.0  # pieces of a sparse smear are about so large


@dataclass(frozen=True)
class TilePlan:
    """Where the fields lie, by the stage and in truth.

    Attributes:
        plan: the fields in the order of the visit.
        true_xy_um: (N, 2) true centres in µm.
        frame_shape: (Y, X) in px.
    """

    plan: ScanPlan
    true_xy_um: NDArray[np.float64]
    frame_shape: tuple[int, int]


def visit(rows: int, columns: int, frame_shape: tuple[int, int], seed: int) -> TilePlan:
    """Send the simulated stage over a grid of fields with the planner's overlap."""
    height_um, width_um = (pixels * PIXEL_UM for pixels in frame_shape)
    settings = XYSettings(backlash_um=BACKLASH_UM)
    area_mm = (width_um / 1000 * columns, height_um / 1000 * rows)
    plan = plan_scan(area_mm, frame_shape, PIXEL_UM, NEIGHBOUR_ERROR_UM, settings.limits_um)
    plan = replace(plan, rows=rows, columns=columns)
    stage = SimulatedXYStage(settings, VirtualClock(), np.random.default_rng((seed, 11)))
    compensated = CompensatedXY(stage, (BACKLASH_UM, BACKLASH_UM))
    true_um = []
    for field in plan:
        compensated.move_to(field.x_um, field.y_um)
        true_um.append(stage.true_um)
    return TilePlan(plan, np.array(true_um), frame_shape)


def write_tiles(
    folders: dict[TileKind, Path],
    tiles: TilePlan,
    seed: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[TileKind, FieldsFolder]:
    """Render every field once, and write it as each kind of scan that is asked for.

    Args:
        folders: where each kind goes; "sparse" is another specimen, and goes alone.
        tiles: where the fields lie.
        seed: of specimen and noise.
        progress: told about each field.

    Raises:
        FileError: if a folder cannot be written.
    """
    sparse = "sparse" in folders
    kind = "blood-smear" if sparse else "he-tissue"
    sample = make_sample(kind, seed, Topography(), Appearance(cover=1.0, thickness_um=0.0))
    optics = SlideOptics(sample, Illumination(OBJECTIVE))
    writers = {
        name: FieldsWriter(path, header_of(tiles, name, seed), frame_format="png") for name, path in folders.items()
    }
    rng = np.random.default_rng((seed, 12))
    try:
        empty_below = _threshold(tiles, seed)
        for done, (field, (x_um, y_um)) in enumerate(zip(tiles.plan, tiles.true_xy_um, strict=True), 1):
            light = optics.field(float(x_um), float(y_um), tiles.frame_shape, PIXEL_UM).plane(0.0)
            there = _patches(float(x_um), float(y_um), tiles.frame_shape, seed, empty_below) if sparse else np.ones(1)
            light = 1 - (1 - light) * there.astype(np.float32)
            record = _record(field, float(x_um), float(y_um), "focused" if there.any() else "empty")
            for name, writer in writers.items():
                writer.put(record, _expose(light, name, rng))
            if progress:
                progress("tiles", done, len(tiles.plan))
    finally:
        for writer in writers.values():
            writer.close()
    return {name: FieldsFolder(path) for name, path in folders.items()}


def _expose(light: NDArray[np.float32], kind: TileKind, rng: np.random.Generator) -> NDArray[np.uint8]:
    if kind == "noise-free":
        return np.asarray(np.clip(np.rint(light * 225), 0, 255), np.uint8)
    if kind == "nearly-blank":
        light = np.power(light, np.float32(FAINT))
    return Sensor().expose(light, rng)


def _threshold(tiles: TilePlan, seed: int) -> float:
    """Level of the patches' noise that about 60 % of the fields nowhere exceed."""
    height_um, width_um = (pixels * PIXEL_UM for pixels in tiles.frame_shape)
    offsets = np.linspace(-0.5, 0.5, 9)
    y_um, x_um = (o.ravel() for o in np.meshgrid(offsets * height_um, offsets * width_um, indexing="ij"))
    highest = [noise_at(seed, x + x_um, y + y_um, _PATCH_UM).max() for x, y in tiles.true_xy_um]
    return float(np.quantile(highest, _SPARSE_EMPTY))


def _patches(x_um: float, y_um: float, shape: tuple[int, int], seed: int, empty_below: float) -> NDArray[np.float32]:
    """Where a sparse smear has cells: 0 or 1 with a soft border, float32 (Y, X, 1)."""
    coarse = tuple(-(-length // _COARSE_PX) + 1 for length in shape)
    rows, columns = (_COARSE_PX * axis for axis in np.indices(coarse, np.float64))
    along_x = x_um + (columns - (shape[1] - 1) / 2) * PIXEL_UM
    along_y = y_um + (rows - (shape[0] - 1) / 2) * PIXEL_UM
    level = noise_at(seed, along_x, along_y, _PATCH_UM).astype(np.float32) - np.float32(empty_below)
    grid = np.array([[1 / _COARSE_PX, 0, 0], [0, 1 / _COARSE_PX, 0]])
    fine = cv2.warpAffine(level, grid, shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(np.clip(fine / 0.02, 0, 1), np.float32)[..., None]


def _record(field: PlannedField, x_um: float, y_um: float, verdict: Verdict) -> FieldRecord:
    return FieldRecord(
        index=field.index,
        row=field.row,
        column=field.column,
        stage_x_um=field.x_um,
        stage_y_um=field.y_um,
        stage_z_um=0.0,
        verdict=verdict,
        images=1,
        true_stage_um=(x_um, y_um, 0.0),
    )


def header_of(tiles: TilePlan, kind: str, seed: int) -> FieldsHeader:
    """The header of a scan of these tiles."""
    return FieldsHeader(
        version=__version__,
        seed=seed,
        microscope="simulated",
        specimen=kind,
        pixel_size_um=PIXEL_UM,
        frame_shape=tiles.frame_shape,
        magnification=OBJECTIVE.magnification,
        na=OBJECTIVE.na,
        immersion_index=1.0,
        depth_of_field_um=OBJECTIVE.depth_of_field_um(3.45),
        rows=tiles.plan.rows,
        columns=tiles.plan.columns,
        overlap=tiles.plan.overlap,
        settings={"neighbour_error_um": NEIGHBOUR_ERROR_UM, "xy_backlash_um": [BACKLASH_UM, BACKLASH_UM]},
    )
