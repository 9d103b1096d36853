"""Who may do what, and whether a request was meant by whoever it comes from."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from parfocal.review.accounts.roles import Right
from parfocal.review.web.refusals import Refused
from parfocal.review.web.services import WithServices
from parfocal.review.web.visitors import Perhaps, Visitor, WithVisitor

FORM_FIELD, HEADER = "form_token", "x-form-token"
MOST_FIELDS = 20_000  # three for each slide on the form that makes a study; the body's size is limited elsewhere
_SAFE = ("GET", "HEAD", "OPTIONS")


def may(right: Right) -> Callable[..., Visitor]:
    """A dependency: whoever is asking, if they have this right; else 403, and a line in the trail."""

    def check(visitor: WithVisitor) -> Visitor:
        if not visitor.may(right):
            raise Refused(403, f"you may not {right}", f"needs the right to {right.name.lower()}")
        return visitor

    return check


def is_same_origin(request: Request) -> bool:
    """Whether a browser that says where a request comes from says: from one of our own pages."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def meant(request: Request, visitor: Perhaps, services: WithServices) -> None:
    """A dependency of every router: what changes something comes from our own pages, with the token of that browser.

    Raises:
        Refused: 403 for anything forged, or sent once more by a browser that has signed out since.
    """
    if request.method in _SAFE:
        return
    token = request.headers.get(HEADER)
    if token is None and "form" in request.headers.get("content-type", ""):
        token = str((await request.form(max_fields=MOST_FIELDS)).get(FORM_FIELD, ""))
    wanted = services.form_token(visitor.key if visitor else "nobody")
    if not is_same_origin(request):
        origin, host = request.headers.get("origin") or "another site", request.headers.get("host", "nobody")
        told = f"this came from {origin}, and was sent to {host}: a proxy in between has to pass on the header Host"
        raise Refused(403, told, "sent by another site's page")
    why = ""
    if not token:
        why = "without a form token"
    elif not hmac.compare_digest(token.encode(), wanted.encode()):
        why = "the form token is not this browser's"
    if why:
        raise Refused(403, "this did not come from a page that is still good: reload the page and try again", why)


def not_from_elsewhere(request: Request) -> None:
    """A dependency of what a request alone sets off, such as the lamp: no other site's page may show it.

    Raises:
        Refused: 403 for one of another site.
    """
    if not is_same_origin(request):
        raise Refused(403, "this is not shown in another site's page", "asked for by another site's page")


MAY_BROWSE = Depends(may(Right.BROWSE))
MAY_OPERATE = Depends(may(Right.OPERATE))
Browsing = Annotated[Visitor, Depends(may(Right.BROWSE))]
Identifying = Annotated[Visitor, Depends(may(Right.IDENTIFY))]
Operating = Annotated[Visitor, Depends(may(Right.OPERATE))]
Leading = Annotated[Visitor, Depends(may(Right.LEAD))]
Administering = Annotated[Visitor, Depends(may(Right.ADMINISTER))]
