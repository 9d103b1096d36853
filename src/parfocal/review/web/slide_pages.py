"""The gallery and the viewer."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from parfocal.errors import FileError
from parfocal.review.accounts.roles import Right
from parfocal.review.shelf.shelf import Shelf, Shelved, verdicts, version_of
from parfocal.review.web.blinding import NOT_WITHHELD, visible
from parfocal.review.web.guards import MAY_BROWSE, Browsing
from parfocal.review.web.pages import render
from parfocal.review.web.services import WithServices
from parfocal.review.web.visitors import Visitor

router = APIRouter(dependencies=[NOT_WITHHELD], include_in_schema=False)


@dataclass(frozen=True)
class Card:
    """A slide in the gallery.

    Attributes:
        id: of the slide.
        name: what this visitor may know it by.
        size: in words.
        verdicts: how many fields have which verdict.
        problem: why it cannot be opened, in words.
    """

    id: str
    name: str
    size: str
    verdicts: dict[str, int]
    problem: str = ""


@router.get("/")
def gallery(request: Request, visitor: Browsing, services: WithServices) -> HTMLResponse:
    """All slides."""
    cards = [_card(services.shelf, slide, visitor) for slide in visible(services, visitor)]
    blinded = not visitor.may(Right.IDENTIFY) and services.withheld.applies_to(visitor.name)
    unread = services.shelf.places.unread if visitor.may(Right.IDENTIFY) else ()
    return render(request, "gallery.html", visitor, cards=cards, blinded=blinded, unread=unread)


@router.get("/slides/{slide_id}")
def viewer(
    request: Request, slide_id: str, visitor: Browsing, services: WithServices, beside: str = ""
) -> HTMLResponse:
    """One slide, or two side by side."""
    shelf = services.shelf
    shown = [shelf.slide(one) for one in ((slide_id, beside) if beside else (slide_id,))]
    others = [
        (one.id, name_for(one, visitor)) for one in visible(services, visitor) if one.id != slide_id and one.is_whole
    ]
    return render(
        request,
        "viewer.html",
        visitor,
        slides=[(one.id, name_for(one, visitor), one.folder is not None) for one in shown],
        others=others,
    )


@router.get("/slides/{slide_id}/thumbnail.jpg", dependencies=[MAY_BROWSE])
def thumbnail(request: Request, slide_id: str, services: WithServices) -> Response:
    """The whole slide as a small JPEG."""
    slide = services.shelf.slide(slide_id)
    tag = f'"{version_of(slide)}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(services.shelf.thumbnail(slide), media_type="image/jpeg", headers=headers)


def name_for(slide: Shelved, visitor: Visitor) -> str:
    """What this visitor may know a slide by."""
    return slide.place or slide.pseudonym if visitor.may(Right.IDENTIFY) else slide.pseudonym


def _card(shelf: Shelf, slide: Shelved, visitor: Visitor) -> Card:
    name = name_for(slide, visitor)
    try:
        geometry = shelf.geometry(slide)
        counted = verdicts(slide)
    except FileError:
        return Card(slide.id, name, "", {}, _why_not(slide))
    size = f"{geometry.width:,} × {geometry.height:,} px"
    if geometry.pixel_size_um:
        mm = [length * geometry.pixel_size_um / 1e3 for length in (geometry.width, geometry.height)]
        size = f"{mm[0]:.2f} × {mm[1]:.2f} mm"
        size += f", {geometry.magnification:g}×" if geometry.magnification else ""
    return Card(slide.id, name, size, counted)


def _why_not(slide: Shelved) -> str:
    if slide.folder is not None and not (slide.folder / "slide.ome.tif").exists():
        return "not stitched yet"
    return "cannot be read"
