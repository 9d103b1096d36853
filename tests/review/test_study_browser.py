"""Two readers, three slides, to the agreement report, in Debian's Chromium; and a server that is killed in mid-read."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from reviewing import PASSWORD, token_on
from sqlalchemy import delete
from studying import FIELDS, READERS, SLIDES, write_slides, write_whole_slides

from parfocal.review.accounts import accounts
from parfocal.review.accounts.roles import Role
from parfocal.review.database.connection import Database
from parfocal.review.database.tables import SignIn
from parfocal.review.web.pages import VIEWER_SCRIPT

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the dev extra)")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe (the dev extra)")

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
DESKTOP, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}
PICTURES = os.environ.get("PARFOCAL_TEST_PICTURES")  # a folder: look at what is on the screen


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield opened
        opened.close()


@pytest.fixture
def browser(chromium):
    yield chromium
    for context in chromium.contexts:
        context.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Slides whose fields are read; not to be changed."""
    made = tmp_path_factory.mktemp("to read in a browser")
    write_slides(made)
    return made


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def kind(request) -> str:
    """Of the database; PostgreSQL where there is time for it."""
    return request.param


@pytest.fixture
def database_url(kind, new_url) -> str:
    """A database with accounts."""
    return with_accounts(new_url(kind))


def with_accounts(url: str) -> str:
    database = Database(url)
    with database.writing() as session:
        for name, role in (("root", Role.ADMIN), ("lena", Role.LEAD), *((name, Role.READER) for name in READERS)):
            accounts.add(session, name, role, PASSWORD, by="test")
    database.close()
    return url


@contextmanager
def serving(folder: Path, database_url: str, port: int = 0):
    """The process, and its address without the last slash."""
    command = [sys.executable, "-m", "parfocal", "serve", folder, "--database", database_url, "--port", port]
    command = [str(word) for word in command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()[-1].rstrip("/")
        finally:
            process.kill()


class Seat:
    """Somebody at a browser."""

    def __init__(self, browser, address: str, name: str) -> None:
        self.page = browser.new_page(viewport=DESKTOP)
        self.page.set_default_timeout(60_000)
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.wrong.append(said.text))
        self.address = address
        self.go("/sign-in?next=/studies")
        self.page.fill("#name", name)
        self.page.fill("#password", PASSWORD)
        self.page.click("text=Sign in >> nth=-1")
        self.page.wait_for_url("**/studies")

    def go(self, path: str) -> None:
        self.page.goto(self.address + path)

    def looks_right(self, name: str) -> None:
        """No error in the console, no violation of axe-core, nothing wider than a phone."""
        for suffix, size in (("", DESKTOP), ("-phone", PHONE)):
            self.page.set_viewport_size(size)
            if PICTURES:
                self.page.screenshot(path=f"{PICTURES}/{name}{suffix}.png", full_page=True)
            found = axe_api.Axe().run(self.page)
            assert found.violations_count == 0, f"{name}{suffix}\n{found.generate_report()}"
            wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{name}{suffix} is {wide} px too wide"
        self.page.set_viewport_size(DESKTOP)
        assert self.wrong == []

    def ready(self) -> None:
        self.page.wait_for_selector("html[data-ready]")

    def saved(self) -> None:
        sync_api.expect(self.page.locator("#saved")).to_have_text("Saved.", timeout=60_000)

    def begin(self) -> bool:
        """Open the next reading; False where there is none."""
        self.go("/studies")
        button = self.page.locator("text=/(Begin the next|Go on with the) reading/")
        if button.count() == 0:
            return False
        button.click()
        self.ready()
        return True

    @property
    def has_image(self) -> bool:
        return self.page.locator("#frame").count() > 0

    def look_at_all(self) -> None:
        for number in range(FIELDS):
            self.page.locator("#strip button").nth(number).click()
            self.page.wait_for_selector(f"#strip button.looked >> nth={number}")
            sync_api.expect(self.page.locator("#looked")).to_contain_text(f"of {FIELDS}")
        self.saved()

    def mark(self, item: str, x: float, y: float, on: str = "#frame") -> None:
        self.page.click(f".tally[data-item={item}] .item")
        box = self.page.locator(on).bounding_box()
        self.page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])

    def submit(self) -> None:
        sync_api.expect(self.page.locator("#saved")).to_have_text(re.compile(r"^(Saved\.)?$"), timeout=60_000)
        self.page.click("text=Submit the reading")
        self.page.wait_for_url("**/studies?done=*")

    def read_everything(self) -> None:
        readings = 0
        while self.begin():
            if self.has_image:
                self.look_at_all()
                self.mark("gpc-clusters", 0.3, 0.4)
                self.mark("gpc-clusters", 0.6, 0.5)
            else:
                self.page.fill("#fields", "10")
                self.page.fill("#count-gpc-clusters", "12")
                self.page.press("#count-gpc-clusters", "Tab")
            self.submit()
            readings += 1
        assert readings == 2 * len(SLIDES)


