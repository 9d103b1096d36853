"""Sheets in the database: made, opened, put aside, entered upon, signed. Every entry is a row of its own."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from parfocal.errors import InputError
from parfocal.review.accounts import trail
from parfocal.review.database.tables import EntryRow, ReportRow, SheetRow
from parfocal.review.findings import answer_of
from parfocal.review.reading_state import ReadingState
from parfocal.review.report import Report, check_history, report_from_json
from parfocal.review.report_forms import ReportForm, parse_form
from parfocal.review.sheets.entries import Contents, Entry, check_entry, contents_of
from parfocal.review.sheets.frames import Attempt

_MOST_ENTRIES = 20_000


def make_sheet(session: Session, reader: str, form: ReportForm, slide_name: str, **values: Any) -> SheetRow:
    """A sheet that waits; `values` are further columns."""
    columns: dict[str, Any] = {
        "study_id": None,
        "code": None,
        "slide_id": None,
        "label": "",
        "frames": [],
        "attempts": None,
        "content": None,
        "field_area_mm2": None,
        "um_per_px": None,
        "canvas": None,
        "amends": "",
        "reason": "",
        **values,
    }
    row = SheetRow(
        id=secrets.token_hex(6),
        reader=reader,
        form=form.model_dump(mode="json"),
        slide_name=slide_name,
        phase="waiting",
        since=None,
        seconds=0.0,
        submitted_at=None,
        **columns,
    )
    session.add(row)
    return row


def locked_sheet(session: Session, sheet_id: str) -> SheetRow | None:
    """A sheet that nobody else writes upon until the transaction ends."""
    return session.get(SheetRow, sheet_id, with_for_update=True)


def form_of(sheet: SheetRow) -> ReportForm:
    """What is asked."""
    return parse_form(sheet.form, "form")


def attempt_of(sheet: SheetRow, number: int) -> Attempt | None:
    """Which frame of its field, counted from 0, a sheet shows; None for the one that counts now: an older version's."""
    return None if sheet.attempts is None else Attempt(*sheet.attempts[number])


def state_of(sheet: SheetRow) -> ReadingState:
    """Where it stands; the answer is not looked up."""
    return ReadingState(sheet.phase, sheet.since, sheet.seconds, None, sheet.submitted_at)  # type: ignore[arg-type]


def keep_state(sheet: SheetRow, state: ReadingState) -> None:
    """Keep where it stands."""
    sheet.phase, sheet.since, sheet.seconds = state.phase, state.since, state.seconds
    sheet.submitted_at = state.submitted_at


def contents(session: Session, sheet_id: str) -> Contents:
    """What was entered so far."""
    query = select(EntryRow.key, EntryRow.entry).where(EntryRow.sheet_id == sheet_id).order_by(EntryRow.id)
    return contents_of((key, entry) for key, entry in session.execute(query))


def enter(session: Session, sheet: SheetRow, key: str, entry: Entry) -> None:
    """Save an entry; one that was saved before, by its key, is not saved again.

    Raises:
        InputError: if the sheet is not open, or the entry does not fit it.
    """
    known = session.scalar(select(EntryRow.entry).where(EntryRow.sheet_id == sheet.id, EntryRow.key == key))
    if known is not None:
        if known != entry.model_dump(mode="json"):
            raise InputError(f"the key {key} was used for another entry")
        return
    if sheet.phase != "open":
        raise InputError(f"this is {sheet.phase}: nothing can be entered")
    check_entry(entry, form_of(sheet), len(sheet.frames), whole=sheet.canvas is not None)
    if (session.scalar(select(func.count()).where(EntryRow.sheet_id == sheet.id)) or 0) >= _MOST_ENTRIES:
        raise InputError(f"there are {_MOST_ENTRIES} entries, and no more can be kept")
    session.add(EntryRow(sheet_id=sheet.id, key=key, entry=entry.model_dump(mode="json"), at=trail.now()))


def copy_entries(session: Session, before: str, after: str) -> None:
    """Begin a sheet with what was entered on another."""
    query = select(EntryRow).where(EntryRow.sheet_id == before).order_by(EntryRow.id)
    for row in session.scalars(query).all():
        session.add(EntryRow(sheet_id=after, key=row.key, entry=row.entry, at=trail.now()))
        session.flush()  # in this order


