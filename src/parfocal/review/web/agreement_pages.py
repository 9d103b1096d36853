"""What a closed study found: agreement as page and files, and discordances with all that was scanned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from parfocal.errors import InputError
from parfocal.review.accounts import trail
from parfocal.review.agreement_report import RESAMPLES
from parfocal.review.agreement_tables import tables, write_csv, write_html
from parfocal.review.database.tables import RulingRow, SheetRow, StudyRow
from parfocal.review.forest_plot import draw_forest
from parfocal.review.sheets.entries import Mark
from parfocal.review.sheets.frames import readable_fields
from parfocal.review.sheets.keeping import attempt_of, contents, form_of
from parfocal.review.sheets.whole import Canvas
from parfocal.review.studies import results
from parfocal.review.studies.keeping import design_of, sheets_of
from parfocal.review.studies.results import RULING_WORDS, Discordance, Ruling
from parfocal.review.studies.shown import changes
from parfocal.review.web.guards import Leading, meant
from parfocal.review.web.pages import render
from parfocal.review.web.services import Services, WithServices
from parfocal.review.web.sheet_api import SheetId
from parfocal.review.web.study_pages import StudyId, found
from parfocal.review.web.visitors import address_of

router = APIRouter(dependencies=[Depends(meant)], include_in_schema=False)

NO_CONTROL = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"


@router.get("/studies/{study_id}/agreement")
def agreement_page(request: Request, study_id: StudyId, visitor: Leading, services: WithServices) -> HTMLResponse:
    """Tables like the paper's 3 and 4, the plot, and the slides for adjudication."""
    with services.database.reading() as session:
        study = found(session.get(StudyRow, study_id))
        report = services.agreements.of(session, study)
        discordances = results.discordances_of(session, study, report)
        changed = _changed(services, session, study)
    figures = report.to_json()
    remarks = [*figures["remarks"], *changed]
    return render(
        request,
        "agreement.html",
        visitor,
        study=study,
        design=design_of(study),
        discordances=[one.words for one in discordances],
        ruling_words=RULING_WORDS,
        remarks=remarks,
        tables=tables(figures),
        ruled=results.ruled(discordances),
    )


def _figures(services: WithServices, study_id: str, resamples: int) -> dict[str, Any]:
    with services.database.reading() as session:
        study = found(session.get(StudyRow, study_id))
        report = services.agreements.of(session, study, resamples)
        rulings = [one.words for one in results.discordances_of(session, study, report)]
        told = {"study": study.name, "fingerprint": study.fingerprint, "changes": _changed(services, session, study)}
    return {**report.to_json(), **told, "discordances": rulings}


def _changed(services: Services, session: Session, study: StudyRow) -> list[str]:
    return changes(study, sheets_of(session, study), services.frames, services.wholes)


@router.get("/studies/{study_id}/agreement.{kind}")
def agreement_file(
    study_id: StudyId, kind: Annotated[str, Path(pattern="^(json|csv|html|svg)$")], _: Leading, services: WithServices
) -> Response:
    """The agreement as a file."""
    figures = _figures(services, study_id, RESAMPLES if kind in ("json", "html") else 0)
    headers = {"content-disposition": f'attachment; filename="agreement-{study_id}.{kind}"'}
    if kind == "json":
        return JSONResponse(figures, headers=headers)
    if kind == "svg":
        return Response(draw_forest(figures, "svg"), media_type="image/svg+xml")
    with TemporaryDirectory() as folder:
        path = FilePath(folder) / "agreement"
        (write_csv if kind == "csv" else write_html)(figures, path)
        made = path.read_bytes()
    return Response(made, media_type=f"text/{kind}; charset=utf-8", headers=headers)


