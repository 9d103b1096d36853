"""The tables as typed models. What the database looks like is decided by the migrations; a test compares the two."""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Double, ForeignKey, Index, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcTime(TypeDecorator[datetime.datetime]):
    """A moment with its time zone, also where the database knows none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: Dialect) -> datetime.datetime | None:  # noqa: ARG002
        """To UTC."""
        return None if value is None else value.astimezone(datetime.UTC)

    def process_result_value(self, value: datetime.datetime | None, dialect: Dialect) -> datetime.datetime | None:  # noqa: ARG002
        """From UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value.astimezone(datetime.UTC)


class Base(DeclarativeBase):
    """Of every table."""

    type_annotation_map = {datetime.datetime: UtcTime, dict[str, Any]: JSON, float: Double}  # noqa: RUF012


class Account(Base):
    """Somebody who may sign in.

    Attributes:
        name: how they sign in, and under which name their work is kept.
        role: of `accounts.roles.Role`.
        password: argon2 hash; None for somebody whom the reverse proxy signs in.
        must_change: whether the password was made up for them and has to be changed.
        disabled: whether they may sign in no more. Accounts are never removed: their work names them.
        created_at: when it was made.
    """

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password: Mapped[str | None] = mapped_column(String(200))
    must_change: Mapped[bool]
    disabled: Mapped[bool]
    created_at: Mapped[datetime.datetime]


class SignIn(Base):
    """A browser that is signed in. The cookie's value itself is kept nowhere.

    Attributes:
        token_hash: SHA-256 of the cookie's value, as hex.
        account_id: who.
        created_at: when they signed in.
        seen_at: when they were last here, to a minute or so.
    """

    __tablename__ = "sign_ins"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    created_at: Mapped[datetime.datetime]
    seen_at: Mapped[datetime.datetime]


class TrailEntry(Base):
    """One line of the audit trail. The database itself refuses to change or remove one.

    Attributes:
        at: when.
        who: name of the account, or "local" on a computer without accounts.
        action: what was done, such as "signed in".
        subject: to what.
        detail: more, as JSON values.
        address: from which network address.
    """

    __tablename__ = "trail"
    __table_args__ = (Index("trail_by_action", "action", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime.datetime]
    who: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(200))
    detail: Mapped[dict[str, Any]]
    address: Mapped[str] = mapped_column(String(64))


class Setting(Base):
    """What a server has to remember over a restart.

    Attributes:
        name: of it.
        value: of it, as text.
    """

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(String(200))


class SlideRow(Base):
    """A slide that was found. Its id is random and tells nothing.

    Attributes:
        id: in addresses.
        place: where it lies, relative to what is served; "/" and its id where another one took its place.
        identity: of `shelf.identity`; None until it is seen, and while it is being written.
        seen: its file then: time of change, bytes, inode. None where it is not known, and at a URL.
        added_at: when it was first found.
    """

    __tablename__ = "slides"

    id: Mapped[str] = mapped_column(String(12), primary_key=True)
    place: Mapped[str] = mapped_column(String(500), unique=True)
    identity: Mapped[str | None] = mapped_column(String(64))
    seen: Mapped[str | None] = mapped_column(String(60))
    added_at: Mapped[datetime.datetime]


class AnnotationRow(Base):
    """A point, box or polygon that somebody drew on a slide.

    Attributes:
        id: a UUID.
        slide_id: on which slide.
        author: name of who drew it.
        geometry: of GeoJSON, in level-0 px.
        label: in their words.
        created_at: when it was drawn.
        changed_at: when it was last changed.
    """

    __tablename__ = "annotations"
    __table_args__ = (Index("annotations_by_slide", "slide_id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    slide_id: Mapped[str] = mapped_column(ForeignKey("slides.id"))
    author: Mapped[str] = mapped_column(String(64))
    geometry: Mapped[dict[str, Any]]
    label: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime.datetime]
    changed_at: Mapped[datetime.datetime]


class StudyRow(Base):
    """A blinded study of readers.

    Attributes:
        id: random, in addresses.
        name: readers see it.
        design: `StudyDesign` as JSON values; its readers may change until the study starts.
        sources: which shelved slide shows a slide of the design in which modality: `{slide: {modality: id}}`.
        plan: `StudyPlan` as JSON values; None until it starts.
        fingerprint: of the design, kept at the start; empty before.
        state: "draft", "running" or "closed".
        margin_percent: of non-inferiority in percentage points; None where nobody set one. Fixed when it closes.
        created_by: who made it.
        created_at: when.
        started_at: when its plan was drawn.
        closed_at: when it was unblinded.
        changes: what was not as at the start when it was closed. None before, and in studies of older versions.
    """

    __tablename__ = "studies"

    id: Mapped[str] = mapped_column(String(12), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    design: Mapped[dict[str, Any]]
    sources: Mapped[dict[str, Any]]
    plan: Mapped[dict[str, Any] | None]
    fingerprint: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(8))
    margin_percent: Mapped[float | None]
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime.datetime]
    started_at: Mapped[datetime.datetime | None]
    closed_at: Mapped[datetime.datetime | None]
    changes: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))


