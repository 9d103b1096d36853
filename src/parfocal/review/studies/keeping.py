"""Studies in the database: made, started, read, closed. Each step leaves a line in the trail."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from parfocal.errors import InputError, SettingsError
from parfocal.review.accounts import accounts, trail
from parfocal.review.accounts.roles import Right, Role
from parfocal.review.comparisons import checked_margin
from parfocal.review.database.tables import SheetRow, StudyRow
from parfocal.review.reading_state import ReadingState, is_complete, next_reading
from parfocal.review.report_forms import load_form
from parfocal.review.sheets.frames import Attempt, FieldFrames, area_mm2, attempts_of, readable_fields, um_per_px
from parfocal.review.sheets.keeping import keep_state, make_sheet, state_of
from parfocal.review.sheets.whole import Canvas, WholeSlides, canvas_size
from parfocal.review.studies.catalogue import Sources, extents_of
from parfocal.review.study import StudyDesign, StudyPlan, plan_study

_LONGEST_NAME = 100


def make_study(session: Session, design: StudyDesign, sources: Sources, by: str, address: str = "") -> StudyRow:
    """Keep a study that has not started: its readers may still change.

    Raises:
        SettingsError: if its name is too long, or a reader may see what slides are called.
        FileError: if there is no such report form.
    """
    if not 1 <= len(design.name.strip()) <= _LONGEST_NAME:
        raise SettingsError(f"the name of a study has 1 to {_LONGEST_NAME} characters, not {len(design.name)}")
    load_form(design.form)
    _check_readers(session, design.readers)
    row = StudyRow(
        id=secrets.token_hex(6),
        name=design.name,
        design=design.to_json(),
        sources={slide: dict(of_slide) for slide, of_slide in sources.items()},
        plan=None,
        fingerprint="",
        state="draft",
        margin_percent=design.margin_percent,
        created_by=by,
        created_at=trail.now(),
        started_at=None,
        closed_at=None,
    )
    session.add(row)
    margin = design.margin_percent
    trail.note(session, by, "study made", row.id, address, slides=len(design.slides), margin_percent=margin)
    return row


def _check_readers(session: Session, readers: tuple[str, ...]) -> None:
    for name in readers:
        account = accounts.by_name(session, name)
        if account is None:
            raise SettingsError(f"there is no account {name!r}: make one with the role reader")
        if Right.IDENTIFY in Role(account.role).rights:
            raise SettingsError(f"reader {name} is {account.role} and sees what slides are called: a reader must not")


def locked_study(session: Session, study_id: str) -> StudyRow | None:
    """A study that nobody else changes until the transaction ends."""
    return session.get(StudyRow, study_id, with_for_update=True)


def design_of(study: StudyRow) -> StudyDesign:
    """What was decided."""
    return StudyDesign.from_json(study.design)


def plan_of(study: StudyRow) -> StudyPlan:
    """What was drawn.

    Raises:
        InputError: if it has not started.
    """
    if study.plan is None:
        raise InputError("this study has not started")
    return StudyPlan.from_json(study.plan)


def set_readers(session: Session, study: StudyRow, readers: tuple[str, ...], by: str, address: str = "") -> None:
    """Change who reads, before it starts.

    Raises:
        SettingsError: if it has started, nobody is left, or a reader may see what slides are called.
    """
    if study.state != "draft":
        raise SettingsError("the study has started: its readers do not change any more")
    _check_readers(session, readers)
    study.design = replace(design_of(study), readers=readers).to_json()
    trail.note(session, by, "study readers", study.id, address, readers=list(readers))


def set_margin(session: Session, study: StudyRow, margin_percent: float, by: str, address: str = "") -> None:
    """Set the margin of non-inferiority, before anybody sees the findings; both values stay in the trail.

    Raises:
        SettingsError: if the study is closed, or the margin not possible.
    """
    if study.state == "closed":
        raise SettingsError("the study is unblinded: its margin had to be set before")
    margin = checked_margin(margin_percent)
    trail.note(session, by, "study margin", study.id, address, before=study.margin_percent, margin_percent=margin)
    study.margin_percent = margin


Shown = Mapping[str, dict[str, Any]]
"""Columns of a sheet that say how large what is shown is, by the id of the shelved slide."""


@dataclass(frozen=True)
class Slides:
    """What the slides of a study are, read before it starts.

    Attributes:
        fields: numbers of those that may be drawn, by slide and modality; empty where whole slides are shown.
        shown: how large what is shown is.
        attempts: the frame that each field has now, by the id of the shelved slide and the field's number.
    """

    fields: Mapping[tuple[str, str], Sequence[int]]
    shown: Shown
    attempts: Mapping[str, Mapping[int, Attempt]]


def read_slides(study: StudyRow, frames: FieldFrames, wholes: WholeSlides) -> Slides:
    """Read them all; outside a transaction, as it takes a while, and a slide that is new is written down.

    Raises:
        FileError: if a slide is not there, or damaged.
        SettingsError: if it is to be shown whole and does not say how large it is.
    """
    if design_of(study).fields_per_slide is None:
        return Slides({}, _whole(study.sources, wholes), {})
    fields: dict[tuple[str, str], Sequence[int]] = {}
    shown, attempts = {}, {}
    for slide, of_slide in study.sources.items():
        for modality, shelved in of_slide.items():
            folder = frames.folder(shelved)  # once: fields and their attempts are of one moment
            fields[slide, modality], attempts[shelved] = readable_fields(folder), attempts_of(folder)
            shown[shelved] = {"field_area_mm2": area_mm2(folder.header), "um_per_px": um_per_px(folder.header)}
    return Slides(fields, shown, attempts)


def start(session: Session, study: StudyRow, slides: Slides, by: str, address: str = "") -> None:
    """Draw fields, orders and codes, once, and lay out a sheet for every reading.

    Raises:
        InputError: if it has started, a slide has fewer fields than are to be drawn, or a reader reads one of the
            slides in another study, or has read it there within the wash-out.
        SettingsError: if a reader may see what slides are called.
    """
    if study.state != "draft":
        raise InputError("the study has started already")
    design = replace(design_of(study), margin_percent=study.margin_percent)
    _check_readers(session, design.readers)
    _check_wash_out(session, study, design)
    plan = plan_study(design, slides.fields)
    study.design, study.plan, study.fingerprint = design.to_json(), plan.to_json(), design.fingerprint
    study.state, study.started_at = "running", trail.now()
    _lay_out(session, study, plan, slides)
    trail.note(session, by, "study started", study.id, address, fingerprint=design.fingerprint, seed=design.seed)


def _check_wash_out(session: Session, study: StudyRow, design: StudyDesign) -> None:
    """The wash-out holds over all studies of this server: a slide is the same by its name, or by its image."""
    if not design.wash_out_days:
        return
    images = {one for of_slide in study.sources.values() for one in of_slide.values()}
    begins = trail.now() - timedelta(days=design.wash_out_days)
    for other in session.scalars(select(StudyRow).where(StudyRow.id != study.id, StudyRow.state != "draft")):
        slides = {one.code: one.case.slide for one in plan_of(other).assignments}
        for sheet in sheets_of(session, other):
            slide = slides.get(sheet.code or "", "")
            if sheet.reader not in design.readers or not (slide in design.slides or sheet.slide_id in images):
                continue
            days = f"the wash-out is {design.wash_out_days:g} days"
            if sheet.submitted_at is not None and sheet.submitted_at > begins:
                when = sheet.submitted_at.date()
                raise InputError(f"{sheet.reader} read slide {slide} in the study {other.name} on {when}: {days}")
            if sheet.submitted_at is None and other.state == "running":
                raise InputError(f"{sheet.reader} is to read slide {slide} in the study {other.name} too: {days}")


def _whole(sources: Sources, wholes: WholeSlides) -> Shown:
    """Each slide as one field, on canvases of one size."""
    extents = extents_of(sources, wholes)
    size = canvas_size(extents.values())
    return {
        one: {
            "frames": [0],
            "field_area_mm2": extent.area_mm2,
            "um_per_px": extent.um_per_px,
            "canvas": Canvas(*size, extent.width, extent.height).to_json(),
            "content": wholes.content(one),
        }
        for one, extent in extents.items()
    }


def _lay_out(session: Session, study: StudyRow, plan: StudyPlan, slides: Slides) -> None:
    form = load_form(plan.design.form)
    for one in plan.assignments:
        shelved = study.sources.get(one.case.slide, {}).get(one.case.modality) if one.case.label is None else None
        columns: dict[str, Any] = {"frames": list(one.case.fields)}
        if shelved is not None:
            attempts = slides.attempts.get(shelved, {})
            columns["attempts"] = [attempts[field].to_json() for field in one.case.fields] or None
            columns |= slides.shown[shelved]
        make_sheet(
            session,
            one.reader,
            form,
            one.code,
            study_id=study.id,
            code=one.code,
            slide_id=shelved,
            label=one.case.label or "",
            **columns,
        )


def sheets_of(session: Session, study: StudyRow, reader: str | None = None) -> list[SheetRow]:
    """Its readings; of one reader, if named."""
    query = select(SheetRow).where(SheetRow.study_id == study.id)
    return list(session.scalars(query if reader is None else query.where(SheetRow.reader == reader)))


def states_of(sheets: list[SheetRow]) -> dict[str, ReadingState]:
    """Where they stand, by code."""
    return {sheet.code: state_of(sheet) for sheet in sheets if sheet.code is not None}


def next_sheet(session: Session, study: StudyRow, reader: str, at: datetime) -> SheetRow | None:
    """What a reader reads next, open; None where there is nothing, or the wash-out is not over.

    Raises:
        InputError: if the study is not running.
    """
    if study.state != "running":
        raise InputError("this study is not running")
    sheets = sheets_of(session, study, reader)
    found = next_reading(plan_of(study), reader, states_of(sheets), at)
    if found is None:
        return None
    sheet = next(one for one in sheets if one.code == found.code)
    state = state_of(sheet)
    if state.phase == "waiting":
        keep_state(sheet, state.begin(at))
    elif state.phase == "paused":
        keep_state(sheet, state.resume(at))
    return sheet


def close(
    session: Session,
    study: StudyRow,
    by: str,
    address: str = "",
    *,
    broken_off: bool = False,
    changes: Sequence[str] = (),
) -> None:
    """End the reading for good: from now on it is unblinded.

    Args:
        session: of a transaction that writes.
        study: which runs.
        by: name of the study lead.
        address: from where.
        broken_off: whether readings may be left.
        changes: what is not as it was at the start, of `shown.changes`: what changes later is of no reading.

    Raises:
        InputError: if it is not running, or readings are left and it is not said that it is broken off.
    """
    if study.state != "running":
        raise InputError("only a study that runs can be closed")
    complete = is_complete(plan_of(study), states_of(sheets_of(session, study)))
    if not complete and not broken_off:
        raise InputError("readings are left: unblinding would spoil them")
    study.state, study.closed_at, study.changes = "closed", trail.now(), list(changes)
    margin = study.margin_percent
    trail.note(session, by, "study closed", study.id, address, complete=complete, margin_percent=margin)
