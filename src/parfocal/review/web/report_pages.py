"""Reports on slides: begun, signed, read, amended, as page, PDF and JSON."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from parfocal.errors import InputError
from parfocal.review.accounts import trail
from parfocal.review.accounts.roles import Right
from parfocal.review.database.tables import ReportRow, SheetRow
from parfocal.review.report import Report
from parfocal.review.report_forms import form_names, load_form
from parfocal.review.sheets import keeping
from parfocal.review.sheets.frames import area_mm2, attempts_of, readable_fields, um_per_px
from parfocal.review.study import FIELDS_PER_SLIDE, draw_fields
from parfocal.review.web.blinding import NOT_WITHHELD, check_unblinded, is_blinded
from parfocal.review.web.guards import Browsing, meant
from parfocal.review.web.pages import render
from parfocal.review.web.refusals import Refused, foreign
from parfocal.review.web.services import Services, WithServices
from parfocal.review.web.slide_api import SlideId
from parfocal.review.web.slide_pages import name_for
from parfocal.review.web.visitors import Visitor, address_of

router = APIRouter(dependencies=[Depends(meant), NOT_WITHHELD], include_in_schema=False)

_MOST_FIELDS = 500
Number = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]


@router.get("/reports")
def reports_page(request: Request, visitor: Browsing, services: WithServices) -> HTMLResponse:
    """Signed reports and one's own drafts, newest first."""
    latest = select(ReportRow.number, func.max(ReportRow.version).label("version")).group_by(ReportRow.number)
    newest = latest.subquery()
    query = (
        select(ReportRow, SheetRow)
        .join(newest, (newest.c.number == ReportRow.number) & (newest.c.version == ReportRow.version))
        .join(SheetRow, SheetRow.id == ReportRow.sheet_id)
        .where(SheetRow.study_id.is_(None))
        .order_by(ReportRow.signed_at.desc())
    )
    if not visitor.may(Right.IDENTIFY):
        query = query.where(ReportRow.signed_by == visitor.name)
    drafts = select(SheetRow).where(
        SheetRow.study_id.is_(None), SheetRow.reader == visitor.name, SheetRow.phase.in_(("open", "paused"))
    )
    with services.database.reading() as session:
        blinded = is_blinded(session, visitor)
        rows = [] if blinded else [(report, sheet) for report, sheet in session.execute(query)]
        own = [] if blinded else list(session.scalars(drafts.order_by(SheetRow.since.desc())))
    return render(request, "reports.html", visitor, reports=rows, drafts=own, blinded=blinded)


@router.get("/slides/{slide_id}/report")
def new_report_page(request: Request, slide_id: SlideId, visitor: Browsing, services: WithServices) -> HTMLResponse:
    """The form that begins a report on a slide."""
    return _new(request, slide_id, visitor, services)


def _new(
    request: Request, slide_id: str, visitor: Visitor, services: Services, problem: str = "", status: int = 200
) -> HTMLResponse:
    slide = services.shelf.slide(slide_id)
    fields = 0 if slide.folder is None else len(readable_fields(services.frames.folder(slide_id)))
    values = {
        "slide_id": slide_id,
        "name": name_for(slide, visitor),
        "forms": [load_form(name) for name in form_names()],
        "available": fields,
        "usual": min(fields, FIELDS_PER_SLIDE),
        "most": min(fields, _MOST_FIELDS),
        "problem": problem,
    }
    return render(request, "report_new.html", visitor, status=status, **values)


@router.post("/slides/{slide_id}/report")
def begin_report(
    request: Request,
    slide_id: SlideId,
    visitor: Browsing,
    services: WithServices,
    form: Annotated[str, Form(max_length=40)],
    fields: Annotated[int, Form(ge=0, le=_MOST_FIELDS)] = 0,
) -> Response:
    """Begin one: fields are drawn at random, unless it is counted without an image."""
    if form not in form_names():
        return _new(request, slide_id, visitor, services, f"there is no form {form!r}", 422)
    try:
        shown = _drawn(services, slide_id, fields) if fields else {}
    except InputError as error:
        return _new(request, slide_id, visitor, services, str(error), 422)
    name = services.shelf.slide(slide_id).pseudonym
    with services.database.writing() as session:
        row = keeping.make_sheet(session, visitor.name, load_form(form), name, slide_id=slide_id, **shown)
        keeping.keep_state(row, keeping.state_of(row).begin(trail.now()))
        detail = {"form": form, "fields": fields}
        trail.note(session, visitor.name, "report begun", row.id, address_of(request), slide=slide_id, **detail)
    return RedirectResponse(f"/sheets/{row.id}", 303)


