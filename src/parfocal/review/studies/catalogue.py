"""Which slides on the shelf show which slide of a study, in which modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from parfocal.errors import FileError, SettingsError
from parfocal.review.sheets.frames import readable_fields
from parfocal.review.sheets.whole import Extent, WholeSlides
from parfocal.review.shelf.shelf import Shelf, Shelved
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.photographs import are_loose, modality_of

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
        fields: how many readers can be shown one by one.
        is_whole: whether readers can be shown all of it.
    """

    id: str
    place: str
    slide: str
    modality: str
    fields: int
    is_whole: bool


def candidates(shelf: Shelf) -> list[Candidate]:
    """Every slide that can be read, in single fields or whole, by slide and modality."""
    found = [one for shelved in shelf.slides() if (one := _candidate(shelf, shelved)) is not None]
    return sorted(found, key=lambda one: (one.slide, one.modality, one.place))


def _candidate(shelf: Shelf, shelved: Shelved) -> Candidate | None:
    try:
        if shelved.folder is None:
            power = shelf.geometry(shelved).magnification
            modality = f"automated-{power:g}x" if power else "automated"
            return Candidate(shelved.id, shelved.place, shelved.place, modality, 0, is_whole=True)
        folder = FieldsFolder(shelved.folder)
    except FileError:
        return None
    header = folder.header
    slide, fields = header.slide_id or shelved.place, len(readable_fields(folder))
    return Candidate(shelved.id, shelved.place, slide, modality_of(header), fields, _shows_whole(shelved))


def _shows_whole(shelved: Shelved) -> bool:
    """Photographs taken by hand lie nobody knows where: even stitched they are no slide."""
    return shelved.is_whole and (shelved.folder is None or not are_loose(FieldsFolder(shelved.folder).header))


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


def check_shown(sources: Sources, shelf: Shelf, *, whole: bool) -> None:
    """Whether each slide can be shown in the way that the study asks for.

    Raises:
        SettingsError: if one cannot, naming it.
        FileError: if a slide is not there any more.
    """
    for slide, of_slide in sources.items():
        for modality, shelved in ((modality, shelf.slide(one)) for modality, one in of_slide.items()):
            if whole and not _shows_whole(shelved):
                raise SettingsError(
                    f"{slide} in {modality} is no whole slide, but single fields: stitch the scan, or leave it out; "
                    "photographs cannot be stitched"
                )
            if not whole and shelved.folder is None:
                raise SettingsError(f"{slide} in {modality} has no single fields: show whole slides, or leave it out")


def extents_of(sources: Sources, wholes: WholeSlides) -> dict[str, Extent]:
    """How large the slides are that are shown whole, by their shelved ids.

    Raises:
        SettingsError: if one cannot be read, or does not say how large its pixels are.
    """
    extents = {}
    for slide, of_slide in sources.items():
        for modality, shelved in of_slide.items():
            try:
                extents[shelved] = wholes.extent(shelved)
            except FileError as error:
                raise SettingsError(f"{slide} in {modality}: {error}") from error
    return extents
