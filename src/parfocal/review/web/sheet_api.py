"""Sheets for the page's script: what was entered so far, and every further entry, saved at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, HTTPException, Path
from pydantic import BaseModel, StringConstraints
from sqlalchemy.orm import Session

from parfocal.errors import FileError, InputError
from parfocal.review.database.tables import SheetRow, StudyRow
from parfocal.review.sheets import keeping
from parfocal.review.sheets.entries import Contents, Entry, Eyepiece, Mark, Unshown
from parfocal.review.sheets.frames import HEIGHT, WIDTH
from parfocal.review.shelf.opened import TILE_PX
from parfocal.review.web.blinding import check_unblinded
from parfocal.review.web.guards import Browsing, meant
from parfocal.review.web.refusals import foreign
from parfocal.review.web.services import Services, WithServices
from parfocal.review.web.visitors import Visitor

router = APIRouter(dependencies=[Depends(meant)], tags=["sheets"])

SheetId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]
Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{8,36}$")]


class KeyedMark(BaseModel):
    """A mark, and the key by which it can be taken back."""

    key: str
    mark: Mark


class TypedCount(BaseModel):
    """A count without marks."""

    item: str
    frame: int | None
    count: int


class Progress(BaseModel):
    """Grades so far by item, and how many fields were looked at."""

    grades: dict[str, str]
    looked: int


class SheetInfo(Progress):
    """All that was entered. Sizes in px of a frame; every sheet's frames have the same.

    A whole slide is one frame: `tiles` is the path of its Deep Zoom tiles, and all of a study have the same size.
    """

    phase: str
    frames: int
    width: int
    height: int
    um_per_px: float | None
    tiles: str | None
    tile_px: int | None
    marks: list[KeyedMark]
    typed: list[TypedCount]
    answers: dict[str, str]
    frames_looked_at: list[int]
    interpretable: bool
    eyepiece: Eyepiece | None


class NewEntry(BaseModel):
    """One entry; the key is made up by whoever sends it, so that sending it twice saves it once."""

    key: Key
    entry: Annotated[Entry, Body()]


@router.get("/api/sheets/{sheet_id}")
def sheet(sheet_id: SheetId, visitor: Browsing, services: WithServices) -> SheetInfo:
    """One's own sheet."""
    with services.database.reading() as session:
        row = own(session, session.get(SheetRow, sheet_id), visitor)
        if row.study_id is not None and row.phase == "submitted":
            raise HTTPException(404, "this reading is submitted: it is not shown again")  # nor before it is repeated
        told = keeping.contents(session, row.id)
    return SheetInfo(
        **_progress(row, told).model_dump(),
        phase=row.phase,
        frames=len(row.frames),
        width=row.canvas["width"] if row.canvas else WIDTH,
        height=row.canvas["height"] if row.canvas else HEIGHT,
        um_per_px=None if row.um_per_px is None else float(f"{row.um_per_px:.3g}"),
        tiles=f"/sheets/{row.id}/tiles/" if row.canvas else None,
        tile_px=TILE_PX if row.canvas else None,
        marks=[KeyedMark(key=key, mark=mark) for key, mark in told.marks.items()],
        typed=[TypedCount(item=item, frame=frame, count=count) for (item, frame), count in told.typed.items()],
        answers=dict(told.answers),
        frames_looked_at=sorted(told.looked),
        interpretable=told.interpretable,
        eyepiece=told.eyepiece,
    )


@router.post("/api/sheets/{sheet_id}/entries")
def enter(sheet_id: SheetId, new: NewEntry, visitor: Browsing, services: WithServices) -> Progress:
    """Save an entry. It is on disk when this answers."""
    if isinstance(new.entry, Unshown):
        _check_unshown(sheet_id, new.entry.frame, visitor, services)
    with services.database.writing() as session:
        row = own_locked(session, sheet_id, visitor)
        keeping.enter(session, row, new.key, new.entry)
        session.flush()
        return _progress(row, keeping.contents(session, row.id))  # nothing is kept that cannot be shown again


def own(session: Session, row: SheetRow | None, visitor: Visitor) -> SheetRow:
    """A sheet that is this visitor's and was begun; others are not there, nor drafts of reports while a study runs."""
    if row is not None and row.reader != visitor.name:
        raise foreign("sheet")
    if row is None or row.phase in ("waiting", "discarded"):
        raise HTTPException(404, "there is no such sheet")
    if row.study_id is None:
        check_unblinded(session, visitor, "sheet")
    return row


def own_locked(session: Session, sheet_id: str, visitor: Visitor) -> SheetRow:
    """One's own sheet, to be written upon: nobody else does, and its study is not closed, until the transaction ends.

    Raises:
        InputError: if its study is closed.
    """
    check_running(session, own(session, session.get(SheetRow, sheet_id), visitor))  # first, as whoever closes it does
    return own(session, keeping.locked_sheet(session, sheet_id), visitor)


def check_running(session: Session, row: SheetRow) -> None:
    """Raises InputError if the sheet's study was closed; until the transaction ends it is not."""
    study = None if row.study_id is None else session.get(StudyRow, row.study_id, with_for_update={"read": True})
    if study is not None and study.state != "running":
        raise InputError("this study is closed")


def _check_unshown(sheet_id: str, frame: int, visitor: Visitor, services: Services) -> None:
    """A field that can be shown has to be looked at. It is read outside the transaction that writes."""
    with services.database.reading() as session:
        row = own(session, session.get(SheetRow, sheet_id), visitor)
    if row.canvas or row.slide_id is None or frame >= len(row.frames):
        raise InputError("there is no such field")
    services.shelf.look_again()  # a slide that was moved a moment ago is found before its field is given up
    try:
        services.frames.frame(row.slide_id, row.frames[frame], keeping.attempt_of(row, frame))
    except FileError:
        return
    raise InputError(f"field {frame + 1} can be shown")


def _progress(row: SheetRow, told: Contents) -> Progress:
    findings = keeping.report_of(row, told).findings
    grades = {one.key: f"{one.grade} {one.grade_title}" for one in findings if one.grade is not None}
    return Progress(grades=grades, looked=len(told.looked))
