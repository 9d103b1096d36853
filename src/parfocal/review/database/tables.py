"""The tables as typed models. What the database looks like is decided by the migrations; a test compares the two."""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, String, TypeDecorator
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

    type_annotation_map = {datetime.datetime: UtcTime, dict[str, Any]: JSON}  # noqa: RUF012


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
        place: where it lies, relative to what is served.
        added_at: when it was first found.
    """

    __tablename__ = "slides"

    id: Mapped[str] = mapped_column(String(12), primary_key=True)
    place: Mapped[str] = mapped_column(String(500), unique=True)
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
