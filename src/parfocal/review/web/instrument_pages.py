"""The instrument: live view, jog, scans with their progress and growing mosaic, and fields in doubt once more."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel, Field, StringConstraints

from parfocal.review.accounts import trail
from parfocal.review.accounts.roles import Right
from parfocal.review.instrument.broken_off import broken_off, scans
from parfocal.review.instrument.desk import InstrumentDesk, Status
from parfocal.review.shelf.shelf import Shelf
from parfocal.review.studies.withheld import is_read
from parfocal.review.web.guards import MAY_OPERATE, Operating, meant, not_from_elsewhere
from parfocal.review.web.pages import render
from parfocal.review.web.services import Services, WithServices
from parfocal.review.web.visitors import Visitor, address_of, visitors_of

_WAIT_S = 1.0
_LOOK_EVERY_S = 0.1  # without a thread that waits: there are 40 for all requests
_BOUNDARY = "frame"
_FARTHEST_UM = 1e6


def with_desk(services: WithServices) -> InstrumentDesk:
    """The microscope; 404 where there is none."""
    if services.desk is None:
        raise HTTPException(404, "there is no microscope here: parfocal serve --microscope NAME adds one")
    return services.desk


Desk = Annotated[InstrumentDesk, Depends(with_desk)]
NOT_FROM_ELSEWHERE = Depends(not_from_elsewhere)

router = APIRouter(dependencies=[Depends(meant), MAY_OPERATE], tags=["instrument"])

_Distance = Annotated[float, Field(ge=-_FARTHEST_UM, le=_FARTHEST_UM, allow_inf_nan=False)]
_Side = Annotated[float, Field(gt=0, le=200, allow_inf_nan=False)]
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Words = Annotated[str, StringConstraints(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Place = Annotated[str, StringConstraints(max_length=500)]


class Jog(BaseModel):
    """A move relative to where the stage stands, in µm."""

    dx_um: _Distance = 0.0
    dy_um: _Distance = 0.0
    dz_um: _Distance = 0.0


class Under(BaseModel):
    """What is to lie under a simulated microscope."""

    specimen: _Words
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class NewScan(BaseModel):
    """A scan to start: name of its folder, and the area around the stage's origin in mm."""

    name: _Name
    width_mm: _Side
    height_mm: _Side
    slide_id: _Words = ""


class OldScan(BaseModel):
    """A scan that is there: its place among the slides."""

    name: _Place


class InstrumentInfo(BaseModel):
    """What the instrument does; lengths in µm.

    `warnings` are of the latest scan's report; `slide` is the id of its slide once it is there; `broken_off` names the
    scans that can be gone on with, none while one is under way.
    """

    state: str
    words: str
    scan: str
    fields_done: int
    fields: int
    images: int
    in_doubt: int
    left_s: float | None
    x_um: float
    y_um: float
    z_um: float
    specimen: str
    seed: int
    warnings: list[str]
    number: int
    slide: str | None
    broken_off: list[str]


@router.get("/instrument", include_in_schema=False)
def page(request: Request, visitor: Operating, services: WithServices, desk: Desk) -> HTMLResponse:
    """The page."""
    bench = desk.bench
    microscope = bench.dark()
    limits = (*microscope.xy.limits_um, microscope.z.limits_um)
    return render(
        request,
        "instrument.html",
        visitor,
        microscope=microscope,
        bench=bench,
        limits=limits,
        scans=scans(services.shelf),
    )


@router.get("/api/instrument")
def status(services: WithServices, desk: Desk) -> InstrumentInfo:
    """What the instrument does."""
    return InstrumentInfo.model_validate(_told(desk.status, services.shelf))


@router.get("/api/instrument/events", include_in_schema=False, dependencies=[NOT_FROM_ELSEWHERE])
async def events(request: Request, services: WithServices, desk: Desk, limit: int = 0) -> Response:
    """The same as server-sent events, with each change; the first `limit` ones, or all."""
    return StreamingResponse(_events(request, services, desk, limit), media_type="text/event-stream")


async def _events(request: Request, services: Services, desk: InstrumentDesk, limit: int) -> AsyncIterator[str]:
    number, sent, told_s = -1, 0, time.monotonic()
    while not await _is_over(request, desk):
        now = desk.status
        if now.number == number:
            if time.monotonic() - told_s > _WAIT_S:
                told_s = time.monotonic()
                yield ": still here\n\n"
            await asyncio.sleep(_LOOK_EVERY_S)
            continue
        number, told_s = now.number, time.monotonic()
        told = await run_in_threadpool(_told, now, services.shelf)
        yield f"data: {json.dumps(told)}\n\n"
        sent += 1
        if sent == limit:
            return


async def _is_over(request: Request, desk: InstrumentDesk) -> bool:
    """Whether a stream ends: nobody is there, the server closes, or who watches may not operate any more."""
    if desk.is_closing or await request.is_disconnected():
        return True
    visitors = visitors_of(request)
    visitor = visitors.remembered(request) or await run_in_threadpool(visitors.recognise, request, renew=False)
    return visitor is None or visitor.must_change or not visitor.may(Right.OPERATE)


