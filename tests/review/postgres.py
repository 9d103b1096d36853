"""A PostgreSQL of one's own: an unprivileged user's, in a temporary folder, on a free port of the loopback address."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_DEBIAN = Path("/usr/lib/postgresql")  # which keeps the server's programs off the PATH
_NOBODY = "nobody"


def program(name: str) -> str:
    """Path of one of PostgreSQL's programs; skips the test where it is not installed."""
    newest = sorted(_DEBIAN.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = str(newest[-1]) if newest else shutil.which(name)
    if found is None:
        pytest.skip("needs PostgreSQL, of Debian's package postgresql")
    return found


@contextmanager
def running() -> Iterator[str]:
    """The URL of a server, without the database's name."""
    user = _NOBODY if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="parfocal-postgres-"))
    try:
        if user:
            shutil.chown(folder, user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        files = folder / "files"
        call(
            user, folder, program("initdb"), "--pgdata", files, "--username", "parfocal", "--auth", "trust", "--no-sync"
        )
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
        control = (program("pg_ctl"), "--pgdata", files)
        call(user, folder, *control, "--log", folder / "log", "--wait", "start", "--options", options)
        try:
            yield f"postgresql+psycopg://parfocal@127.0.0.1:{port}"
        finally:
            call(user, folder, *control, "--wait", "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def call(user: str | None, folder: Path, *words: object) -> None:
    subprocess.run(
        list(map(str, words)), check=True, user=user, cwd=folder, env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip


def new_database(server_url: str, like: str = "") -> str:
    """The URL of an empty database, or of a copy of the one at another URL, to which nobody is connected."""
    import psycopg

    name = f"d{uuid.uuid4().hex}"
    with psycopg.connect(server_url.replace("+psycopg", "") + "/postgres", autocommit=True) as connection:
        template = f" TEMPLATE {like.rpartition('/')[2]}" if like else ""
        connection.execute(f"CREATE DATABASE {name}{template}")
    return f"{server_url}/{name}"
