"""A fields folder made ready to become a virtual slide: checked, registered, and described."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from parfocal.durable import may_keep
from parfocal.errors import FileError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.formats.description import SlideDescription, describe
from parfocal.slide.light.flatfield import estimate_flatfield
from parfocal.slide.light.measure import Light, measure_light, write_light
from parfocal.slide.mosaic import Mosaic
from parfocal.slide.quality.table import field_table
from parfocal.slide.registration.kept import registered
from parfocal.slide.registration.positions import position_errors, tied_errors
from parfocal.slide.registration.seams import Progress, Registration


@dataclass(frozen=True)
class Assembly:
    """All that a virtual slide is made from.

    Attributes:
        fields: the scan.
        registration: where each field lies.
        light: what its frames are evened out by.
        mosaic: any block of the whole.
        description: what the slide says about itself.
    """

    fields: FieldsFolder
    registration: Registration
    light: Light
    mosaic: Mosaic
    description: SlideDescription

    def errors(self, *, tied: bool) -> tuple[float, float] | tuple[None, None]:
        """(rms, largest) distance in px to the true positions, less one translation; None where nobody knows them.

        Args:
            tied: of the fields that accepted seams tie to others, each island less its own translation; else of all.
        """
        true_um = [record.true_stage_um for record in self.fields.records if record.true_stage_um is not None]
        if len(true_um) != len(self.fields.records):
            return None, None
        errors = tied_errors if tied else position_errors
        return errors(self.registration, np.array(true_um)[:, :2], self.fields.header.pixel_size_um)

    @property
    def islands(self) -> int:
        """Pieces that hold at least one field that is not empty, and that no accepted seam ties to another."""
        full = [record.verdict != "empty" for record in self.fields.records]
        return len(set(self.registration.islands[np.array(full, bool)].tolist()))


def assemble(fields: FieldsFolder, progress: Progress | None = None) -> Assembly:
    """Read, register and describe the fields of a scan.

    Args:
        fields: of a scan that has ended in whatever way.
        progress: called with (what is being done, how many are done, how many there are).

    Raises:
        FileError: if the folder holds no fields, or a frame is missing or damaged.
    """
    if not fields.records:
        raise FileError(f"{fields.path}: holds 0 fields, at least 1 is needed")
    fields.check()
    flat = estimate_flatfield(fields)
    registration = registered(fields, flat, progress)
    light = measure_light(fields, flat, registration, progress)
    if may_keep(fields.path):
        write_light(fields.path, light)
    mosaic = Mosaic(fields, light, registration.mosaic_xy_px, distortion=registration.distortion)
    return Assembly(fields, registration, light, mosaic, describe(fields, field_table(fields, registration)))