class SheetRow(Base):
    """What somebody fills in about a slide: a reading of a study, or a report that is not signed yet.

    Attributes:
        id: random, in addresses; tells nothing.
        study_id: of which study; None for a report.
        code: of the reading in the study's plan; None for a report.
        slide_id: what is looked at; None for glass.
        slide_name: what a report calls it: a code or a pseudonym.
        label: code that is stuck on the glass; empty where there is an image.
        reader: name of whose it is.
        form: `ReportForm` as JSON values.
        frames: numbers of the fields that are shown, in order.
        attempts: [attempt, SHA-256 of its frame's file] of each of them, when the sheet was laid out: that one is shown
            or none. None for whole slides, glass, and sheets of older versions.
        content: `shelf.content.digest_of` the whole slide that is shown, at that time; None where it is not known.
        field_area_mm2: true area of one of them; None where that is not known here.
        um_per_px: of a frame as it is shown.
        canvas: `sheets.whole.Canvas` as JSON values, where the whole slide is shown as one field; None for single
            fields and for glass.
        phase: of `reading_state.Phase`.
        since: when that began.
        seconds: for which it was open before.
        submitted_at: when it became final.
        amends: number of the report that it is a new version of; empty for none.
        reason: of the amendment.
    """

    __tablename__ = "sheets"
    __table_args__ = (Index("sheets_by_reader", "reader"), Index("sheets_by_study", "study_id"))

    id: Mapped[str] = mapped_column(String(12), primary_key=True)
    study_id: Mapped[str | None] = mapped_column(String(12), ForeignKey("studies.id"))
    code: Mapped[str | None] = mapped_column(String(16))
    slide_id: Mapped[str | None] = mapped_column(String(12), ForeignKey("slides.id"))
    slide_name: Mapped[str] = mapped_column(String(500))
    label: Mapped[str] = mapped_column(String(16))
    reader: Mapped[str] = mapped_column(String(64))
    form: Mapped[dict[str, Any]]
    frames: Mapped[list[int]] = mapped_column(JSON)
    attempts: Mapped[list[list[Any]] | None] = mapped_column(JSON(none_as_null=True))
    content: Mapped[str | None] = mapped_column(String(64))
    field_area_mm2: Mapped[float | None]
    um_per_px: Mapped[float | None]
    canvas: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    phase: Mapped[str] = mapped_column(String(10))
    since: Mapped[datetime.datetime | None]
    seconds: Mapped[float]
    submitted_at: Mapped[datetime.datetime | None]
    amends: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str] = mapped_column(String(500))


class EntryRow(Base):
    """One thing that a reader entered on a sheet. The database itself refuses to change or remove one.

    Attributes:
        sheet_id: on which sheet.
        key: that the browser made up; the same entry sent twice is kept once.
        entry: of `sheets.entries`, as JSON values.
        at: when it was saved.
    """

    __tablename__ = "entries"
    __table_args__ = (Index("entries_by_key", "sheet_id", "key", unique=True),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sheet_id: Mapped[str] = mapped_column(ForeignKey("sheets.id"))
    key: Mapped[str] = mapped_column(String(36))
    entry: Mapped[dict[str, Any]]
    at: Mapped[datetime.datetime]


class ReportRow(Base):
    """A signed version of a report. The database itself refuses to change or remove one.

    Attributes:
        number: of the report, the same in all versions.
        version: from 1.
        sheet_id: that it was made from.
        signed_by: who.
        signed_at: when.
        content: `Report.to_json`.
    """

    __tablename__ = "reports"

    number: Mapped[str] = mapped_column(String(12), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sheet_id: Mapped[str] = mapped_column(ForeignKey("sheets.id"))
    signed_by: Mapped[str] = mapped_column(String(64))
    signed_at: Mapped[datetime.datetime]
    content: Mapped[dict[str, Any]]


class RulingRow(Base):
    """What the study lead found out about a discordance; the latest counts, and none is changed or removed.

    Attributes:
        study_id: of which study.
        reader: whose reading.
        slide: of the design.
        modality: in which it was read.
        ruling: of `studies.rulings.Ruling`.
        field: number of the field where the organism occurs; None for none.
        note: in their words.
        ruled_by: who.
        at: when.
    """

    __tablename__ = "rulings"
    __table_args__ = (Index("rulings_by_study", "study_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"))
    reader: Mapped[str] = mapped_column(String(64))
    slide: Mapped[str] = mapped_column(String(500))
    modality: Mapped[str] = mapped_column(String(64))
    ruling: Mapped[str] = mapped_column(String(24))
    field: Mapped[int | None]
    note: Mapped[str] = mapped_column(String(500))
    ruled_by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime.datetime]
