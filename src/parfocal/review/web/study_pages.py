"""Studies: a reader's list of what there is to read, and the study lead's pages that set one up and watch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Form, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from parfocal.errors import InputError, SettingsError
from parfocal.review.accounts import accounts, trail
from parfocal.review.accounts.roles import Right, Role
from parfocal.review.database.tables import StudyRow
from parfocal.review.reading_state import free_from
from parfocal.review.report_forms import form_names, load_form
from parfocal.review.studies import keeping, shown
from parfocal.review.studies.catalogue import candidates, check_shown, missing_from, modalities_of, sources_of
from parfocal.review.study import FIELDS_PER_SLIDE, WASH_OUT_DAYS, StudyDesign
from parfocal.review.web.guards import MOST_FIELDS, Browsing, Leading, meant
from parfocal.review.web.pages import render
from parfocal.review.web.refusals import foreign
from parfocal.review.web.services import Services, WithServices
from parfocal.review.web.visitors import Visitor, address_of

router = APIRouter(dependencies=[Depends(meant)], include_in_schema=False)

StudyId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]
GLASS = "glass"
WHOLE = "whole"
ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Task:
    """What a reader has to do in a study.

    Attributes:
        id: of the study.
        name: of the study.
        done: readings that were submitted.
        total: of all.
        under_way: whether one was begun.
        waits_until: day from which the next may begin; None where it may now, or nothing is left.
        is_over: whether the study is closed.
    """

    id: str
    name: str
    done: int
    total: int
    under_way: bool
    waits_until: date | None
    is_over: bool


@router.get("/studies")
def studies_page(request: Request, visitor: Browsing, services: WithServices, done: str = "") -> HTMLResponse:
    """What there is to read; and all studies, for their lead."""
    with services.database.reading() as session:
        rows = list(session.scalars(select(StudyRow).order_by(StudyRow.created_at.desc())))
        tasks = [task for row in rows if (task := _task(session, row, visitor.name)) is not None]
    led = rows if visitor.may(Right.LEAD) else []
    return render(request, "studies.html", visitor, tasks=tasks, studies=led, done=done, leads=visitor.may(Right.LEAD))


def _task(session: Session, study: StudyRow, reader: str) -> Task | None:
    if study.state == "draft" or reader not in keeping.design_of(study).readers:
        return None
    plan = keeping.plan_of(study)
    states = keeping.states_of(keeping.sheets_of(session, study, reader))
    phases = [state.phase for state in states.values()]
    waiting = [one for one in plan.of(reader) if states[one.code].phase == "waiting"]
    begins = [free_from(plan, one, states) for one in waiting]
    until = None
    if waiting and all(moment is not None and moment > trail.now() for moment in begins):
        first = min(moment for moment in begins if moment is not None)
        until = (first + timedelta(days=1)).date()  # to the day: the hour would tell which slide it was
    under_way = "open" in phases or "paused" in phases
    return Task(
        study.id,
        study.name,
        phases.count("submitted"),
        len(phases),
        under_way,
        None if under_way else until,
        study.state == "closed",
    )


@router.post("/studies/{study_id}/next")
def read_next(study_id: StudyId, visitor: Browsing, services: WithServices) -> Response:
    """Open the next reading, or the one that was begun."""
    with services.database.writing() as session:
        study = keeping.locked_study(session, study_id)
        if study is not None and visitor.name not in keeping.design_of(study).readers:
            raise foreign("study")
        if study is None or study.state == "draft":
            raise HTTPException(404, "there is no such study")
        sheet = keeping.next_sheet(session, study, visitor.name, trail.now())
    return RedirectResponse(f"/sheets/{sheet.id}" if sheet else "/studies", 303)


# For the study lead


async def typed_form(request: Request) -> FormData:
    """A form with as many fields as there are slides to choose from."""
    return await request.form(max_fields=MOST_FIELDS)


TypedForm = Annotated[FormData, Depends(typed_form)]


@router.get("/studies/new")
def new_study_page(request: Request, visitor: Leading, services: WithServices) -> HTMLResponse:
    """The form that makes a study."""
    return _new(request, visitor, services, FormData())


def _new(
    request: Request, visitor: Visitor, services: Services, typed: FormData, problem: str = "", status: int = 200
) -> HTMLResponse:
    values = {
        "candidates": candidates(services.shelf),
        "accounts": _possible_readers(services),
        "forms": [load_form(name) for name in form_names()],
        "typed": typed,
        "is_new": not typed,
        "fields_per_slide": FIELDS_PER_SLIDE,
        "wash_out_days": WASH_OUT_DAYS,
        "problem": problem,
    }
    return render(request, "study_new.html", visitor, status=status, **values)


def _possible_readers(services: Services) -> list[str]:
    with services.database.reading() as session:
        everybody = accounts.everybody(session)
    return [one.name for one in everybody if not one.disabled and Right.IDENTIFY not in Role(one.role).rights]


@router.post("/studies")
def make_study(request: Request, visitor: Leading, services: WithServices, typed: TypedForm) -> Response:
    """Make a study; it does not start yet."""
    try:
        chosen = [(one, _word(typed, f"slide-{one}"), _word(typed, f"modality-{one}")) for one in _words(typed, "show")]
        sources = sources_of(chosen)
        design = _design(typed, sources)
        check_shown(sources, services.shelf, whole=design.fields_per_slide is None)
        with services.database.writing() as session:
            row = keeping.make_study(session, design, sources, visitor.name, address_of(request))
    except InputError as error:
        return _new(request, visitor, services, typed, str(error), 422)
    return RedirectResponse(f"/studies/{row.id}", 303)


def _design(typed: FormData, sources: dict[str, dict[str, str]]) -> StudyDesign:
    with_glass = bool(_word(typed, "glass"))
    modalities = modalities_of(sources)
    if with_glass and GLASS in modalities:
        raise SettingsError("glass is read without an image: call the images' modality something else")
    design = StudyDesign(
        name=_word(typed, "name"),
        slides=tuple(sources),
        modalities=(*((GLASS,) if with_glass else ()), *modalities),
        readers=tuple(_words(typed, "reader")),
        reference=GLASS if with_glass else None,
        fields_per_slide=None if _word(typed, "shows") == WHOLE else _number(typed, "fields_per_slide", int),
        missing=missing_from(sources),
        repeats=_number(typed, "repeats", int),
        wash_out_days=_number(typed, "wash_out_days", float),
        margin_percent=_number(typed, "margin", float) if _word(typed, "margin") else None,
        form=_word(typed, "form"),
    )
    return replace(design, seed=_number(typed, "seed", int)) if _word(typed, "seed") else design


def _word(typed: FormData, name: str) -> str:
    value = typed.get(name, "")
    return _printable(value.strip()) if isinstance(value, str) else ""


def _words(typed: FormData, name: str) -> list[str]:
    return [_printable(value) for value in typed.getlist(name) if isinstance(value, str)]


def _printable(word: str) -> str:
    if not word.isprintable():
        raise SettingsError(f"{word!r} is not one line of letters")
    return word


def _number(typed: FormData, name: str, kind: Callable[[str], _Number]) -> _Number:
    try:
        return kind(_word(typed, name))
    except ValueError as error:
        raise SettingsError(f"{name.replace('_', ' ')} {_word(typed, name)!r} is not a number") from error


@router.get("/studies/{study_id}")
def study_page(request: Request, study_id: StudyId, visitor: Leading, services: WithServices) -> HTMLResponse:
    """Design and progress of a study; no finding."""
    return _page(request, study_id, visitor, services)


def _page(
    request: Request, study_id: str, visitor: Visitor, services: Services, problem: str = "", status: int = 200
) -> HTMLResponse:
    with services.database.reading() as session:
        study = found(session.get(StudyRow, study_id))
        sheets = keeping.sheets_of(session, study)
    design = keeping.design_of(study)
    progress = {
        reader: {
            phase: sum(sheet.phase == phase for sheet in sheets if sheet.reader == reader)
            for phase in ("waiting", "open", "paused", "submitted")
        }
        for reader in design.readers
    }
    values = {
        "study": study,
        "design": design,
        "progress": progress,
        "complete": bool(sheets) and all(sheet.phase == "submitted" for sheet in sheets),
        "possible": [name for name in _possible_readers(services) if name not in design.readers],
        "changes": shown.changes(study, sheets, services.frames, services.wholes),
        "problem": problem,
    }
    return render(request, "study.html", visitor, status=status, **values)


@router.post("/studies/{study_id}/readers")
def change_readers(
    request: Request,
    study_id: StudyId,
    visitor: Leading,
    services: WithServices,
    add: Annotated[str, Form(max_length=64, pattern=ONE_LINE)] = "",
    remove: Annotated[str, Form(max_length=64, pattern=ONE_LINE)] = "",
) -> Response:
    """Add or remove a reader, before the study starts."""

    def change(session: Session, study: StudyRow) -> None:
        before = keeping.design_of(study).readers
        after = tuple(name for name in dict.fromkeys((*before, *([add] if add else []))) if name != remove)
        keeping.set_readers(session, study, after, visitor.name, address_of(request))

    return _changed(request, study_id, visitor, services, change)


@router.post("/studies/{study_id}/margin")
def change_margin(
    request: Request, study_id: StudyId, visitor: Leading, services: WithServices, margin: Annotated[float, Form()]
) -> Response:
    """Set the margin of non-inferiority, before the study is unblinded."""
    return _changed(
        request,
        study_id,
        visitor,
        services,
        lambda session, study: keeping.set_margin(session, study, margin, visitor.name, address_of(request)),
    )


@router.post("/studies/{study_id}/start")
def start(request: Request, study_id: StudyId, visitor: Leading, services: WithServices) -> Response:
    """Draw fields, orders and codes; from now on nothing changes."""
    with services.database.reading() as session:
        row = found(session.get(StudyRow, study_id))
    try:
        slides = keeping.read_slides(row, services.frames, services.wholes)
    except InputError as error:
        return _page(request, study_id, visitor, services, str(error), 422)
    return _changed(
        request,
        study_id,
        visitor,
        services,
        lambda session, study: keeping.start(session, study, slides, visitor.name, address_of(request)),
    )


@router.post("/studies/{study_id}/close")
def close(
    request: Request,
    study_id: StudyId,
    visitor: Leading,
    services: WithServices,
    broken_off: Annotated[bool, Form()] = False,
) -> Response:
    """End the reading and unblind."""
    with services.database.reading() as session:
        row = found(session.get(StudyRow, study_id))
        sheets = keeping.sheets_of(session, row)
    changed = shown.changes(row, sheets, services.frames, services.wholes)

    def end(session: Session, study: StudyRow) -> None:
        by, address = visitor.name, address_of(request)
        keeping.close(session, study, by, address, broken_off=broken_off, changes=changed)

    return _changed(request, study_id, visitor, services, end)


def _changed(
    request: Request,
    study_id: str,
    visitor: Visitor,
    services: Services,
    change: Callable[[Session, StudyRow], None],
) -> Response:
    try:
        with services.database.writing() as session:
            change(session, found(keeping.locked_study(session, study_id)))
    except InputError as error:
        return _page(request, study_id, visitor, services, str(error), 422)
    services.withheld.forget()
    return RedirectResponse(f"/studies/{study_id}", 303)


@router.get("/studies/{study_id}/design.json")
def design_file(study_id: StudyId, _: Leading, services: WithServices) -> Response:
    """The design as it was when the study started: its SHA-256 is the one that is shown. The seed is in it."""
    with services.database.reading() as session:
        study = found(session.get(StudyRow, study_id))
    headers = {"content-disposition": f'attachment; filename="design-{study_id}.json"'}
    return Response(keeping.design_of(study).to_bytes(), media_type="application/json", headers=headers)


@router.get("/studies/{study_id}/codes")
def codes_page(request: Request, study_id: StudyId, visitor: Leading, services: WithServices) -> HTMLResponse:
    """Codes to stick on the glass, to be printed."""
    with services.database.reading() as session:
        study = found(session.get(StudyRow, study_id))
    plan = keeping.plan_of(study)
    labels = {(one.case.slide, one.repeat, one.case.label) for one in plan.assignments if one.case.label}
    own = [one for one in sorted(labels) if one[1] == 1 or (one[0], 1, one[2]) not in labels]  # once of older versions
    return render(request, "study_codes.html", visitor, study=study, labels=own)


def found(study: StudyRow | None) -> StudyRow:
    """A study that is there."""
    if study is None:
        raise HTTPException(404, "there is no such study")
    return study