def test_two_readers_read_three_slides_to_the_agreement_report(browser, folder, database_url):
    with serving(folder, database_url) as (_, address):
        lead = Seat(browser, address, "lena")
        lead.looks_right("studies-empty")
        lead.page.click("text=New study")
        lead.page.fill("#name", "Pilot")
        lead.page.fill("#fields_per_slide", str(FIELDS))
        lead.page.fill("#wash_out_days", "0")
        lead.page.fill("#seed", "4")  # raj reads a glass first, and an image after it
        for photographs in lead.page.locator("tr", has_text="by-hand").locator("input[name=show]").all():
            photographs.uncheck()  # one kind of image is enough here
        lead.looks_right("study-new")
        lead.page.click("text=Make the study")
        lead.page.fill("#margin", "10")
        lead.page.click("button:text('Set')")
        lead.looks_right("study-draft")
        lead.page.click("text=Start the study")
        study = lead.page.url
        lead.page.click("text=Codes for the glass")
        lead.looks_right("codes")

        raj, mia = (Seat(browser, address, name) for name in READERS)
        assert raj.begin()
        raj.looks_right("reading-glass")
        raj.page.fill("#count-gnb", "3")
        raj.page.press("#count-gnb", "Tab")
        raj.saved()
        raj.page.click("text=Submit the reading")
        raj.page.wait_for_selector("text=how large they are, is not told yet")
        raj.ready()
        assert all("422" in one for one in raj.wrong)  # which the browser tells as an error
        raj.wrong.clear()
        raj.page.fill("#fields", "10")
        raj.page.press("#fields", "Tab")
        raj.saved()
        raj.submit()
        assert raj.begin()
        raj.look_at_all()
        raj.mark("gnb", 0.25, 0.25)
        raj.mark("gnb", 0.5, 0.5)
        raj.mark("pus", 0.7, 0.3)
        raj.saved()
        raj.looks_right("reading")
        assert raj.page.input_value("#count-gnb") == "2"
        raj.mark("gnb", 0.5, 0.5)  # a second time takes it back
        raj.saved()
        assert raj.page.input_value("#count-gnb") == "1"
        raj.page.click("text=Pause")
        raj.looks_right("reading-paused")
        raj.page.click("button:text('Go on')")
        raj.ready()
        assert raj.page.inner_text(".tally[data-item=gnb] .total") == "1"
        raj.submit()
        raj.looks_right("studies-reader")
        finish(raj)
        mia.read_everything()

        lead.page.goto(study)
        lead.looks_right("study-complete")
        lead.page.click("text=Close and unblind")
        lead.page.click("text=Agreement of the readers")
        lead.page.locator(".plot img").evaluate("image => image.decode()")  # raises for a broken one
        lead.looks_right("agreement")
        assert "Reader mia against the same reader's glass" in lead.page.inner_text("main")
        lead.page.click("table a >> nth=0")
        lead.looks_right("discordance")
        lead.page.check("input[value=not-drawn]")
        lead.page.click("text=Keep, and go on")
        lead.page.goto(f"{study}/agreement")
        assert "Ruled 1 ×: occurs in a scanned field that was not drawn" in lead.page.inner_text("main")


def test_a_report_is_counted_on_the_image_signed_and_amended(browser, folder, database_url):
    with serving(folder, database_url) as (_, address):
        raj = Seat(browser, address, "raj")
        page = raj.page
        slide = page.request.get(f"{address}/api/slides").json()[0]["id"]
        raj.go(f"/slides/{slide}/report")
        page.fill("#fields", str(FIELDS))
        raj.looks_right("report-new")
        page.click("text=Begin")
        raj.ready()
        raj.look_at_all()
        raj.mark("gnb", 0.25, 0.25)
        raj.mark("gnb", 0.5, 0.5)
        raj.mark("pus", 0.7, 0.3)
        page.fill("#answer-comment", "Thick in places.")
        page.press("#answer-comment", "Tab")
        raj.saved()
        assert page.inner_text(".tally[data-item=gnb] .total") == "2"
        raj.looks_right("report-counting")
        raj.go("/reports")
        raj.looks_right("reports-draft")
        page.click("main li a")
        raj.ready()
        page.click("text=Sign the report")
        page.wait_for_url("**/reports/*")
        raj.looks_right("report-signed")
        page.fill("#reason", "One was precipitate")
        page.click("text=Begin the next version")
        raj.ready()
        page.locator("#strip button >> nth=1").click()  # where the marks are
        raj.mark("gnb", 0.5, 0.5)  # a second time takes it back
        raj.saved()
        raj.looks_right("report-amending")
        page.click("text=Sign the report")
        page.wait_for_url("**/reports/*")
        raj.looks_right("report-amended")
        assert "Version 2, signed by raj" in page.inner_text("main")
        for version in (1, 2):
            link = page.get_attribute(f"text=PDF of version {version}", "href")
            answer = page.request.get(address + link)
            assert (answer.headers["content-type"], answer.body()[:5]) == ("application/pdf", b"%PDF-")
        counts = [page.request.get(f"{page.url}/{version}.json").json()["counts"]["gnb"] for version in (1, 2)]
        assert counts == [2, 1]
        raj.go("/reports")
        raj.looks_right("reports")