@router.get("/instrument/live.mjpg", include_in_schema=False, dependencies=[NOT_FROM_ELSEWHERE])
async def live(request: Request, desk: Desk, limit: int = 0) -> Response:
    """What the camera sees, as a stream of JPEGs; the first `limit` ones, or all."""
    return StreamingResponse(
        _frames(request, desk, limit), media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
    )


async def _frames(request: Request, desk: InstrumentDesk, limit: int) -> AsyncIterator[bytes]:
    number, sent = 0, 0
    while not await _is_over(request, desk):
        desk.watch()
        now, jpeg = desk.viewfinder.latest
        if not jpeg or now == number:
            await asyncio.sleep(_LOOK_EVERY_S)
            continue
        number = now
        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        yield head.encode() + jpeg + b"\r\n"
        sent += 1
        if sent == limit:
            return


@router.get("/instrument/mosaic.jpg", include_in_schema=False)
def mosaic(desk: Desk) -> Response:
    """The scan so far; 404 before its first field."""
    picture = desk.mosaic()
    if picture is None:
        raise HTTPException(404, "nothing was scanned yet")
    return Response(picture, media_type="image/jpeg")


@router.post("/api/instrument/jog")
def jog(by: Jog, services: WithServices, desk: Desk) -> InstrumentInfo:
    """Move the stage; 409 and no motion if an axis would leave its limits, or a scan is under way."""
    desk.jog(by.dx_um, by.dy_um, by.dz_um)
    return status(services, desk)


@router.post("/api/instrument/specimen")
def put_under(under: Under, services: WithServices, desk: Desk) -> InstrumentInfo:
    """Another specimen under a simulated microscope."""
    if under.specimen not in desk.bench.specimens:
        raise HTTPException(422, f"{under.specimen!r} is none of {', '.join(desk.bench.specimens) or 'none'}")
    desk.put_under(under.specimen, under.seed)
    return status(services, desk)


@router.post("/api/instrument/scan", status_code=202)
def scan(request: Request, wanted: NewScan, visitor: Operating, services: WithServices, desk: Desk) -> InstrumentInfo:
    """Start a scan into a new folder."""
    desk.check_free()
    desk.scan(wanted.name, (wanted.width_mm, wanted.height_mm), wanted.slide_id)
    _note(request, services, visitor, "scan started", wanted.name)
    return status(services, desk)


@router.post("/api/instrument/rescan", status_code=202)
def rescan(request: Request, wanted: OldScan, visitor: Operating, services: WithServices, desk: Desk) -> InstrumentInfo:
    """Take the fields in doubt of a scan again."""
    desk.check_free()
    _check_there(wanted.name, scans(services.shelf), "no finished scan")
    _check_unread(wanted.name, services)
    desk.rescan(wanted.name)
    _note(request, services, visitor, "rescan started", wanted.name)
    return status(services, desk)


@router.post("/api/instrument/go-on", status_code=202)
def go_on(request: Request, wanted: OldScan, visitor: Operating, services: WithServices, desk: Desk) -> InstrumentInfo:
    """Go on with a scan that was stopped or broke off, with the same instrument over the same slide."""
    desk.check_free()
    _check_there(wanted.name, broken_off(services.shelf), "no scan that broke off")
    _check_unread(wanted.name, services)  # a rescan that broke off has a slide already
    desk.resume(wanted.name)
    _note(request, services, visitor, "scan resumed", wanted.name)
    return status(services, desk)


def _check_unread(name: str, services: Services) -> None:
    """Readers of a study would be shown other fields than those who read before them."""
    shown = [slide.id for slide in services.shelf.slides() if slide.place == name]
    with services.database.reading() as session:
        if any(is_read(session, one) for one in shown):
            raise HTTPException(409, f"{name} is read in a running study: take fields again when that is closed")


def _check_there(name: str, places: list[str], what: str) -> None:
    if name not in places:
        raise HTTPException(404, f"there is {what} {name!r} here")


@router.post("/api/instrument/pause")
def pause(request: Request, visitor: Operating, services: WithServices, desk: Desk) -> InstrumentInfo:
    """Let the scan wait, its lamp off."""
    if desk.pause():
        _note(request, services, visitor, "scan paused", desk.status.scan)
    return status(services, desk)


@router.post("/api/instrument/resume")
def resume(request: Request, visitor: Operating, services: WithServices, desk: Desk) -> InstrumentInfo:
    """Let a paused scan go on."""
    if desk.go_on():
        _note(request, services, visitor, "scan goes on", desk.status.scan)
    return status(services, desk)


@router.post("/api/instrument/stop")
def stop(request: Request, visitor: Operating, services: WithServices, desk: Desk) -> InstrumentInfo:
    """End the scan after the field under way; what was scanned is kept."""
    if desk.stop():
        _note(request, services, visitor, "scan stopped", desk.status.scan)
    return status(services, desk)


def _note(request: Request, services: Services, visitor: Visitor, action: str, subject: str) -> None:
    with services.database.writing() as session:
        trail.note(session, visitor.name, action, subject, address_of(request))


def _told(now: Status, shelf: Shelf) -> dict[str, Any]:
    made = (slide.id for slide in shelf.slides() if now.scan and slide.place == now.scan)
    return {**asdict(now), "slide": next(made, None), "broken_off": [] if now.is_busy else broken_off(shelf)}
