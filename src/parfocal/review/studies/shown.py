"""Whether readers of a study are shown what there was when it started, and what has changed since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy.orm import Session

from parfocal.errors import FileError
from parfocal.review.database.tables import SheetRow, StudyRow
from parfocal.review.sheets.frames import Attempt, Attempts, FieldFrames
from parfocal.review.sheets.keeping import contents
from parfocal.review.sheets.whole import WholeSlides

Sheets = Sequence[SheetRow]


def shown_words(session: Session, sheets: Sheets) -> tuple[str, ...]:
    """What the readings that were made were shown, for whoever reads the figures; nothing where all are on glass."""
    made = [sheet for sheet in sheets if sheet.slide_id is not None and sheet.submitted_at is not None]
    if not made:
        return ()
    if any(sheet.attempts is None and sheet.content is None for sheet in made):
        return ("Which frame of each field, and which content of each slide, readers were shown was not recorded.",)
    if any(sheet.canvas for sheet in made):
        return ("Whole slides were shown only while they were what they were at the start, by length and samples.",)
    left = sum(len(told.unshown - told.looked) for told in (contents(session, sheet.id) for sheet in made))
    of = sum(len(sheet.frames) for sheet in made)
    without = f" {left} of {of} fields were damaged or changed, and left out." if left else ""
    sealed = all(sha256 for sheet in made for _, sha256 in sheet.attempts or ())
    known = "by its SHA-256" if sealed else "by its SHA-256 where the scan, of an older version, has one"
    return (f"Readers were shown the attempt of each drawn field that counted at the start, {known}.{without}",)


def changes(study: StudyRow, sheets: Iterable[SheetRow], frames: FieldFrames, wholes: WholeSlides) -> list[str]:
    """What is not as it was when the study started, for its lead; of a closed one, what was not when it was closed.

    Frames' files are not read for it.
    """
    if study.changes is not None:
        return list(study.changes)
    names = {one: f"{slide} in {how}" for slide, kinds in study.sources.items() for how, one in kinds.items()}
    first = {sheet.slide_id: sheet for sheet in sheets if sheet.slide_id is not None}
    found = []
    for slide_id, sheet in first.items():
        try:
            told = _of_whole(wholes, slide_id, sheet) if sheet.canvas else _of_fields(frames.attempts(slide_id), sheet)
        except FileError:
            told = ["cannot be read: the slide was taken away, is damaged, or another one lies in its place"]
        found += [f"{names.get(slide_id, slide_id)}: {words}" for words in told]
    later = " (now; what it was when the study was closed was not recorded)" if study.state == "closed" else ""
    return sorted(words + later for words in found)


def _of_whole(wholes: WholeSlides, slide_id: str, sheet: SheetRow) -> list[str]:
    if sheet.content in (None, wholes.content(slide_id)):
        return []
    return ["the slide has changed since the start, as if it was stitched again: readers are not shown it"]


def _of_fields(there: Attempts, sheet: SheetRow) -> list[str]:
    if sheet.attempts is None:
        return []
    pinned = [(field, Attempt(*told)) for field, told in zip(sheet.frames, sheet.attempts, strict=True)]
    gone = sum(one not in there.every for one in pinned)
    again = sum(there.latest.get(field, attempt) != attempt for field, attempt in pinned) - gone
    of = f"of {len(pinned)} drawn fields"
    told = {
        f"{again} {of} taken again since the start: readers are shown those of the start": again,
        f"{gone} {of} not in the folder any more as at the start: readers are not shown them": gone,
    }
    return [words for words, count in told.items() if count > 0]
