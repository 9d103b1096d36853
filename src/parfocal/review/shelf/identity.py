"""Which slide is which: by what it holds, wherever it lies and whatever its folder is called."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sqlalchemy import select
from sqlalchemy.orm import Session

from parfocal.durable import cannot
from parfocal.errors import FileError
from parfocal.review.accounts.trail import now
from parfocal.review.database.tables import SlideRow
from parfocal.review.shelf.content import digest_of, is_being_written
from parfocal.slide.fields.layout import HEADER_FILE, RECORDS_FILE
from parfocal.slide.fields.photographs import are_loose
from parfocal.slide.fields.records import read_header

_NOWHERE = "/"  # before the id of a slide whose place another one took: no place begins so

Seen = tuple[int, int, int] | None
"""Time of change in ns, bytes and inode of what tells whether a slide is another one; None where there is nothing."""


@dataclass(frozen=True)
class Identity:
    """What a slide is.

    Attributes:
        value: SHA-256, as hex; empty where it cannot be told.
        seen: its file or folder then.
        is_firm: whether it may be kept; not while the slide is being written.
    """

    value: str
    seen: Seen = None
    is_firm: bool = True


class Identities:
    """Works out what a slide is when it is new or another one by its file or folder, or was being written."""

    def __init__(self) -> None:
        self._known: dict[Path, Identity] = {}

    def of(self, source: Path | str, row: SlideRow | None = None) -> Identity:
        """What a slide is; of one at a URL, its address.

        Args:
            source: of the slide.
            row: that the database has of its place: taken at its word while the file is what it was then.
        """
        if not isinstance(source, Path):
            return Identity(hashlib.sha256(source.encode()).hexdigest())
        seen = seen_at(source)
        known = self._known.get(source)
        if known is None and row is not None and row.identity and seen is not None and row.seen == _words(seen):
            known = self._known[source] = Identity(row.identity, seen)
        if known is None or known.seen != seen or not known.is_firm:
            is_firm = not _is_being_written(source)  # asked first: what is written meanwhile shows the next time
            known = self._known[source] = Identity(identity_of(source), seen, is_firm)
        return known


def seen_at(source: Path | str) -> Seen:
    """Changes when a slide is moved away, or another one lies there; a remote one is taken to stay as it is."""
    if not isinstance(source, Path):
        return None
    for path in (source / HEADER_FILE, source):
        try:
            seen = path.stat()
        except OSError:
            continue
        return seen.st_mtime_ns, seen.st_size, seen.st_ino
    return None


def _words(seen: Seen) -> str | None:
    return None if seen is None else " ".join(str(one) for one in seen)


def _is_being_written(source: Path) -> bool:
    return not (source / HEADER_FILE).is_file() and is_being_written(source)


def identity_of(source: Path) -> str:
    """SHA-256, as hex, of what a slide is; empty where it cannot be told.

    Of a scan: its random id, which stays through being gone on with, taken again and stitched. Of photographs and
    imported fields, which stay as they are: the header and all fields; of scans of older versions without an id: the
    header and the first field. Of all else: `digest_of` its content.
    """
    try:
        return _of_fields(source) if (source / HEADER_FILE).is_file() else digest_of(source)
    except FileError:
        return ""


def _of_fields(folder: Path) -> str:
    header = read_header(folder / HEADER_FILE).header
    if header.scan_id:
        return hashlib.sha256(f"scan {header.scan_id}".encode()).hexdigest()
    is_scan = bool(header.settings) and not are_loose(header)
    try:
        with (folder / RECORDS_FILE).open("rb") as records:
            told = records.readline() if is_scan else records.read()
        return hashlib.sha256((folder / HEADER_FILE).read_bytes() + told).hexdigest()
    except OSError as error:
        raise cannot("read", folder, error) from error


def is_settled(rows: Sequence[SlideRow], found: Mapping[str, Identity]) -> bool:
    """Whether every slide is known, at its place.

    Args:
        rows: of the database.
        found: each slide by its place.
    """
    known = {row.place: row for row in rows}
    return all(
        place in known
        and _fits(known[place], one)
        and (known[place].identity, known[place].seen) == _kept(known[place], one)
        for place, one in found.items()
    )


def settle(session: Session, found: Mapping[str, Identity]) -> dict[str, str]:
    """Know every slide again, by its place or, where it was moved or renamed, by what it is; others are new.

    A slide that took the place of another one is new too: what was said of the other one stays with that.

    Args:
        session: of a transaction that writes.
        found: each slide by its place.

    Returns:
        Ids by place.
    """
    rows = list(session.scalars(select(SlideRow)))
    there = {row.place: row for row in rows}
    final = {place: row for place, row in there.items() if place in found and _fits(row, found[place])}
    left = {place: one.value for place, one in found.items() if place not in final}
    kept = {row.id for row in final.values()}
    final |= _moved(left, [row for row in rows if row.id not in kept])
    _lay(session, there, final, found)
    for place in found:
        if place not in final:
            final[place] = SlideRow(id=secrets.token_hex(6), place=place, added_at=now(), identity=None)
            session.add(final[place])
        final[place].identity, final[place].seen = _kept(final[place], found[place])
    return {place: row.id for place, row in final.items()}


def _fits(row: SlideRow, found: Identity) -> bool:
    return not found.value or row.identity in (None, found.value)


def _kept(row: SlideRow, found: Identity) -> tuple[str | None, str | None]:
    """Identity and file that a row is to hold."""
    return (found.value, _words(found.seen)) if found.value and found.is_firm else (row.identity, row.seen)


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
