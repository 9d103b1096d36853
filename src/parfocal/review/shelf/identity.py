"""Which slide is which: by what it holds, wherever it lies and whatever its folder is called."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from sqlalchemy import select
from sqlalchemy.orm import Session

from parfocal.durable import cannot
from parfocal.errors import FileError
from parfocal.review.accounts.trail import now
from parfocal.review.database.tables import AnnotationRow, SheetRow, SlideRow, StudyRow
from parfocal.review.shelf.content import digest_of
from parfocal.slide.fields.layout import HEADER_FILE, RECORDS_FILE
from parfocal.slide.fields.records import read_header

_NOWHERE = "/"  # before the id of a slide whose place another one took: no place begins so


def identity_of(source: Path) -> str:
    """SHA-256, as hex, of what a slide is; empty where it cannot be told.

    Of a scan: its random id, which stays through being gone on with, taken again and stitched. Of fields without one,
    such as photographs: the header and the first field. Of all else: `digest_of` its content.
    """
    try:
        return _of_fields(source) if (source / HEADER_FILE).is_file() else digest_of(source)
    except FileError:
        return ""


def _of_fields(folder: Path) -> str:
    scan_id = read_header(folder / HEADER_FILE).header.scan_id
    if scan_id:
        return hashlib.sha256(f"scan {scan_id}".encode()).hexdigest()
    try:
        with (folder / RECORDS_FILE).open("rb") as records:
            return hashlib.sha256((folder / HEADER_FILE).read_bytes() + records.readline()).hexdigest()
    except OSError as error:
        raise cannot("read", folder, error) from error


def is_settled(rows: Sequence[SlideRow], found: Mapping[str, str]) -> bool:
    """Whether every slide is known, at its place.

    Args:
        rows: of the database.
        found: identity of each slide by its place; empty for what cannot be told.
    """
    known = {row.place: row.identity for row in rows}
    return all(place in known and identity in ("", known[place]) for place, identity in found.items())


def settle(session: Session, found: Mapping[str, str]) -> dict[str, str]:
    """Know every slide again, by its place or, where it was moved or renamed, by what it is; others are new.

    A slide that took the place of another one is new too: what was said of the other one stays with that.

    Args:
        session: of a transaction that writes.
        found: identity of each slide by its place; empty for what cannot be told.

    Returns:
        Ids by place.
    """
    rows = list(session.scalars(select(SlideRow)))
    there = {row.place: row for row in rows}
    final = {place: row for place, row in there.items() if place in found and _fits(row, found[place])}
    left = {place: identity for place, identity in found.items() if place not in final}
    kept = {row.id for row in final.values()}
    final |= _moved(left, [row for row in rows if row.id not in kept])
    kept = {row.id for row in final.values()}
    for place, row in there.items():
        if place in found and place not in final and row.id not in kept and not _is_used(session, row):
            final[place] = row  # nobody said anything of what lay there before
    _lay(session, there, final, found)
    for place in found:
        if place not in final:
            final[place] = SlideRow(id=secrets.token_hex(6), place=place, added_at=now(), identity=None)
            session.add(final[place])
        final[place].identity = found[place] or final[place].identity
    return {place: row.id for place, row in final.items()}


def _fits(row: SlideRow, identity: str) -> bool:
    return not identity or row.identity in (None, identity)


def _moved(left: Mapping[str, str], rows: Sequence[SlideRow]) -> dict[str, SlideRow]:
    """Slides that lie elsewhere now; of copies, first one that kept its name."""
    free, moved = list(rows), {}
    for place, identity in left.items():
        name = PurePosixPath(place).name
        alike = [row for row in free if identity and row.identity == identity]
        if alike:
            moved[place] = min(alike, key=lambda row: PurePosixPath(row.place).name != name)
            free.remove(moved[place])
    return moved


def _lay(session: Session, there: Mapping[str, SlideRow], final: Mapping[str, SlideRow], found: Iterable[str]) -> None:
    """Places are given up before they are taken: two slides may have changed theirs."""
    moved = {place: row for place, row in final.items() if row.place != place}
    displaced = [there[place] for place in found if place in there and final.get(place) is not there[place]]
    for row in (*moved.values(), *displaced):
        row.place = f"{_NOWHERE}{row.id}"
    session.flush()
    for place, row in moved.items():
        row.place = place
    session.flush()


def _is_used(session: Session, row: SlideRow) -> bool:
    """Whether anything was drawn on a slide, read or said of it."""
    drawn = select(AnnotationRow.id).where(AnnotationRow.slide_id == row.id).limit(1)
    read = select(SheetRow.id).where(SheetRow.slide_id == row.id).limit(1)
    if session.scalar(drawn) is not None or session.scalar(read) is not None:
        return True
    sources = session.scalars(select(StudyRow.sources))
    return any(row.id in of_slide.values() for slides in sources for of_slide in slides.values())
