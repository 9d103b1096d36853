"""Slides for programs, the viewer's script among them: geometry, tiles, overlays."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from parfocal.errors import SettingsError
from parfocal.review.accounts.roles import Right
from parfocal.review.shelf.overlays import overlays
from parfocal.review.web.blinding import NOT_WITHHELD, visible
from parfocal.review.web.guards import MAY_BROWSE, Browsing, meant
from parfocal.review.web.services import WithServices, services_of
from parfocal.review.web.slide_pages import name_for
from parfocal.review.web.visitors import Visitor, WithVisitor, somebody, visitors_of
from parfocal.slide.quality.table import FieldQuality

router = APIRouter(dependencies=[Depends(meant), NOT_WITHHELD], tags=["slides"])
tile_router = APIRouter(
    dependencies=[NOT_WITHHELD], tags=["slides"]
)  # only read from, and by far the most asked: nothing is looked up twice

SlideId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]


class SessionInfo(BaseModel):
    """Who is asking, and what they must send along to change anything."""

    name: str
    role: str
    form_token: str


class SlideName(BaseModel):
    """A slide in the list."""

    id: str
    name: str


class SlideInfo(SlideName):
    """What a viewer has to know about a slide. Sizes in px of level 0, `tiles` is the path of the tiles."""

    width: int
    height: int
    tile_px: int
    levels: int
    pixel_size_um: float | None
    magnification: float | None
    tiles: str
    has_overlays: bool


class SeamInfo(BaseModel):
    """The middle of two neighbours' overlap, in px of level 0."""

    x0: float
    y0: float
    x1: float
    y1: float
    accepted: bool
    residual_um: float


class OverlayInfo(BaseModel):
    """What can be laid over a slide that was scanned here."""

    frame_width: int
    frame_height: int
    depth_of_field_um: float
    registered: bool
    fields: list[FieldQuality]
    seams: list[SeamInfo]


@router.get("/api/session")
def session(visitor: WithVisitor, services: WithServices) -> SessionInfo:
    """Who is asking."""
    return SessionInfo(name=visitor.name, role=visitor.role, form_token=services.form_token(visitor.key))


@router.get("/api/slides")
def slides(visitor: Browsing, services: WithServices) -> list[SlideName]:
    """All slides."""
    return [SlideName(id=slide.id, name=name_for(slide, visitor)) for slide in visible(services, visitor)]


@router.get("/api/slides/{slide_id}")
def slide(slide_id: SlideId, visitor: Browsing, services: WithServices) -> SlideInfo:
    """One slide."""
    found = services.shelf.slide(slide_id)
    geometry = asdict(services.shelf.geometry(found))
    version = geometry.pop("version")
    return SlideInfo(
        id=found.id,
        name=name_for(found, visitor),
        tiles=f"/slides/{found.id}/tiles/{version}/",
        has_overlays=found.folder is not None,
        **geometry,
    )


@router.get("/api/slides/{slide_id}/overlays", dependencies=[MAY_BROWSE])
def slide_overlays(slide_id: SlideId, services: WithServices) -> OverlayInfo:
    """Fields and seams of a slide that was scanned here; 404 for others."""
    folder = services.shelf.slide(slide_id).folder
    if folder is None:
        raise HTTPException(404, "this slide was not scanned here: nothing is known of its fields")
    values: dict[str, Any] = asdict(overlays(folder))
    return OverlayInfo.model_validate(values)


@tile_router.get(
    "/slides/{slide_id}/tiles/{version}/{level}/{column}_{row}.jpg",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, 304: {"description": "as it was"}},
)
async def tile(request: Request, slide_id: SlideId, version: str, level: int, column: int, row: int) -> Response:
    """A Deep Zoom tile as JPEG; level 0 is one pixel."""
    await _check_may_browse(request)
    tag = f'"{version}-{level}-{column}-{row}"'
    headers = {"etag": tag, "cache-control": "private, max-age=31536000, immutable"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    shelf = services_of(request).shelf
    encoded = shelf.kept_tile(slide_id, version, level, column, row)
    if encoded is None:
        try:
            encoded = await run_in_threadpool(shelf.tile, slide_id, version, level, column, row)
        except SettingsError as error:
            raise HTTPException(404, str(error)) from error
    return Response(encoded, media_type="image/jpeg", headers=headers)


async def _check_may_browse(request: Request) -> None:
    """As `Browsing`, without a thread for whoever was here just now: a page asks for dozens of tiles."""
    visitor: Visitor | None = visitors_of(request).remembered(request)
    if visitor is None:
        visitor = await run_in_threadpool(lambda: somebody(request, visitors_of(request).recognise(request)))
    if visitor.must_change or not visitor.may(Right.BROWSE):
        raise HTTPException(403, "you may not look at slides")