def report_of(sheet: SheetRow, told: Contents, *, final: bool = False) -> Report:
    """The draft that a sheet comes to. What is not counted on a final one was looked for and not seen.

    Raises:
        InputError: if something is missing.
    """
    form = form_of(sheet)
    fields, area = len(told.looked) or None, sheet.field_area_mm2
    if not sheet.frames or (sheet.canvas and told.eyepiece):
        fields, area = (told.eyepiece.fields, told.eyepiece.area_mm2) if told.eyepiece else (None, None)
    counts = {item.key: told.counted(item.key) for item in form.items() if item.kind == "count"}
    if not final:
        counts = {key: count for key, count in counts.items() if count}
    if fields is None or area is None:  # a grade needs both
        if final and told.interpretable and form.scales:
            raise InputError("in how many fields was counted, and how large they are, is not told yet")
        counts = {key: count for key, count in counts.items() if form.item(key).scale is None}
    return Report(
        form,
        sheet.slide_name,
        fields=fields,
        field_area_mm2=area,
        counts=counts if told.interpretable else {},
        answers={key: words for key, words in told.answers.items() if words},
        interpretable=told.interpretable,
        number=sheet.amends or sheet.id,
    )


def submit(session: Session, sheet: SheetRow) -> Report:
    """Sign a sheet: the report is kept for good, and nothing can be entered any more.

    Raises:
        InputError: if something is missing, fields of a study were not looked at, or it is not open.
    """
    told = contents(session, sheet.id)
    missing = len(sheet.frames) - len(told.looked | told.unshown)
    if missing and sheet.study_id is not None and told.interpretable:
        if sheet.canvas:
            raise InputError("the slide was not looked at yet")
        raise InputError(f"{missing} of {len(sheet.frames)} fields were not looked at yet")
    report = report_of(sheet, told, final=True)
    moment = trail.now()
    if sheet.amends:
        before = versions(session, sheet.amends)[-1]
        same = ("fields", "field_area_mm2", "counts", "answers", "interpretable")
        report = before.amend(sheet.reason, **{name: getattr(report, name) for name in same})
    keep_state(sheet, state_of(sheet).submit(answer_of(report), moment))
    signed = report.sign(sheet.reader, moment)
    session.add(
        ReportRow(
            number=signed.number,
            version=signed.version,
            sheet_id=sheet.id,
            signed_by=sheet.reader,
            signed_at=moment,
            content=signed.to_json(),
        )
    )
    return signed


def versions(session: Session, number: str) -> Sequence[Report]:
    """All signed versions of a report, oldest first.

    Raises:
        InputError: if one of them is not what was signed.
    """
    query = select(ReportRow.content).where(ReportRow.number == number).order_by(ReportRow.version)
    return check_history(report_from_json(content, f"report {number}") for content in session.scalars(query))


def under_way(session: Session, number: str) -> SheetRow | None:
    """The draft of a report's next version; None if nobody amends it."""
    return session.scalar(
        select(SheetRow).where(SheetRow.amends == number, SheetRow.phase.not_in(("submitted", "discarded")))
    )


def amendment(session: Session, sheet: SheetRow, reader: str, reason: str) -> SheetRow:
    """A sheet for the next version of a signed report, open, with all that was entered before.

    Raises:
        InputError: if there is no reason, or somebody amends it already.
    """
    number = sheet.amends or sheet.id
    latest = versions(session, number)[-1]
    latest.amend(reason)  # raises
    if under_way(session, number) is not None:
        raise InputError(f"report {number} is being amended already")
    same = ("slide_id", "frames", "attempts", "content", "field_area_mm2", "um_per_px", "canvas")
    values = {name: getattr(sheet, name) for name in same}
    made = make_sheet(session, reader, form_of(sheet), sheet.slide_name, amends=number, reason=reason, **values)
    keep_state(made, state_of(made).begin(trail.now()))
    session.flush()
    copy_entries(session, sheet.id, made.id)
    return made
