"""The audit trail: who did what, when and from where. It only grows."""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from parfocal.review.database.tables import TrailEntry

_LONGEST_SUBJECT = 200


def now() -> datetime.datetime:
    """This moment, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def storable(text: str) -> str:
    """The same text as every database takes it: PostgreSQL refuses NUL."""
    return text.replace("\x00", "�")


def note(session: Session, who: str, action: str, subject: str = "", address: str = "", **detail: Any) -> None:
    """Write a line, in the same transaction as what it tells of.

    Args:
        session: of a transaction that writes.
        who: name of the account.
        action: what was done, such as "signed in".
        subject: to what.
        address: network address.
        detail: more, as JSON values.
    """
    entry = TrailEntry(
        at=now(),
        who=storable(who)[:64],
        action=action,
        subject=storable(subject)[:_LONGEST_SUBJECT],
        detail=detail,
        address=address[:64],
    )
    session.add(entry)


def count_since(session: Session, action: str, since: datetime.datetime, **where: str) -> int:
    """How many lines there are of an action since a moment; `where` narrows by `subject` or `address`."""
    query = select(func.count()).select_from(TrailEntry).where(TrailEntry.action == action, TrailEntry.at >= since)
    for column, value in where.items():
        query = query.where(getattr(TrailEntry, column) == value)
    return session.scalar(query) or 0


def latest(session: Session, before_id: int | None = None, most: int = 100) -> list[TrailEntry]:
    """The newest lines first; older than one of them, if its id is given."""
    query = select(TrailEntry).order_by(TrailEntry.id.desc()).limit(most)
    if before_id is not None:
        query = query.where(TrailEntry.id < before_id)
    return list(session.scalars(query))
