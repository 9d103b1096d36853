"""The database: opened by its URL, brought to the newest schema, read and written in short transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.orm import Session

from parfocal.errors import FileError, SettingsError

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_S = 10.0
_BEGIN = "parfocal_begin"


class Database:
    """A database of the newest schema. Safe to use from several threads.

    Args:
        url: of SQLAlchemy: `sqlite:///FILE` or `postgresql+psycopg://USER@HOST/NAME`.

    Raises:
        SettingsError: if the URL is none, is of another database, or its driver is not installed.
        FileError: if the database cannot be reached or brought to the newest schema.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _engine(url)
        self._writer = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        upgrade(self._engine)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One transaction that only reads."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction that writes; it is durable when the block ends, and undone if the block raises."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring a database to a revision of the schema.

    Raises:
        FileError: if it cannot be reached or upgraded.
    """
    config = alembic.config.Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    try:
        with engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}).begin() as connection:
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, revision)
    except CommandError as error:  # the database names a step that is none of ours
        where = engine.url.render_as_string(hide_password=True)
        raise FileError(f"{where}: was written by a newer Parfocal, or is of another program: {error}") from error
    except DatabaseError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise FileError(f"{where}: the database cannot be used: {error.orig}") from error


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise SettingsError(f"database {parsed.get_backend_name()!r} is neither sqlite nor postgresql")
        engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() == "postgresql")
    except (ArgumentError, NoSuchModuleError) as error:
        raise SettingsError(f"database {url!r} is no URL such as sqlite:///review.sqlite: {error}") from error
    except ImportError as error:
        raise SettingsError(f"{error}: pip install 'parfocal[postgres]' adds what PostgreSQL needs") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Readers do not wait for writers, a commit is on disk, and transactions are begun below."""
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"busy_timeout = {_BUSY_S * 1e3:.0f}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock at once: one that began as a reader would fail, not wait, where another has written."""
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
