"""What can be laid over a slide: fields with their focus and verdicts, and seams."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.quality.table import FieldQuality, field_table
from parfocal.slide.registration.kept import kept_registration
from parfocal.slide.registration.seams import Registration


@dataclass(frozen=True)
class SeamLine:
    """The middle of the overlap of two neighbours.

    Attributes:
        x0: of one end, level-0 px.
        y0: of one end, level-0 px.
        x1: of the other end, level-0 px.
        y1: of the other end, level-0 px.
        accepted: whether it took part in the solution.
        residual_um: by how much it misses the solved positions.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    accepted: bool
    residual_um: float


@dataclass(frozen=True)
class Overlays:
    """Of a slide that was scanned here.

    Attributes:
        frame_width: of a field, level-0 px.
        frame_height: of a field, level-0 px.
        depth_of_field_um: of the objective.
        registered: whether positions come from registration; else from the stage.
        fields: every field.
        seams: between them.
    """

    frame_width: int
    frame_height: int
    depth_of_field_um: float
    registered: bool
    fields: tuple[FieldQuality, ...]
    seams: tuple[SeamLine, ...]


def overlays(path: Path) -> Overlays:
    """The overlays of a scan.

    Args:
        path: its fields folder.

    Raises:
        FileError: if it cannot be read.
    """
    folder = FieldsFolder(path)
    kept = kept_registration(folder)
    registration = kept or _by_stage(folder)
    height, width = folder.header.frame_shape
    return Overlays(
        frame_width=width,
        frame_height=height,
        depth_of_field_um=folder.header.depth_of_field_um,
        registered=kept is not None,
        fields=field_table(folder, registration),
        seams=tuple(_seams(registration, width, height, folder.header.pixel_size_um)),
    )


def _by_stage(folder: FieldsFolder) -> Registration:
    """Fields where the stage says that they are."""
    places = np.array([(record.stage_x_um, record.stage_y_um) for record in folder.records], np.float64).reshape(-1, 2)
    corners = places / folder.header.pixel_size_um
    corners = corners - corners.min(axis=0) if len(corners) else corners
    return Registration(corners, (), np.zeros(len(corners), np.int32))


def _seams(registration: Registration, width: int, height: int, pixel_um: float) -> list[SeamLine]:
    corners, lines = registration.mosaic_xy_px, []
    for seam in registration.seams:
        low = np.maximum(corners[seam.a], corners[seam.b])
        high = np.minimum(corners[seam.a], corners[seam.b]) + np.array([width, height])
        middle, half = (low + high) / 2, np.abs(high - low) / 2
        along = np.array([half[0], 0.0]) if half[0] > half[1] else np.array([0.0, half[1]])
        (x0, y0), (x1, y1) = (middle - along).tolist(), (middle + along).tolist()
        lines.append(SeamLine(x0, y0, x1, y1, seam.accepted, seam.residual_px * pixel_um))
    return lines
