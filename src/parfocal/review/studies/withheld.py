"""Readers of a running study look at nothing outside it: another image of the same glass would tell what it is."""

from __future__ import annotations

import time
from threading import Lock

from sqlalchemy import select
from sqlalchemy.orm import Session

from parfocal.review.database.connection import Database
from parfocal.review.database.tables import SheetRow, StudyRow

_KNOWN_FOR_S = 5.0
_MOST_KNOWN = 1000


def is_reading(session: Session, reader: str) -> bool:
    """Whether somebody is a reader of a study that runs."""
    query = (
        select(SheetRow.id)
        .join(StudyRow, StudyRow.id == SheetRow.study_id)
        .where(SheetRow.reader == reader, StudyRow.state == "running")
        .limit(1)
    )
    return session.scalar(query) is not None


def is_read(session: Session, slide_id: str) -> bool:
    """Whether readers of a study that runs are shown a slide."""
    query = (
        select(SheetRow.id)
        .join(StudyRow, StudyRow.id == SheetRow.study_id)
        .where(SheetRow.slide_id == slide_id, StudyRow.state == "running")
        .limit(1)
    )
    return session.scalar(query) is not None


class Withheld:
    """Remembers for a few seconds from whom all slides are withheld.

    Args:
        database: of the studies.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, bool]] = {}
        self._lock = Lock()

    def remembered(self, reader: str) -> bool | None:
        """Whether they are withheld from a reader, if that was looked up just now; asks no database."""
        with self._lock:
            known = self._known.get(reader)
        return known[1] if known and time.monotonic() - known[0] < _KNOWN_FOR_S else None

    def applies_to(self, reader: str) -> bool:
        """Whether they are withheld from a reader."""
        known = self.remembered(reader)
        if known is None:
            with self._database.reading() as session:
                known = is_reading(session, reader)
            with self._lock:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[reader] = (time.monotonic(), known)
        return known

    def forget(self) -> None:
        """A study has started or was closed."""
        with self._lock:
            self._known.clear()