def _drawn(services: Services, slide_id: str, number: int) -> dict[str, Any]:
    folder = services.frames.folder(slide_id)
    frames = draw_fields(readable_fields(folder), number, "report", seed=secrets.randbelow(2**48))
    area, scale = area_mm2(folder.header), um_per_px(folder.header)
    attempts = attempts_of(folder)
    shown = {"frames": list(frames), "attempts": [attempts[field].to_json() for field in frames]}
    return {**shown, "field_area_mm2": area, "um_per_px": scale}


@router.get("/reports/{number}")
def report_page(request: Request, number: Number, visitor: Browsing, services: WithServices) -> HTMLResponse:
    """All versions of a report; the newest in full."""
    return _page(request, number, visitor, services)


def _page(
    request: Request, number: str, visitor: Visitor, services: Services, problem: str = "", status: int = 200
) -> HTMLResponse:
    with services.database.reading() as session:
        versions, sheet = _seen(session, number, visitor)
        draft = keeping.under_way(session, number)
    values = {
        "versions": versions[::-1],
        "newest": versions[-1],
        "sheet": sheet,
        "draft": draft,
        "may_amend": _may_amend(versions, visitor),
        "may_discard": draft is not None and (visitor.may(Right.ADMINISTER) or draft.reader == visitor.name),
        "problem": problem,
    }
    return render(request, "report.html", visitor, status=status, number=number, **values)


@router.post("/reports/{number}/amend")
def amend(
    request: Request,
    number: Number,
    visitor: Browsing,
    services: WithServices,
    reason: Annotated[str, Form(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")],
) -> Response:
    """Begin the next version, with all that was entered before."""
    try:
        with services.database.writing() as session:
            keeping.locked_sheet(session, number)  # of the first version: two at once do not begin the same one
            versions, sheet = _seen(session, number, visitor)
            if not _may_amend(versions, visitor):
                raise Refused(403, "a report is amended by who signed it, or by an admin", "report of somebody else")
            made = keeping.amendment(session, sheet, visitor.name, reason)
            trail.note(session, visitor.name, "report amended", number, address_of(request), reason=reason)
    except InputError as error:
        return _page(request, number, visitor, services, str(error), 422)
    return RedirectResponse(f"/sheets/{made.id}", 303)


def _may_amend(versions: Sequence[Report], visitor: Visitor) -> bool:
    """Whoever signed a version of it, and the admin."""
    signers = {one.signature.reader for one in versions if one.signature is not None}
    return visitor.name in signers or visitor.may(Right.ADMINISTER)


@router.get("/reports/{number}/{version}.json")
def as_json(number: Number, version: int, visitor: Browsing, services: WithServices) -> Response:
    """A version as JSON."""
    report = _version(services, number, version, visitor)
    text = json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n"
    return Response(text, media_type="application/json", headers=_as_file(number, version, "json"))


@router.get("/reports/{number}/{version}.pdf")
def as_pdf(number: Number, version: int, visitor: Browsing, services: WithServices) -> Response:
    """A version as PDF."""
    from parfocal.review.report_pdf import pdf_bytes  # here, as it would make a server start later

    made = pdf_bytes(_version(services, number, version, visitor))
    return Response(made, media_type="application/pdf", headers=_as_file(number, version, "pdf"))


def _version(services: Services, number: str, version: int, visitor: Visitor) -> Report:
    with services.database.reading() as session:
        versions, _ = _seen(session, number, visitor)
    if not 1 <= version <= len(versions):
        raise HTTPException(404, "there is no such version")
    return versions[version - 1]


def _seen(session: Session, number: str, visitor: Visitor) -> tuple[Sequence[Report], SheetRow]:
    """All versions and the newest one's sheet; a study's reading is no report, and other people's are not there."""
    query = select(ReportRow).where(ReportRow.number == number).order_by(ReportRow.version)
    rows = list(session.scalars(query))
    sheet = session.get(SheetRow, rows[-1].sheet_id) if rows else None
    may_see = visitor.may(Right.IDENTIFY) or any(row.signed_by == visitor.name for row in rows)
    if sheet is None or sheet.study_id is not None:
        raise HTTPException(404, "there is no such report")
    if not may_see:
        raise foreign("report")
    check_unblinded(session, visitor, "report")
    return keeping.versions(session, number), sheet


def _as_file(number: str, version: int, suffix: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="report-{number}-{version}.{suffix}"'}
