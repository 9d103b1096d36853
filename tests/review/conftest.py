"""A served folder with a scan, and the application over it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from postgres import new_database, running
from reviewing import OPENED, SECRET_NAME, Server, write_scan

from parfocal.review.accounts import passwords
from parfocal.review.database.connection import Database
from parfocal.review.settings import ServeSettings
from parfocal.slide.stitch import stitch

_CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_NOBODY = _CHEAP.hash("of nobody")


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch):
    """Hashes that take a millisecond."""
    monkeypatch.setattr(passwords, "_HASHER", _CHEAP)
    monkeypatch.setattr(passwords, "_of_nobody", lambda: _NOBODY)


@pytest.fixture(scope="session", autouse=True)
def one_event_loop() -> Iterator[None]:
    """For the requests of all tests: a loop and its threads for each request would cost more than the answer."""
    with start_blocking_portal() as portal:
        TestClient.portal = portal
        yield
        TestClient.portal = None


@pytest.fixture(autouse=True)
def let_go_of_connections():
    """Of every server that a test opened; one that lasts longer connects again."""
    yield
    while OPENED:
        OPENED.pop().services.database.close()


@pytest.fixture(scope="session")
def slides(tmp_path_factory) -> Path:
    """A folder with a stitched scan whose name tells the patient; not to be changed."""
    folder = tmp_path_factory.mktemp("served")
    write_scan(folder / SECRET_NAME, "S-2026-0012")
    stitch(folder / SECRET_NAME)
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server."""
    with running() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    """A database of the newest schema that holds nothing; to be copied."""
    path = tmp_path_factory.mktemp("template") / "review.sqlite"
    Database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres) -> str:
    """The same, by its URL."""
    url = new_database(postgres)
    Database(url).close()
    return url


@pytest.fixture(scope="session")
def new_url(request, sqlite_template, tmp_path_factory) -> Callable[[str], str]:
    """`new_url("postgresql")`: a database of that kind, of the newest schema, that holds nothing."""

    def make(kind: str) -> str:
        if kind == "postgresql":
            pytest.importorskip("psycopg", reason="needs psycopg (the postgres extra)")
            return new_database(request.getfixturevalue("postgres"), like=request.getfixturevalue("postgres_template"))
        path = tmp_path_factory.mktemp("database") / "review.sqlite"
        shutil.copyfile(sqlite_template, path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture
def sqlite_url(new_url) -> str:
    """A database of the newest schema that holds nothing."""
    return new_url("sqlite")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request, new_url) -> str:
    """A database of either kind, of the newest schema, that holds nothing; PostgreSQL in the slow tests."""
    return new_url(request.param)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def empty_url(request, tmp_path) -> str:
    """A database of either kind without any table."""
    if request.param == "postgresql":
        pytest.importorskip("psycopg", reason="needs psycopg (the postgres extra)")
        return new_database(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path / 'empty.sqlite'}"


@pytest.fixture
def server(slides, database_url) -> Server:
    return Server(ServeSettings(str(slides), database_url))


@pytest.fixture
def serve(slides, database_url) -> Callable[..., Server]:
    """`serve(proxy_header=…)`: a server with other settings."""
    return lambda **changes: Server(replace(ServeSettings(str(slides), database_url), **changes))


@pytest.fixture
def slide_id(server) -> str:
    return server.services.shelf.slides()[0].id
