"""Whole stories in a browser: scan, look, draw, label; every page passes axe-core, on a desk and on a phone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from parfocal.review.web.pages import VIEWER_SCRIPT

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the dev extra)")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python (the dev extra)")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VIEWER_SCRIPT.is_file(), reason="needs the viewer, which an install fetches with npm"),
]

CHROMIUM = shutil.which("chromium")
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
DESK, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}
SHOTS = os.environ.get("PARFOCAL_SCREENSHOTS")  # a folder to look at


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("needs chromium, of Debian's package of that name")
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield opened
        opened.close()


@dataclass
class Desk:
    """A page of a browser, and what went wrong in it."""

    page: object
    url: str
    problems: list[str]

    def go(self, path: str) -> None:
        self.page.goto(self.url + path, wait_until="domcontentloaded")

    def ready(self) -> None:
        self.page.wait_for_selector("html[data-ready]", timeout=30_000)

    def until(self, is_so, within_s: float = 30) -> None:
        """The page's policy lets nobody evaluate text, the browser's driver included: asked from here."""
        patience_s = time.monotonic() + within_s
        while not is_so():
            assert time.monotonic() < patience_s, "not within the time"
            self.page.wait_for_timeout(100)

    def says(self, selector: str, words: str, within_s: float = 30) -> None:
        self.until(lambda: words in (self.page.text_content(selector) or ""), within_s)

    def shot(self, name: str) -> None:
        if SHOTS:
            self.page.screenshot(path=Path(SHOTS) / f"{name}.png")

    def accessible(self) -> None:
        found = axe.Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()


BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)]
"""PostgreSQL where there is time for it."""


@contextmanager
def serving(folder: Path, database_url: str, *arguments: object) -> Iterator[str]:
    """The address of a server."""
    command = [sys.executable, "-m", "parfocal", "serve", folder, "--database", database_url, "--port", 0, "--json"]
    with subprocess.Popen([*map(str, command), *map(str, arguments)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())["url"].rstrip("/")
        finally:
            process.kill()


@contextmanager
def looking(chromium, url: str, size=DESK) -> Iterator[Desk]:
    page, problems = chromium.new_page(viewport=size, reduced_motion="reduce"), []  # the view is there at once
    page.set_default_timeout(30_000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Policy" in message.text else None)
    page.route(re.compile(rf"^(?!{re.escape(url)})"), lambda route: route.abort())
    yield Desk(page, url, problems)
    page.close()
    assert problems == []


@pytest.fixture(scope="module", params=BOTH)
def furnished(request, slides, recorded_stack, new_url, tmp_path_factory):
    """A folder of two slides and two focal stacks, and the address of its server."""
    folder = tmp_path_factory.mktemp("furnished")
    for name in ("one", "two"):
        shutil.copytree(next(path for path in slides.iterdir() if path.is_dir()), folder / name)
    for name in ("a", "b"):
        shutil.copytree(recorded_stack, folder / "stacks" / name)
    with serving(folder, new_url(request.param)) as url:
        yield folder, url


@pytest.mark.parametrize("kind", BOTH)
def test_a_gram_smear_is_scanned_from_the_page_opened_and_drawn_on(chromium, tmp_path, small_toml, new_url, kind):
    microscope = ("--microscope", small_toml())
    with serving(tmp_path, new_url(kind), *microscope) as url, looking(chromium, url) as desk:
        page = desk.page
        desk.go("/instrument")
        page.select_option("#specimen", "gram-smear")
        page.click("#under button")
        desk.says("#words", "gram-smear")
        desk.until(lambda: page.locator("#live").evaluate("image => image.naturalWidth") > 0)
        page.click("[data-jog='1,0,0']")
        desk.says("#place", "x 100.0")
        page.fill("#name", "smear")
        page.fill("#width", "0.15")
        page.fill("#height", "0.1")
        page.click("#start button")
        page.click("[data-control=pause]:enabled")
        page.click("[data-control=resume]:enabled")
        page.click("[data-control=pause]:enabled")
        page.click("[data-control=stop]:enabled")
        page.wait_for_selector("#words[data-state=stopped]", timeout=60_000)
        assert page.input_value("#broken-off") == "smear"
        page.click("#go-on button:enabled")
        page.wait_for_selector("#words[data-state=done]", timeout=120_000)
        desk.shot("instrument")
        desk.accessible()
        page.click("#open-slide")
        desk.ready()
        assert page.inner_text(".scale-words").endswith("µm")
        for layer in ("focus", "verdicts", "borders", "seams"):
            page.check(f"[data-layer={layer}]")
        page.mouse.click(500, 400)
        desk.says("#field", "Verdict")
        desk.shot("layers")
        draw_and_check(desk)
        desk.accessible()


def draw_and_check(desk: Desk) -> None:
    """A box with the mouse, a polygon with keys alone; both are there when the page is loaded again."""
    page = desk.page
    page.click("text=20×")
    desk.until(lambda: "&scale=1.000" in page.url)  # the link to the place, once the view is there
    page.keyboard.press("b")
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(450, 420, steps=4)
    page.mouse.up()
    drawn = page.locator("#annotations input")
    desk.until(lambda: drawn.count() == 1)
    page.locator("#panel").click(position={"x": 5, "y": 5})
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("g")
    for key in ("Enter", "ArrowRight", "Enter", "ArrowDown", "Shift+Enter"):
        page.keyboard.press(key)
        page.wait_for_timeout(100)  # for the view's next frame
    desk.until(lambda: drawn.count() == 2)
    page.fill("#annotations input >> nth=0", "cluster of cocci")
    page.keyboard.press("Tab")
    desk.says("#tool-hint", "Saved.")
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    desk.ready()
    assert page.input_value("#annotations input >> nth=0") == "cluster of cocci"
    assert drawn.count() == 2
    assert re.search(r"x=\d+&y=\d+&scale=1\.000", link)
    slide = re.search(r"/slides/([0-9a-f]{12})", link)[1]
    told = page.request.get(f"{desk.url}/slides/{slide}/annotations.geojson").json()
    box, polygon = (feature["geometry"]["coordinates"][0] for feature in told["features"])
    width = max(x for x, _ in box) - min(x for x, _ in box)
    height = max(y for _, y in box) - min(y for _, y in box)
    assert (width, height) == pytest.approx((150, 120), abs=2)  # at 20×, a px of the screen is a px of the slide
    assert len(polygon) == 4


def test_two_slides_side_by_side_move_together(chromium, furnished):
    with looking(chromium, furnished[1]) as desk:
        desk.go("/")
        desk.page.click("a.slide >> nth=0")
        desk.ready()
        desk.page.click("text=Show >> nth=-1")
        desk.ready()
        assert desk.page.locator(".pane").count() == 2
        left, right = (desk.page.locator(".where").nth(pane) for pane in (0, 1))
        before = left.inner_text()
        desk.page.keyboard.press("2")
        desk.until(lambda: before != left.inner_text() == right.inner_text())
        desk.shot("side-by-side")
        desk.accessible()


def test_a_focal_stack_is_judged_with_one_key(chromium, furnished):
    folder, url = furnished
    with looking(chromium, url) as desk:
        desk.go("/labelling")
        desk.ready()
        desk.page.keyboard.press("ArrowLeft")
        assert "7 of 11" in desk.page.inner_text("#at")
        desk.accessible()
        desk.shot("labelling")
        desk.page.keyboard.press("c")
        desk.page.wait_for_url("**stack=stacks%2Fb")
        desk.ready()
        desk.page.keyboard.press("x")
        desk.page.wait_for_selector("text=0 of 2 to judge")
    states = [json.loads((folder / "stacks" / name / "stack.json").read_text())["label_state"] for name in ("a", "b")]
    assert states == ["confirmed", "rejected"]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_is_accessible_and_fits(chromium, furnished, size):
    with looking(chromium, furnished[1], size) as desk:
        desk.go("/")
        slide = desk.page.get_attribute("a.slide", "href")
        for path in ("/", slide, "/accounts", "/trail", "/labelling", "/account", "/nowhere", "/sign-in"):
            desk.go(path)
            if path == slide:
                desk.ready()
            desk.accessible()
            wide = desk.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= size["width"], path
            desk.shot(f"{size['width']}-{path.strip('/').replace('/', '-') or 'gallery'}")


@pytest.mark.parametrize("kind", BOTH)
def test_signing_in_for_the_first_time_in_a_browser(chromium, slides, new_url, kind, parfocal):
    database_url = new_url(kind)
    code, made, _ = parfocal("account", "add", "anna", "--role", "admin", "--database", database_url, "--json")
    assert code == 0
    with serving(slides, database_url) as url, looking(chromium, url) as desk:
        page, made_up = desk.page, json.loads(made)["password"]
        desk.go("/")
        desk.accessible()
        for password in (made_up, "a good long password"):
            page.fill("#name", "anna")
            page.fill("#password", password)
            page.click("main button")
            if password == made_up:
                page.fill("#old", made_up)
                page.fill("#new", "a good long password")
                page.fill("#again", "a good long password")
                desk.accessible()
                page.click("main button")
        page.wait_for_selector("a.slide")
        page.click("text=Sign out")
        page.wait_for_selector("text=Password")
