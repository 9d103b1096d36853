"""Focal stacks for training: a slider through the planes, the curve, and one key to confirm, correct or reject."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from starlette.datastructures import URL

from parfocal.review.accounts import trail
from parfocal.review.shelf.stacks import StackShelf
from parfocal.review.web.guards import MAY_OPERATE, Operating, meant
from parfocal.review.web.pages import render
from parfocal.review.web.services import WithServices
from parfocal.review.web.visitors import address_of
from parfocal.stacks.curve_svg import draw_curve

router = APIRouter(dependencies=[Depends(meant), MAY_OPERATE], tags=["focal stacks"])


def with_stacks(services: WithServices) -> StackShelf:
    """The focal stacks; 404 where slides come from a URL."""
    if services.stacks is None:
        raise HTTPException(404, "focal stacks are labelled in a local folder")
    return services.stacks


Stacks = Annotated[StackShelf, Depends(with_stacks)]
_Place = Annotated[str, Query(max_length=500)]


class StackInfo(BaseModel):
    """A focal stack in the list."""

    place: str
    label_state: str


class Judgement(BaseModel):
    """What somebody decided about a stack; `z` is where the focus is, for a correction."""

    place: Annotated[str, Field(max_length=500)]
    state: Literal["confirmed", "corrected", "rejected"]
    z: Annotated[float, Field(allow_inf_nan=False)] | None = None


class Judged(StackInfo):
    """What was written, and which stack comes next."""

    best_z: float | None
    next: str | None


@router.get("/labelling", include_in_schema=False)
def page(request: Request, visitor: Operating, stacks: Stacks, stack: _Place = "") -> HTMLResponse:
    """All stacks, and one of them to judge: the one that is asked for, or the first that nobody has judged."""
    entries = stacks.entries()
    place = stack or next((entry.place for entry in entries if entry.label_state == "auto"), "")
    if not place:
        place = next((entry.place for entry in entries if entry.label_state != "damaged"), "")
    if not place:
        return render(request, "labelling.html", visitor, entries=entries, shown=None)
    shown, curve = stacks.stack(place), stacks.curve(place)
    svg = draw_curve(curve, shown.z_unit, shown.best_z)
    best = min(range(len(shown.z)), key=lambda index: abs(shown.z[index] - curve.best_z))
    return render(
        request, "labelling.html", visitor, entries=entries, place=place, shown=shown, curve=curve, svg=svg, best=best,
        url_of=_url_of,
    )  # fmt: skip


@router.get("/labelling/plane.jpg", include_in_schema=False)
def plane(stacks: Stacks, stack: _Place, index: int) -> Response:
    """One plane."""
    picture = stacks.plane(stack, index)
    return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})


@router.get("/api/stacks")
def listed(stacks: Stacks) -> list[StackInfo]:
    """All focal stacks and who has judged them."""
    return [StackInfo(place=entry.place, label_state=entry.label_state) for entry in stacks.entries()]


@router.post("/api/stacks/label")
def judge(request: Request, decided: Judgement, visitor: Operating, services: WithServices, stacks: Stacks) -> Judged:
    """Write a decision into the stack's `stack.json`."""
    best_z = stacks.judge(decided.place, decided.state, decided.z)
    with services.database.writing() as session:
        trail.note(session, visitor.name, f"stack {decided.state}", decided.place, address_of(request), z=best_z)
    waiting = [entry.place for entry in stacks.entries() if entry.label_state == "auto"]
    after = [place for place in waiting if place > decided.place]
    return Judged(
        place=decided.place,
        label_state=decided.state,
        best_z=best_z,
        next=next(iter(after or waiting), None),
    )


def _url_of(place: str) -> str:
    return str(URL("/labelling").include_query_params(stack=place))
