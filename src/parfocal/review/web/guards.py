"""Who may do what, and whether a request was meant by whoever it comes from."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request

from parfocal.review.accounts import trail
from parfocal.review.accounts.roles import Right
from parfocal.review.web.services import WithServices
from parfocal.review.web.visitors import Perhaps, Visitor, WithVisitor, address_of

FORM_FIELD, HEADER = "form_token", "x-form-token"
_SAFE = ("GET", "HEAD", "OPTIONS")


def may(right: Right) -> Callable[..., Visitor]:
    """A dependency: whoever is asking, if they have this right; else 403, and a line in the trail."""

    def check(request: Request, visitor: WithVisitor, services: WithServices) -> Visitor:
        if not visitor.may(right):
            with services.database.writing() as session:
                trail.note(
                    session, visitor.name, "refused", request.url.path, address_of(request), needs=right.name.lower()
                )
            raise HTTPException(403, f"you may not {right}")
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
        HTTPException: 403 for anything forged.
    """
    if request.method in _SAFE:
        return
    token = request.headers.get(HEADER)
    if token is None and "form" in request.headers.get("content-type", ""):
        token = str((await request.form()).get(FORM_FIELD, ""))
    wanted = services.form_token(visitor.key if visitor else "nobody")
    if not is_same_origin(request) or not hmac.compare_digest((token or "").encode(), wanted.encode()):
        raise HTTPException(403, "this did not come from a page that is still good: reload the page and try again")


MAY_BROWSE = Depends(may(Right.BROWSE))
MAY_OPERATE = Depends(may(Right.OPERATE))
Browsing = Annotated[Visitor, Depends(may(Right.BROWSE))]
Identifying = Annotated[Visitor, Depends(may(Right.IDENTIFY))]
Operating = Annotated[Visitor, Depends(may(Right.OPERATE))]
Leading = Annotated[Visitor, Depends(may(Right.LEAD))]
Administering = Annotated[Visitor, Depends(may(Right.ADMINISTER))]
