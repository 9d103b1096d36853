"""Photographs that somebody took by hand at a microscope, made into a fields folder of loose fields (paper, 5.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parfocal import __version__
from parfocal.durable import folder_written_aside
from parfocal.errors import FileError, SettingsError
from parfocal.optics.objective import Objective
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.imported import read_image
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.registration.seams import Progress

MODALITY = "modality"
"""Name of the setting that tells how the fields were taken."""

_SENSOR_PIXEL_UM = 3.45  # only the depth of field depends on it
_APART = 2  # frames: nobody knows where they lie, but they do not touch


@dataclass(frozen=True)
class PhotographSettings:
    """What the photographs do not say themselves.

    Attributes:
        modality: how they were taken, such as "manual-100x".
        slide_id: what the laboratory calls the slide.
        pixel_size_um: size of a pixel in the specimen, in µm.
        magnification: of the objective.
        na: its numerical aperture.
        immersion_index: refractive index of its immersion medium.
        specimen: what is on the slide.

    Raises:
        SettingsError: if a value is not possible.
    """

    modality: str
    slide_id: str
    pixel_size_um: float
    magnification: float = 100.0
    na: float = 1.25
    immersion_index: float = 1.515
    specimen: str = "photographs"

    def __post_init__(self) -> None:
        for name in ("modality", "slide_id"):
            value = getattr(self, name)
            if not value.strip() or not value.isprintable() or len(value) > 64:
                raise SettingsError(f"{name} {value!r} is not one line of 1 to 64 characters")
        for name in ("pixel_size_um", "magnification", "na", "immersion_index"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(f"{name} {getattr(self, name):g} is not above 0")


def import_photographs(
    files: Sequence[Path], out: Path, settings: PhotographSettings, progress: Progress | None = None
) -> FieldsFolder:
    """Make a fields folder of photographs, in the order given. It appears whole, or not at all.

    Nobody knows where on the slide they were taken: their positions are made up, apart from each other, and the folder
    is not to be stitched.

    Args:
        files: image files, all RGB with 8 bits a channel and of one shape.
        out: the new folder; it may exist if it is empty.
        settings: what the photographs do not say.
        progress: told about each.

    Raises:
        FileError: if there is no photograph, one cannot be read or has another shape, or the folder cannot be written.
    """
    if not files:
        raise FileError("no photograph was given")
    with folder_written_aside(out) as part:
        _write(part, files, settings, progress)
    return FieldsFolder(out)


def modality_of(header: FieldsHeader) -> str:
    """How the fields of a folder were taken: as was told, else by the objective, such as "automated-40x"."""
    return str(header.settings.get(MODALITY) or f"automated-{header.magnification:g}x")


def are_loose(header: FieldsHeader) -> bool:
    """Whether the fields of a folder are such photographs, of which nobody knows where on the slide they lie."""
    return MODALITY in header.settings


def _write(folder: Path, files: Sequence[Path], settings: PhotographSettings, progress: Progress | None) -> None:
    height, width = read_image(files[0]).shape[:2]
    header = _header(settings, (height, width), len(files))
    with FieldsWriter(folder, header, frame_format="png") as writer:
        for index, path in enumerate(files):
            frame = read_image(path)
            if frame.shape[:2] != (height, width):
                raise FileError(f"{path}: {frame.shape[:2]} px, but {files[0].name} is {(height, width)} px")
            x_um = index * _APART * width * settings.pixel_size_um
            writer.put(FieldRecord(index, 0, index, x_um, 0.0, 0.0, "unsure", 1), frame)
            if progress:
                progress("photographs", index + 1, len(files))


def _header(settings: PhotographSettings, shape: tuple[int, int], number: int) -> FieldsHeader:
    objective = Objective(settings.magnification, settings.na, settings.immersion_index)
    return FieldsHeader(
        version=__version__,
        seed=0,
        microscope="by hand",
        specimen=settings.specimen,
        pixel_size_um=settings.pixel_size_um,
        frame_shape=shape,
        magnification=settings.magnification,
        na=settings.na,
        immersion_index=settings.immersion_index,
        depth_of_field_um=objective.depth_of_field_um(_SENSOR_PIXEL_UM),
        rows=1,
        columns=number,
        overlap=0.0,
        settings={MODALITY: settings.modality},
        slide_id=settings.slide_id,
    )
