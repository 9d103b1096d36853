"""A reader of a running study is shown its slides there and nowhere else."""

from __future__ import annotations

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from parfocal.review.accounts.roles import Right
from parfocal.review.shelf.shelf import Shelved
from parfocal.review.web.refusals import Refused
from parfocal.review.web.services import Services, services_of
from parfocal.review.web.visitors import Visitor, visitors_of


async def not_withheld(request: Request) -> None:
    """A dependency of every router that shows slides.

    Raises:
        Refused: 404 for a slide that is withheld from whoever asks: it is not even said that it is there.
    """
    named = {request.path_params.get("slide_id"), request.query_params.get("beside")} - {None, ""}
    if not named:
        return
    visitors = visitors_of(request)
    visitor = visitors.remembered(request) or await run_in_threadpool(visitors.recognise, request)
    if visitor is None or visitor.may(Right.IDENTIFY):
        return
    withheld = services_of(request).withheld
    slides = withheld.remembered(visitor.name)
    if slides is None:
        slides = await run_in_threadpool(withheld.of, visitor.name)
    if named & slides:
        raise Refused(404, "there is no such slide", "slide of a running study")


NOT_WITHHELD = Depends(not_withheld)


def visible(services: Services, visitor: Visitor) -> list[Shelved]:
    """The slides that somebody may look at."""
    slides = services.shelf.slides()
    if visitor.may(Right.IDENTIFY):
        return slides
    withheld = services.withheld.of(visitor.name)
    return [slide for slide in slides if slide.id not in withheld]
