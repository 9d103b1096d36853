"""A reader of a running study is shown slides in its readings and nowhere else."""

from __future__ import annotations

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from parfocal.review.accounts.roles import Right
from parfocal.review.shelf.shelf import Shelved
from parfocal.review.studies.withheld import is_reading
from parfocal.review.web.refusals import Refused
from parfocal.review.web.services import Services, services_of
from parfocal.review.web.visitors import Visitor, visitors_of


async def not_withheld(request: Request) -> None:
    """A dependency of every router that shows slides.

    Raises:
        Refused: 404 for a slide that is withheld from whoever asks: it is not even said that it is there.
    """
    if not (request.path_params.get("slide_id") or request.query_params.get("beside")):
        return
    visitors = visitors_of(request)
    visitor = visitors.remembered(request) or await run_in_threadpool(visitors.recognise, request)
    if visitor is None or visitor.may(Right.IDENTIFY):
        return
    withheld = services_of(request).withheld
    is_withheld = withheld.remembered(visitor.name)
    if is_withheld is None:
        is_withheld = await run_in_threadpool(withheld.applies_to, visitor.name)
    if is_withheld:
        raise Refused(404, "there is no such slide", "slide outside a running study of theirs")


NOT_WITHHELD = Depends(not_withheld)


def visible(services: Services, visitor: Visitor) -> list[Shelved]:
    """The slides that somebody may look at."""
    if not visitor.may(Right.IDENTIFY) and services.withheld.applies_to(visitor.name):
        return []
    return services.shelf.slides()


def is_blinded(session: Session, visitor: Visitor) -> bool:
    """Whether their reports are withheld, too: they show slides, and tell what was found on them."""
    return not visitor.may(Right.IDENTIFY) and is_reading(session, visitor.name)


def check_unblinded(session: Session, visitor: Visitor, what: str) -> None:
    """A report, or a draft of one, is not there for readers of a running study.

    Raises:
        Refused: 404 for them.
    """
    if is_blinded(session, visitor):
        raise Refused(404, f"there is no such {what}", f"{what} outside a running study of theirs")
