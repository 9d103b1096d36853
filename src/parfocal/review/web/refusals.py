"""Requests that somebody was not entitled to: refused, and written into the trail. Their contents are not."""

from __future__ import annotations

import datetime

from fastapi import HTTPException, Request

from parfocal.review.accounts import trail
from parfocal.review.web.services import services_of
from parfocal.review.web.visitors import address_of, visitors_of

REFUSED = "refused"
_WINDOW = datetime.timedelta(minutes=10)
_MOST = 200


class Refused(HTTPException):
    """A request that is refused because of who it comes from, or that was forged.

    Args:
        status: of HTTP; 404 where not even that it is there is told.
        words: what whoever asked is told.
        why: what the trail is told.
    """

    def __init__(self, status: int, words: str, why: str) -> None:
        super().__init__(status, words)
        self.why = why


def foreign(what: str) -> Refused:
    """Somebody else's sheet, study, report or slide: told that it is not there."""
    return Refused(404, f"there is no such {what}", f"{what} of somebody else")


def write_down(request: Request, error: Refused) -> None:
    """Write a line of it; after 200 of the same visitor within ten minutes no more: the trail cannot be flooded."""
    visitor, address = visitors_of(request).recognise(request), address_of(request)
    who, since = "" if visitor is None else visitor.name, trail.now() - _WINDOW
    with services_of(request).database.writing() as session:
        before = trail.count_since(session, REFUSED, since, who=who, address=address[:64])
        if before >= _MOST:
            return
        more = {"further": "not written down for ten minutes"} if before == _MOST - 1 else {}
        trail.note(session, who, REFUSED, request.url.path, address, method=request.method, why=error.why, **more)
