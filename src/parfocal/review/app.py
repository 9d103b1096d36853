"""The application: its pages, its HTTP interface, and how it is run."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from parfocal import __version__
from parfocal.errors import SettingsError
from parfocal.review.accounts import accounts
from parfocal.review.database.connection import Database
from parfocal.review.instrument.bench import OpenBench
from parfocal.review.instrument.desk import InstrumentDesk
from parfocal.review.settings import ServeSettings, database_of
from parfocal.review.shelf.places import LocalPlaces, RemotePlaces, places_at
from parfocal.review.shelf.shelf import Shelf
from parfocal.review.shelf.stacks import StackShelf
from parfocal.review.web import (
    account_pages,
    agreement_pages,
    annotation_api,
    instrument_pages,
    labelling_pages,
    report_pages,
    sheet_api,
    sheet_pages,
    slide_api,
    slide_pages,
    study_pages,
)
from parfocal.review.web.bodies import SmallBodies
from parfocal.review.web.headers import SafeHeaders
from parfocal.review.web.pages import WEB
from parfocal.review.web.problems import add_problem_answers
from parfocal.review.web.services import Services, form_secret
from parfocal.review.web.visitors import Visitors

_GRACE_S = 3


def make_app(settings: ServeSettings, open_bench: OpenBench | None = None) -> FastAPI:
    """The application over a folder of slides and a database.

    Args:
        settings: how it is served.
        open_bench: opens the microscope for the instrument's page; None for none.

    Raises:
        SettingsError: if the database's URL is not possible, or other computers could connect without signing in.
        FileError: if the folder is not there, or the database cannot be used.
    """
    services = open_services(settings, open_bench)
    app = FastAPI(title="Parfocal", version=__version__, docs_url=None, redoc_url=None, lifespan=_closing(services))
    app.state.services = services
    app.state.visitors = Visitors(services)
    app.add_middleware(SmallBodies)
    app.add_middleware(SafeHeaders)
    add_problem_answers(app)
    for part in (
        account_pages,
        slide_api,
        annotation_api,
        slide_pages,
        instrument_pages,
        labelling_pages,
        sheet_api,
        sheet_pages,
        report_pages,
        study_pages,
        agreement_pages,
    ):
        app.include_router(part.router)
    app.include_router(slide_api.tile_router)
    app.mount("/static", StaticFiles(directory=WEB / "static"))
    app.mount("/vendor", StaticFiles(directory=WEB / "vendor", check_dir=False))

    @app.get("/health", tags=["server"])
    def health() -> dict[str, str]:
        """Whether the server answers, and its database too."""
        with services.database.reading() as session:
            accounts.count(session)
        return {"status": "ok"}

    return app


def open_services(settings: ServeSettings, open_bench: OpenBench | None = None) -> Services:
    """Slides and database; see `make_app`."""
    places: LocalPlaces | RemotePlaces = places_at(settings.source)
    database = Database(database_of(places, settings.database))
    if not settings.is_loopback or settings.behind_https:
        how = "this through a reverse proxy (https)" if settings.is_loopback else settings.host
        with database.reading() as session:
            if accounts.count(session) == 0:
                raise SettingsError(
                    f"other computers could reach {how} and nobody has to sign in: set up an account first, "
                    "with parfocal account add NAME --role admin"
                )
    shelf = Shelf(places, database, int(settings.cache_mb * 2**20))
    desk = None if open_bench is None else _desk(open_bench, places, shelf)
    stacks = StackShelf(places.root) if isinstance(places, LocalPlaces) else None
    return Services(settings, database, shelf, form_secret(database), stacks, desk)


def _desk(open_bench: OpenBench, places: LocalPlaces | RemotePlaces, shelf: Shelf) -> InstrumentDesk:
    if not isinstance(places, LocalPlaces) or places.is_one:
        raise SettingsError("a microscope needs a local folder of slides to scan into")
    return InstrumentDesk(open_bench, places.root, shelf.look_again)


def _closing(services: Services) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        if services.desk is not None:
            services.desk.close()
        services.shelf.close()
        services.database.close()

    return lifespan


def serve(settings: ServeSettings, when_ready: Callable[[str], None], open_bench: OpenBench | None = None) -> None:
    """Serve until interrupted.

    Args:
        settings: how.
        when_ready: called with the first page's URL once connections are accepted.
        open_bench: opens the microscope for the instrument's page; None for none.

    Raises:
        SettingsError: see `make_app`; or if the port is taken.
        FileError: see `make_app`.
    """
    app = make_app(settings, open_bench)
    listening = _listen(settings.host, settings.port)
    port = listening.getsockname()[1]
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                when_ready(f"http://{shown}:{port}{_door(app.state.services.shelf)}")

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if app.state.services.desk is not None:
                app.state.services.desk.end_streams()  # or they would be cut off, with a traceback each
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    Server(config).run(sockets=[listening])


def _door(shelf: Shelf) -> str:
    """Path of the first page: the gallery, or the one slide that is served."""
    return f"/slides/{shelf.slides()[0].id}" if shelf.places.is_one else "/"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise SettingsError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
    return listening
