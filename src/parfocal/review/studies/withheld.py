"""Slides that a reader must not look at elsewhere while a study of theirs runs: what they are would be told there."""

from __future__ import annotations

import time
from threading import Lock

from sqlalchemy import select

from parfocal.review.database.connection import Database
from parfocal.review.database.tables import SheetRow, StudyRow

_KNOWN_FOR_S = 5.0
_MOST_KNOWN = 1000


class Withheld:
    """Remembers for a few seconds which slides are withheld from whom.

    Args:
        database: of the studies.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, frozenset[str]]] = {}
        self._lock = Lock()

    def remembered(self, reader: str) -> frozenset[str] | None:
        """Ids of the slides, if they were looked up just now; asks no database."""
        with self._lock:
            known = self._known.get(reader)
        return known[1] if known and time.monotonic() - known[0] < _KNOWN_FOR_S else None

    def of(self, reader: str) -> frozenset[str]:
        """Ids of the slides in running studies of a reader."""
        known = self.remembered(reader)
        if known is None:
            query = (
                select(SheetRow.slide_id)
                .join(StudyRow, StudyRow.id == SheetRow.study_id)
                .where(SheetRow.reader == reader, StudyRow.state == "running", SheetRow.slide_id.is_not(None))
                .distinct()
            )
            with self._database.reading() as session:
                known = frozenset(slide for slide in session.scalars(query) if slide is not None)
            with self._lock:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[reader] = (time.monotonic(), known)
        return known

    def forget(self) -> None:
        """A study has started or was closed."""
        with self._lock:
            self._known.clear()
