"""The page on which a reader looks at fields and fills in a form; also put aside, gone on with and signed there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from parfocal.errors import FileError, InputError, SettingsError
from parfocal.review.accounts import trail
from parfocal.review.accounts.roles import Right
from parfocal.review.database.tables import SheetRow, StudyRow
from parfocal.review.reading_state import ReadingState
from parfocal.review.sheets import keeping
from parfocal.review.sheets.frames import ChangedError
from parfocal.review.sheets.whole import Canvas, Shown
from parfocal.review.web.guards import Browsing, meant
from parfocal.review.web.pages import render
from parfocal.review.web.refusals import Refused, foreign
from parfocal.review.web.services import Services, WithServices
from parfocal.review.web.sheet_api import SheetId, own, own_locked
from parfocal.review.web.visitors import Visitor, address_of

router = APIRouter(dependencies=[Depends(meant)], include_in_schema=False)

Place = Annotated[int, Path(ge=0, le=10**6)]


@router.get("/sheets/{sheet_id}")
def sheet_page(request: Request, sheet_id: SheetId, visitor: Browsing, services: WithServices) -> HTMLResponse:
    """One's own sheet."""
    return _page(request, sheet_id, visitor, services)


def _page(
    request: Request, sheet_id: str, visitor: Visitor, services: Services, problem: str = "", status: int = 200
) -> HTMLResponse:
    with services.database.reading() as session:
        row = own(session, session.get(SheetRow, sheet_id), visitor)
        study = None if row.study_id is None else session.get(StudyRow, row.study_id)
    template = "sheet.html" if row.phase == "open" else "sheet_resting.html"
    values = {"sheet": row, "study": study, "form": keeping.form_of(row), "problem": problem}
    return render(request, template, visitor, status=status, **values)


@router.get("/sheets/{sheet_id}/frames/{number}.jpg")
def frame(sheet_id: SheetId, number: int, visitor: Browsing, services: WithServices) -> Response:
    """A field; which one it is, is not told, nor by a tag of its content."""
    row, slide_id = _shown(sheet_id, visitor, services)
    if row.canvas or not 0 <= number < len(row.frames):
        raise HTTPException(404, "there is no such field")
    return _picture(lambda: services.frames.frame(slide_id, row.frames[number], keeping.attempt_of(row, number)))


@router.get("/sheets/{sheet_id}/tiles/{level}/{column}_{row}.jpg")
def tile(
    sheet_id: SheetId, level: Place, column: Place, row: Place, visitor: Browsing, services: WithServices
) -> Response:
    """A Deep Zoom tile of a whole slide; which slide it is, is not told, nor by a tag of its content."""
    sheet, slide_id = _shown(sheet_id, visitor, services)
    if not sheet.canvas:
        raise HTTPException(404, "there is no such tile")
    shown = Shown(Canvas.from_json(sheet.canvas), sheet.content)
    return _picture(lambda: services.wholes.tile(slide_id, shown, level, column, row))


def _shown(sheet_id: str, visitor: Visitor, services: Services) -> tuple[SheetRow, str]:
    """A sheet whose pictures its reader may see now, and its slide's id."""
    with services.database.reading() as session:
        row = session.get(SheetRow, sheet_id)
        if row is None or row.phase != "waiting":
            row = own(session, row, visitor)
        elif row.reader != visitor.name:
            raise foreign("sheet")
        study = None if row.study_id is None else session.get(StudyRow, row.study_id)
    phase = row.phase if study is None or study.state == "running" else "closed"
    if phase != "open" or row.slide_id is None:
        raise Refused(404, "there is no such picture", f"picture of a sheet that is {phase}")
    return row, row.slide_id


def _picture(make: Callable[[], bytes]) -> Response:
    """A picture; why one cannot be read is not told, as it would tell in which file it lies."""
    try:
        return Response(make(), media_type="image/jpeg")
    except SettingsError as error:
        raise HTTPException(404, "there is no such picture") from error
    except ChangedError as error:
        why = "this picture is not what it was when the reading was laid out, and is not shown"
        raise HTTPException(404, f"{why}: tell whoever leads the study") from error
    except FileError as error:
        raise HTTPException(404, "this picture cannot be read: tell whoever leads the study") from error


@router.post("/sheets/{sheet_id}/pause")
def pause(sheet_id: SheetId, visitor: Browsing, services: WithServices) -> Response:
    """Put a sheet aside."""
    _change(sheet_id, visitor, services, lambda state: state.pause(trail.now()))
    return RedirectResponse(f"/sheets/{sheet_id}", 303)


@router.post("/sheets/{sheet_id}/continue")
def go_on(sheet_id: SheetId, visitor: Browsing, services: WithServices) -> Response:
    """Go on with a sheet."""
    _change(sheet_id, visitor, services, lambda state: state.resume(trail.now()))
    return RedirectResponse(f"/sheets/{sheet_id}", 303)


@router.post("/sheets/{sheet_id}/submit")
def submit(request: Request, sheet_id: SheetId, visitor: Browsing, services: WithServices) -> Response:
    """Sign a sheet: from now on it is final."""
    try:
        with services.database.writing() as session:
            row = own_locked(session, sheet_id, visitor)
            if row.phase == "submitted":
                raise Refused(422, "this was submitted before, and is final", "sent once more after it was submitted")
            signed = keeping.submit(session, row)
            digest = "" if signed.signature is None else signed.signature.digest
            what = "report signed" if row.study_id is None else "reading submitted"
            trail.note(session, visitor.name, what, row.id, address_of(request), version=signed.version, sha256=digest)
            where = f"/studies?done={row.study_id}" if row.study_id else f"/reports/{signed.number}"
    except InputError as error:
        return _page(request, sheet_id, visitor, services, str(error), 422)
    return RedirectResponse(where, 303)


@router.post("/sheets/{sheet_id}/discard")
def discard(request: Request, sheet_id: SheetId, visitor: Browsing, services: WithServices) -> Response:
    """Give up a draft of one's own; or, as an admin, anybody's: it would stand in the way of every amendment."""
    with services.database.writing() as session:
        row = keeping.locked_sheet(session, sheet_id)
        if row is None or not visitor.may(Right.ADMINISTER):
            row = own(session, row, visitor)
        if row.study_id is not None:
            raise HTTPException(422, "a reading of a study cannot be discarded")
        keeping.keep_state(row, keeping.state_of(row).discard(trail.now()))
        trail.note(session, visitor.name, "draft discarded", row.id, address_of(request), of=row.reader)
    return RedirectResponse("/reports", 303)


def _change(sheet_id: str, visitor: Visitor, services: Services, step: Callable[[ReadingState], ReadingState]) -> None:
    with services.database.writing() as session:
        row = own_locked(session, sheet_id, visitor)
        keeping.keep_state(row, step(keeping.state_of(row)))