def finish(seat: Seat) -> None:
    """Read what is left, and find nothing."""
    while seat.begin():
        if seat.has_image:
            seat.look_at_all()
        else:
            seat.page.fill("#fields", "12")
            seat.page.press("#fields", "Tab")
        seat.submit()


def test_a_server_that_is_killed_in_mid_read_loses_nothing_that_was_saved(browser, folder, database_url):
    with serving(folder, database_url) as (process, address):
        lead = Seat(browser, address, "lena")
        lead.go("/studies/new")
        lead.page.fill("#name", "Pilot")
        lead.page.fill("#fields_per_slide", str(FIELDS))
        lead.page.click("text=Make the study")
        lead.page.click("text=Start the study")
        lead.page.wait_for_selector("text=running")
        raj = Seat(browser, address, "raj")
        while raj.begin() and not raj.has_image:
            raj.page.check("#non-interpretable")
            raj.submit()
        raj.look_at_all()
        for place in range(5):
            raj.mark("gnb", 0.1 + 0.15 * place, 0.5)
        raj.saved()
        process.send_signal(signal.SIGKILL)
        process.wait()
        raj.mark("gnb", 0.9, 0.9)
        sync_api.expect(raj.page.locator("#saved")).to_contain_text("does not answer", timeout=60_000)
    port = int(re.search(r":(\d+)$", address)[1])
    with serving(folder, database_url, port):
        raj.saved()  # sent again by itself
        raj.page.reload()
        raj.ready()
        assert raj.page.inner_text(".tally[data-item=gnb] .total") == "6"
        sign_everybody_out(database_url)
        for _ in range(150):  # a server remembers for 5 s who was signed in
            if not raj.page.request.get(f"{address}/api/session").ok:
                break
            raj.page.wait_for_timeout(200)
        else:
            pytest.fail("raj is still signed in after 30 s")
        raj.mark("gnb", 0.9, 0.3)
        raj.mark("gnb", 0.9, 0.6)
        sync_api.expect(raj.page.locator("#saved a")).to_have_text("Sign in again", timeout=60_000)
        other_tab = raj.page.request
        token = token_on(other_tab.get(f"{address}/sign-in").text())
        form = {"form_token": token, "name": "raj", "password": PASSWORD}
        other_tab.post(f"{address}/sign-in", form=form, headers={"origin": address})
        raj.saved()
        raj.page.click("text=Pause")  # with the new token
        raj.page.click("button:text('Go on')")
        raj.ready()
        assert raj.page.inner_text(".tally[data-item=gnb] .total") == "8"


def sign_everybody_out(database_url: str) -> None:
    database = Database(database_url)
    with database.writing() as session:
        session.execute(delete(SignIn))
    database.close()


@pytest.mark.skipif(not VIEWER_SCRIPT.is_file(), reason="needs the viewer, which an install fetches with npm")
def test_a_whole_slide_is_read_in_the_viewer_with_mouse_and_keys_alone(browser, tmp_path, database_url):
    write_whole_slides(tmp_path)
    with serving(tmp_path, database_url) as (_, address):
        lead = Seat(browser, address, "lena")
        lead.go("/studies/new")
        lead.page.fill("#name", "Whole slides")
        lead.page.check("input[name=shows][value=whole]")
        lead.page.check("input[name=show] >> nth=0")
        lead.page.check("input[name=show] >> nth=3")
        lead.page.uncheck("input[name=glass]")
        lead.page.click("text=Make the study")
        lead.page.click("text=Start the study")
        lead.page.wait_for_selector("text=running")

        raj = Seat(browser, address, "raj")
        raj.page.emulate_media(reduced_motion="reduce")  # the view is there at once
        assert raj.begin()
        raj.saved()  # that it was looked at
        raj.mark("gnb", 0.5, 0.5, "#pane")
        raj.mark("pus", 0.6, 0.6, "#pane")
        total = raj.page.locator("#count-gnb")
        raj.page.focus(".view")
        for key in ("+", "+", "ArrowRight", "4", "Enter"):  # the fourth that is counted
            raj.page.keyboard.press(key)
        sync_api.expect(total).to_have_value("2")
        raj.saved()
        raj.page.uncheck("#keys")
        raj.page.keyboard.press("u")
        sync_api.expect(total).to_have_value("2")
        raj.page.check("#keys")
        raj.page.keyboard.press("u")
        sync_api.expect(total).to_have_value("1")
        raj.page.check("#in-part")
        raj.page.fill("#fields", "5")
        raj.page.press("#fields", "Tab")
        raj.saved()
        raj.looks_right("whole-reading")
        assert raj.page.locator("#pane .scale-words").inner_text().endswith("µm")
        raj.page.click("text=Pause")
        raj.page.click("button:text('Go on')")
        raj.ready()
        sync_api.expect(total).to_have_value("1")
        assert raj.page.is_checked("#in-part")
        assert raj.page.input_value("#fields") == "5"
        raj.submit()
        assert raj.wrong == []
