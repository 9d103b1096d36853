"""What a virtual slide says about itself, whatever the format."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from parfocal.slide.fields import Frame
from parfocal.slide.quality import FieldQuality


@dataclass(frozen=True)
class SlideDescription:
    """What every writer writes beside the pixels, each in its format's own places.

    Attributes:
        name: of the slide: its id where it has one, else a pseudonym or what was scanned.
        instrument: name of the microscope, free text.
        pixel_size_um: size of a level-0 pixel, in µm.
        magnification: of the objective.
        na: numerical aperture of the objective.
        immersion_index: refractive index of its immersion medium.
        creator: program and version.
        serial_number: of the instrument; empty where it has none, or it is not told.
        scanned_at: when the scan began; None where it is not known, or not told.
        icc_profile: ICC profile of the pixels; empty for none.
        label: uint8 (Y, X, 3), photograph of the slide's label; None where there is none, or it is not told.
        overview: uint8 (Y, X, 3), the whole glass in low magnification; None where there is none.
        fields: of each field, where it lies, its focus and how well it joins its neighbours.
    """

    name: str
    instrument: str
    pixel_size_um: float
    magnification: float
    na: float
    immersion_index: float
    creator: str
    serial_number: str = ""
    scanned_at: datetime.datetime | None = None
    icc_profile: bytes = b""
    label: Frame | None = None
    overview: Frame | None = None
    fields: tuple[FieldQuality, ...] = ()
