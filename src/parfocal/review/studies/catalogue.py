"""Which slides on the shelf show which slide of a study, in which modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from parfocal.errors import FileError, SettingsError
from parfocal.review.sheets.frames import FieldFrames, readable_fields
from parfocal.review.shelf.shelf import Shelf, Shelved
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.photographs import modality_of

Sources = Mapping[str, Mapping[str, str]]
"""Ids of shelved slides by slide of the study and modality."""


@dataclass(frozen=True)
class Candidate:
    """A shelved slide that a study may show.

    Attributes:
        id: of the shelved slide.
        place: where it lies.
        slide: which slide it shows, as far as it says so.
        modality: how it was taken.
        fields: how many readers can be shown.
    """

    id: str
    place: str
    slide: str
    modality: str
    fields: int


def candidates(shelf: Shelf) -> list[Candidate]:
    """Every slide with single fields that can be read, by slide and modality."""
    found = [one for shelved in shelf.slides() if (one := _candidate(shelved)) is not None]
    return sorted(found, key=lambda one: (one.slide, one.modality, one.place))


def _candidate(shelved: Shelved) -> Candidate | None:
    if shelved.folder is None:
        return None
    try:
        folder = FieldsFolder(shelved.folder)
    except FileError:
        return None
    header = folder.header
    slide = header.slide_id or shelved.place
    return Candidate(shelved.id, shelved.place, slide, modality_of(header), len(readable_fields(folder)))


def sources_of(chosen: Iterable[tuple[str, str, str]]) -> dict[str, dict[str, str]]:
    """Sources from (id, slide, modality).

    Raises:
        SettingsError: if two show the same slide in the same modality, or a name is missing.
    """
    sources: dict[str, dict[str, str]] = {}
    for shelved, slide, modality in chosen:
        if not slide.strip() or not modality.strip():
            raise SettingsError("each slide that is shown needs a name and a modality")
        of_slide = sources.setdefault(slide.strip(), {})
        if of_slide.setdefault(modality.strip(), shelved) != shelved:
            raise SettingsError(f"two slides are said to be {slide} in {modality}")
    return sources


def modalities_of(sources: Sources) -> list[str]:
    """All that occur."""
    return sorted({modality for of_slide in sources.values() for modality in of_slide})


def missing_from(sources: Sources) -> dict[str, tuple[str, ...]]:
    """Slides that are not there in a modality, by modality, as in the paper: 3 of 32 were not imaged by hand."""
    found = {
        modality: tuple(slide for slide in sources if modality not in sources[slide])
        for modality in modalities_of(sources)
    }
    return {modality: slides for modality, slides in found.items() if slides}


def fields_of(sources: Sources, frames: FieldFrames) -> dict[tuple[str, str], Sequence[int]]:
    """Numbers of the fields that may be drawn, by slide and modality.

    Raises:
        FileError: if a slide is not there any more.
    """
    return {
        (slide, modality): readable_fields(frames.folder(shelved))
        for slide, of_slide in sources.items()
        for modality, shelved in of_slide.items()
    }
