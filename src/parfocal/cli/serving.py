"""Commands around the review in the browser: serve, view, account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parfocal.cli.terminal import json_option, show

if TYPE_CHECKING:
    from parfocal.review.database.connection import Database
    from parfocal.review.instrument.bench import OpenBench
    from parfocal.review.settings import ServeSettings

ROLES = ("operator", "reader", "study-lead", "admin")
DEFAULT_PORT = 8080

_database_option = click.option(
    "--database", metavar="URL", help="sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME.  [default: see below]"
)
_folder_option = click.option(
    "--folder", default=".", show_default=True, help="What is served: the database lies beside it."
)
_port_option = click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0 for any that is free."
)


@click.command()
@click.argument("folder", default=".")
@_database_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@_port_option
@click.option("--cache", "cache_mb", type=float, default=256.0, show_default=True, help="MB of memory for tiles.")
@click.option("--microscope", help="Its page too: simulated-20x, another built-in one, or the path of a TOML file.")
@click.option("--calibration", type=click.Path(path_type=Path), help="File of `parfocal calibrate` to go by.")
@click.option("--proxy-header", metavar="NAME", help="Header in which a reverse proxy names who is signed in.")
@click.option("--session-hours", type=float, default=12.0, show_default=True, help="Until one has to sign in again.")
@click.option("--idle-hours", type=float, default=1.0, show_default=True, help="The same, without a request.")
@click.option("--https", "behind_https", is_flag=True, help="A reverse proxy speaks https: cookies are for it alone.")
@json_option
def serve(
    folder: str,
    database: str | None,
    host: str,
    port: int,
    cache_mb: float,
    microscope: str | None,
    calibration: Path | None,
    proxy_header: str | None,
    session_hours: float,
    idle_hours: float,
    behind_https: bool,
    as_json: bool,
) -> None:
    """Serve the slides in FOLDER to browsers: gallery, viewer, annotations.

    FOLDER is a local one (the default is this one), or a URL such as s3://bucket/slides. One line with the address is
    printed when it is ready; Ctrl-C ends it. What people do is kept in the database, by default parfocal.sqlite in
    FOLDER; this folder's for a URL.

    Only this computer can connect, and needs no sign-in until an account is set up (parfocal account add). Another
    --host is refused until then.

    \b
    Examples:
      parfocal serve my-slides
      parfocal serve my-slides --port 0 --json
      parfocal serve my-slides --microscope simulated-20x
      parfocal serve s3://bucket/slides --database postgresql+psycopg://parfocal@localhost/parfocal
    """
    from parfocal.review.accounts.accounts import SessionLimits
    from parfocal.review.settings import ServeSettings

    settings = ServeSettings(
        source=folder,
        database=database,
        host=host,
        port=port,
        cache_mb=cache_mb,
        proxy_header=proxy_header,
        sessions=SessionLimits(session_hours, idle_hours),
        behind_https=behind_https,
    )
    _run(settings, "Parfocal is at", as_json=as_json, bench=None if microscope is None else (microscope, calibration))


@click.command()
@click.argument("slide", metavar="DIR")
@_database_option
@_port_option
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@json_option
def view(slide: str, database: str | None, port: int, no_browser: bool, as_json: bool) -> None:
    """Open one slide in the browser.

    DIR is a folder of fields, OME-Zarr or DICOM files, a slide's file, or the URL of an OME-Zarr or Deep Zoom Image.
    Annotations are kept in the database, by default parfocal.sqlite beside DIR. Ctrl-C ends it.

    \b
    Examples:
      parfocal view my-slide
      parfocal view my-slide/slide.ome.tif --no-browser --port 0
    """
    from parfocal.review.settings import ServeSettings

    settings = ServeSettings(source=slide, database=database, port=port)
    _run(settings, "The slide is at", as_json=as_json, browser=not no_browser)


def _run(
    settings: ServeSettings,
    words: str,
    *,
    as_json: bool,
    browser: bool = False,
    bench: tuple[str, Path | None] | None = None,
) -> None:
    from parfocal.review.app import serve as run
    from parfocal.review.web.pages import VIEWER_SCRIPT

    if not VIEWER_SCRIPT.is_file():
        click.echo(
            "parfocal: the slide viewer is missing, pages say so: install Parfocal again where npm's registry "
            "can be reached",
            err=True,
        )

    def when_ready(url: str) -> None:
        click.echo(json.dumps({"url": url}) if as_json else f"{words} {url}")
        if browser:
            click.launch(url)

    with suppress(KeyboardInterrupt):  # that is how it ends
        run(settings, when_ready, _opener(*bench) if bench else None)


def _opener(microscope: str, calibration: Path | None) -> OpenBench:
    from parfocal.cli.bench import bench_opener

    return bench_opener(microscope, calibration)


@click.group()
def account() -> None:
    """Who may use the review in the browser, and as what.

    \b
    Examples:
      parfocal account add anna --role admin
      parfocal account list
    """


@account.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What they are here for.")
@click.option("--ask", is_flag=True, help="Type a password instead of having one made up.")
@click.option("--proxy", is_flag=True, help="A reverse proxy signs them in: no password.")
@_folder_option
@_database_option
@json_option
def add(name: str, role: str, ask: bool, proxy: bool, folder: str, database: str | None, as_json: bool) -> None:
    """Make an account for NAME.

    A password is made up and printed; it has to be changed at the first sign-in. From the first account on, everybody
    has to sign in; the first is an admin's.

    \b
    Examples:
      parfocal account add anna --role admin
      parfocal account add raj --role reader --folder my-slides
      parfocal account add mia --role operator --ask
    """
    from parfocal.errors import SettingsError
    from parfocal.review.accounts import accounts
    from parfocal.review.accounts.roles import Role

    password = click.prompt("Password", hide_input=True, confirmation_prompt=True) if ask else None
    with _opened(folder, database) as opened, opened.writing() as session:
        if accounts.count(session) == 0 and role != Role.ADMIN:
            raise SettingsError("the first account is an admin's: from then on everybody has to sign in")
        made_up = accounts.add(session, name, Role(role), password, by="command line", proxy=proxy)
    show({"name": name, "role": role, **({"password": made_up} if made_up else {})}, as_json)


@account.command(name="list")
@_folder_option
@_database_option
@json_option
def list_accounts(folder: str, database: str | None, as_json: bool) -> None:
    """List the accounts.

    \b
    Examples:
      parfocal account list
      parfocal account list --folder my-slides --json
    """
    from parfocal.review.accounts import accounts

    with _opened(folder, database) as opened, opened.reading() as session:
        rows = [{"name": one.name, "role": one.role, "disabled": one.disabled} for one in accounts.everybody(session)]
    if as_json:
        click.echo(json.dumps({"accounts": rows}, indent=2))
        return
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        click.echo(f"{row['name']:{width}}  {row['role']}{'  disabled' if row['disabled'] else ''}")
    if not rows:
        click.echo("There are no accounts: nobody has to sign in on this computer, and no other one can connect.")


@account.command()
@click.argument("name")
@_folder_option
@_database_option
@json_option
def password(name: str, folder: str, database: str | None, as_json: bool) -> None:
    """Make up a new password for NAME, who forgot theirs.

    \b
    Examples:
      parfocal account password anna
    """
    from parfocal.errors import SettingsError
    from parfocal.review.accounts import accounts
    from parfocal.review.accounts.passwords import make_up_password

    made_up = make_up_password()
    with _opened(folder, database) as opened, opened.writing() as session:
        found = accounts.by_name(session, name)
        if found is None:
            raise SettingsError(f"there is no account {name!r}")
        accounts.set_password(session, found, made_up, by="command line")
    show({"name": name, "password": made_up}, as_json)


@contextmanager
def _opened(folder: str, database: str | None) -> Iterator[Database]:
    from parfocal.review.database.connection import Database
    from parfocal.review.settings import default_database

    opened = Database(database or default_database(folder))
    try:
        yield opened
    finally:
        opened.close()
