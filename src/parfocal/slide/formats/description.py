"""What a virtual slide says about itself, whatever the format."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass

from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import Frame
from parfocal.slide.formats.colour import srgb_profile
from parfocal.slide.quality.table import FieldQuality


@dataclass(frozen=True)
class SlideDescription:
    """What every writer writes beside the pixels, each in its format's own places.

    Attributes:
        name: of the slide: a pseudonym, or its id where that was asked for.
        pseudonym: a name that nothing but the fields folder ties to the slide; empty where nobody needs one.
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
    pseudonym: str = ""


def describe(
    folder: FieldsFolder, fields: tuple[FieldQuality, ...] = (), *, identified: bool = False
) -> SlideDescription:
    """What a slide made from these fields says about itself: a pseudonym, never what the user called the specimen.

    Args:
        folder: the scan.
        fields: its quality table.
        identified: whether the slide's id, where it has one, is its name instead.

    Raises:
        FileError: if the folder's label image cannot be read.
    """
    header, alias = folder.header, pseudonym(folder)
    return SlideDescription(
        name=header.slide_id if identified and header.slide_id else alias,
        instrument=header.microscope,
        pixel_size_um=header.pixel_size_um,
        magnification=header.magnification,
        na=header.na,
        immersion_index=header.immersion_index,
        creator=f"Parfocal {header.version}",
        serial_number=header.serial_number,
        scanned_at=header.started_at,
        icc_profile=srgb_profile(),
        label=folder.label(),
        fields=fields,
        pseudonym=alias,
    )


def pseudonym(folder: FieldsFolder) -> str:
    """A name for a slide, the same in every export of its folder: from the folder's random id and nothing else.

    A scan that has no such id, from an older version, is told by what its stage reported, which nobody can guess.
    """
    secret = folder.header.scan_id.encode() or folder.positions_digest()
    return "slide-" + hashlib.sha256(b"parfocal pseudonym\n" + secret).hexdigest()[:12]
