"""From a fields folder to a virtual slide in one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parfocal.slide.assembly import assemble
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import SEAMS_PICTURE, SLIDE_FILE
from parfocal.slide.formats.ome_tiff import write_ome_tiff
from parfocal.slide.light.fading import UNKNOWN_FADING, Fading
from parfocal.slide.overview import write_overview
from parfocal.slide.pyramid import Pyramid, level_shapes
from parfocal.slide.reader import Slide
from parfocal.slide.registration.seam_picture import draw_seams
from parfocal.slide.registration.seams import Progress

OVERVIEW_FILE = "overview.jpg"


@dataclass(frozen=True)
class StitchResult:
    """What stitching made.

    Attributes:
        slide_path: the virtual slide.
        overview_path: the small picture.
        shape: (Y, X) of level 0, in px.
        fields: fields in the mosaic.
        registered: how many of them accepted seams tie into one piece.
        seams: pairs of neighbours that were compared.
        accepted: pairs whose measured shift was used.
        rms_error_px: root mean square distance of the fields that seams tie to others to their true positions, each
            island less its own translation, in px; None where the truth is not known. Fields that no picture ties lie
            where the stage said, and do not count.
        max_error_px: the largest such distance.
        rms_error_all_px: the same over all fields, less one translation.
        islands: pieces with at least one field that is not empty, placed against each other by the stage alone.
        fading: how the light changed through the scan.
    """

    slide_path: Path
    overview_path: Path
    shape: tuple[int, int]
    fields: int
    registered: int
    seams: int
    accepted: int
    rms_error_px: float | None
    max_error_px: float | None
    rms_error_all_px: float | None
    islands: int
    fading: Fading = UNKNOWN_FADING

    def to_json(self) -> dict[str, Any]:
        """The figures that are told of a stitched slide, as JSON values."""
        return {
            "slide": self.slide_path.name,
            "width_px": self.shape[1],
            "height_px": self.shape[0],
            "seams": self.seams,
            "accepted": self.accepted,
            "rms_error_px": self.rms_error_px,
            "max_error_px": self.max_error_px,
            "islands": self.islands,
        }


def stitch(folder: Path, progress: Progress | None = None) -> StitchResult:
    """Make `slide.ome.tif`, `overview.jpg` and `seams.png` in a fields folder. An earlier result is replaced.

    Args:
        folder: the fields folder, of a scan that has ended in whatever way.
        progress: called with (what is being done, how many are done, how many there are).

    Raises:
        FileError: if the folder holds no fields, a frame cannot be read, or the result cannot be written.
    """
    made = assemble(FieldsFolder(folder), progress)
    fields, registration = made.fields, made.registration
    slide_path, overview_path = fields.path / SLIDE_FILE, fields.path / OVERVIEW_FILE
    with Pyramid(level_shapes(made.mosaic.shape), fields.path) as pyramid:
        pyramid.build(made.mosaic.block, progress)
        write_ome_tiff(slide_path, pyramid, made.description)
    with Slide.open(slide_path) as slide:
        write_overview(slide, overview_path)
    draw_seams(fields, registration, fields.path / SEAMS_PICTURE)
    rms_error_px, max_error_px = made.errors(tied=True)
    return StitchResult(
        slide_path=slide_path,
        overview_path=overview_path,
        shape=pyramid.shapes[0],
        fields=len(fields.records),
        registered=int(registration.largest.sum()),
        seams=len(registration.seams),
        accepted=sum(seam.accepted for seam in registration.seams),
        rms_error_px=rms_error_px,
        max_error_px=max_error_px,
        rms_error_all_px=made.errors(tied=False)[0],
        islands=made.islands,
        fading=made.light.fading,
    )
