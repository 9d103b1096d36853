"""How soon a slide stands in a browser: from its address until the last tile of the first view is there."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

from parfocal.errors import SettingsError

_DRAWN = "(performance.getEntriesByName('first-view')[0] || {startTime: null}).startTime"
_TIMEOUT_MS = 60_000


def check_browser(browser: str) -> str:
    """Path of a Chromium.

    Raises:
        SettingsError: if there is no such browser, or playwright, which drives it, is not installed.
    """
    program = shutil.which(browser)
    if program is None:
        raise SettingsError(f"{browser}: there is no such browser: name a Chromium")
    if find_spec("playwright") is None:
        raise SettingsError("measuring in a browser needs playwright: pip install playwright")
    return program


def first_views_ms(url: str, browser: str, times: int = 5) -> list[float]:
    """Open a slide's page in a Chromium that has nothing of it in its cache.

    Args:
        url: of the page of a slide.
        browser: name on the PATH, or path, of a Chromium.
        times: how often; each in a new profile, and the first one alone finds a server that has not opened the slide.

    Returns:
        ms each time, from the start of the navigation, as the page itself measures them.

    Raises:
        SettingsError: if there is no such browser, it is no Chromium, playwright, which drives it, is not installed, or
            the slide is not there within a minute.
    """
    program = check_browser(browser)
    from playwright.sync_api import Error

    try:
        return _taken_ms(url, program, times)
    except Error as error:
        raise SettingsError(f"{browser} did not show the slide: {error.message.strip().splitlines()[0]}") from error


def _taken_ms(url: str, program: str, times: int) -> list[float]:
    from playwright.sync_api import sync_playwright

    taken = []
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(times):
            page = chromium.new_page(viewport={"width": 1366, "height": 768})
            page.goto(url)
            page.wait_for_selector("[data-drawn]", timeout=_TIMEOUT_MS, state="attached")
            taken.append(float(page.evaluate(_DRAWN)))
            page.context.close()
        chromium.close()
    return taken