@router.get("/studies/{study_id}/readings.csv")
def readings_file(study_id: StudyId, _: Leading, services: WithServices) -> Response:
    """Every reading, as `parfocal study agreement` reads it."""
    with services.database.reading() as session:
        readings = results.readings_of(session, found(session.get(StudyRow, study_id)))
    headers = {"content-disposition": f'attachment; filename="readings-{study_id}.csv"'}
    return Response(results.readings_csv(readings), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/studies/{study_id}/discordances/{number}")
def discordance_page(
    request: Request, study_id: StudyId, number: int, visitor: Leading, services: WithServices
) -> HTMLResponse:
    """One discordance: what was found, what the reader was shown, and all scanned fields that were not drawn."""
    with services.database.reading() as session:
        study = found(session.get(StudyRow, study_id))
        every, one = _discordance(services, session, study, number)
        sheet = results.sheet_of(session, study, one.comparison.reading)
        marks = contents(session, sheet.id).marks
    titles = {item.key: item.title for item in form_of(sheet).items()}
    looked_at = {"places": _places(sheet, marks, titles)} if sheet.canvas else _fields(services, sheet, marks, titles)
    return render(
        request,
        "discordance.html",
        visitor,
        study=study,
        number=number,
        total=len(every),
        one=one.words,
        sheet=sheet,
        ruling_words=_rulings(sheet),
        **looked_at,
    )


def _rulings(sheet: SheetRow) -> dict[Ruling, str]:
    """What a discordance may come from. Of a whole slide nothing was left undrawn."""
    return {one: words for one, words in RULING_WORDS.items() if not sheet.canvas or one != Ruling.NOT_DRAWN}


Marks = Mapping[str, Mark]


def _fields(services: Services, sheet: SheetRow, marks: Marks, titles: Mapping[str, str]) -> dict[str, Any]:
    """Fields that were shown, what was marked on them, and those that were scanned and not drawn; none on glass."""
    shown = list(sheet.frames)
    scanned = [] if sheet.slide_id is None else list(readable_fields(services.frames.folder(sheet.slide_id)))
    marked: dict[int, list[str]] = {}
    for mark in marks.values():
        marked.setdefault(shown[mark.frame], []).append(titles[mark.item])
    return {
        "shown": shown,
        "marked": {field: ", ".join(sorted(set(names))) for field, names in marked.items()},
        "others": [field for field in scanned if field not in set(shown)],
    }


def _places(sheet: SheetRow, marks: Marks, titles: Mapping[str, str]) -> list[tuple[str, int, int]]:
    """(what, x, y) of the marks on a whole slide, in px of its level 0."""
    canvas = Canvas.from_json(sheet.canvas or {})
    left, top = canvas.corner
    return [
        (titles[one.item], round(one.x * canvas.width) - left, round(one.y * canvas.height) - top)
        for one in marks.values()
    ]


@router.post("/studies/{study_id}/discordances/{number}")
def rule(
    request: Request,
    study_id: StudyId,
    number: int,
    visitor: Leading,
    services: WithServices,
    ruling: Annotated[Ruling, Form()],
    field: Annotated[str, Form(pattern="^[0-9]{0,7}$")] = "",
    note: Annotated[str, Form(max_length=500, pattern=NO_CONTROL)] = "",
) -> Response:
    """Say what a discordance comes from; earlier words stay in the database."""
    with services.database.writing() as session:
        study = found(session.get(StudyRow, study_id))
        every, one = _discordance(services, session, study, number)
        reading = one.comparison.reading
        if ruling not in _rulings(results.sheet_of(session, study, reading)):
            raise InputError("a whole slide was shown: nothing was left that was not drawn")
        of = {"reader": reading.reader, "slide": reading.slide, "modality": reading.modality}
        where = int(field) if field else None
        session.add(
            RulingRow(
                study_id=study.id, ruling=ruling, field=where, note=note, ruled_by=visitor.name, at=trail.now(), **of
            )
        )
        trail.note(session, visitor.name, "discordance ruled", study.id, address_of(request), ruling=ruling, **of)
    after = f"discordances/{number + 1}" if number + 1 < len(every) else "agreement#discordances"
    return RedirectResponse(f"/studies/{study_id}/{after}", 303)


@router.get("/studies/{study_id}/sheets/{sheet_id}/fields/{field}.jpg")
def scanned_field(
    study_id: StudyId, sheet_id: SheetId, field: int, _: Leading, services: WithServices, small: bool = False
) -> Response:
    """A scanned field of the slide of a closed study's reading, as the reader saw it or would have."""
    with services.database.reading() as session:
        study, sheet = found(session.get(StudyRow, study_id)), session.get(SheetRow, sheet_id)
    if sheet is None or sheet.study_id != study_id or sheet.slide_id is None or study.state != "closed":
        raise HTTPException(404, "there is no such field")
    attempt = attempt_of(sheet, sheet.frames.index(field)) if field in sheet.frames else None
    encoded = services.frames.frame(sheet.slide_id, field, attempt, small=small)
    return Response(encoded, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})


def _discordance(
    services: Services, session: Session, study: StudyRow, number: int
) -> tuple[list[Discordance], Discordance]:
    every = results.discordances_of(session, study, services.agreements.of(session, study, resamples=0))
    if not 0 <= number < len(every):
        raise HTTPException(404, "there is no such discordance")
    return every, every[number]
