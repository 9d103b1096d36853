"""`parfocal serve`, `view` and `account`, as processes and as commands."""

import json
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest
from reviewing import SECRET_NAME

from parfocal.review.settings import ServeSettings
from parfocal.review.web import pages


@contextmanager
def running(*arguments):
    """`parfocal …` until the block ends; yields the process and the first line that it printed."""
    command = [sys.executable, "-m", "parfocal", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.status, answer.read().decode()


def test_serve_prints_its_address_when_it_answers_and_ends_with_ctrl_c(slides, database_url):
    with running("serve", slides, "--database", database_url, "--port", 0) as (process, line):
        url = line.split()[-1]
        assert url.startswith("http://127.0.0.1:")
        assert get(f"{url}health") == (200, '{"status":"ok"}')
        assert json.loads(get(f"{url}openapi.json")[1])["info"]["title"] == "Parfocal"
        assert SECRET_NAME in get(url)[1]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.slow
def test_view_opens_one_slide_and_shows_no_other(slides, database_url):
    arguments = ("view", slides / SECRET_NAME, "--database", database_url, "--port", 0, "--no-browser", "--json")
    with running(*arguments) as (_, line):
        url = json.loads(line)["url"]
        assert "/slides/" in url
        assert SECRET_NAME in get(url)[1]
        assert len(json.loads(get(url.split("/slides/")[0] + "/api/slides")[1])) == 1


def test_a_scan_that_is_viewed_stays_as_it_is(slides, serve, tmp_path):
    """A file beside its own would keep a scan from being replaced."""
    before = sorted((slides / SECRET_NAME).iterdir())
    serve(source=str(slides / SECRET_NAME), database=None)
    assert sorted((slides / SECRET_NAME).iterdir()) == before
    (slides / "parfocal.sqlite").unlink()


@pytest.mark.slow
def test_a_port_that_is_taken_is_told(parfocal, slides, database_url):
    with running("serve", slides, "--database", database_url, "--port", 0) as (_, line):
        port = line.rstrip("/\n").rsplit(":", 1)[1]
        code, _, err = parfocal("serve", slides, "--database", database_url, "--port", port)
    assert code == 2
    assert f"port {port}" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere",), "no such file"),
        ((".", "--host", "0.0.0.0"), "account add"),
        ((".", "--cache", "0"), "1,000,000 MB"),
        ((".", "--idle-hours", "0"), "not above 0 h"),
        ((".", "--database", "mysql://x"), "neither sqlite nor postgresql"),
    ],
)
def test_what_cannot_be_served_is_one_line(parfocal, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    code, out, err = parfocal("serve", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err


def test_a_missing_viewer_is_told_on_the_page(server, slide_id, monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "VIEWER_SCRIPT", tmp_path / "missing.js")
    assert "Install Parfocal again" in server.local().get(f"/slides/{slide_id}").text


def test_accounts_are_made_listed_and_helped_on_the_command_line(parfocal, tmp_path):
    where = ("--folder", tmp_path, "--json")
    code, _, err = parfocal("account", "add", "raj", "--role", "reader", *where)
    assert code == 2
    assert "first account" in err
    made = json.loads(parfocal("account", "add", "anna", "--role", "admin", *where)[1])
    assert len(made["password"]) == 19
    assert "password" not in json.loads(parfocal("account", "add", "mia", "--role", "reader", "--proxy", *where)[1])
    listed = json.loads(parfocal("account", "list", *where)[1])["accounts"]
    assert [(one["name"], one["role"]) for one in listed] == [("anna", "admin"), ("mia", "reader")]
    again = json.loads(parfocal("account", "password", "anna", *where)[1])
    assert again["password"] != made["password"]
    assert parfocal("account", "add", "anna", "--role", "admin", *where)[0] == 2
    assert parfocal("account", "password", "eve", *where)[0] == 2


def test_the_roles_of_the_command_line_are_those_that_there_are():
    from parfocal.cli.serving import ROLES
    from parfocal.review.accounts.roles import Role

    assert set(ROLES) == set(Role)


@pytest.mark.parametrize(
    ("host", "is_loopback"), [("127.0.0.1", True), ("::1", True), ("10.0.0.1", False), ("h", False)]
)
def test_only_this_computers_addresses_are_loopback(host, is_loopback):
    assert ServeSettings(host=host).is_loopback == is_loopback
