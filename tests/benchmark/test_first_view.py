"""How soon a slide stands in a browser: what is said where none shows it."""

import sys

import pytest

from parfocal.benchmark.first_view import check_browser, first_views_ms
from parfocal.errors import SettingsError


def test_a_browser_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match="there is no such browser"):
        check_browser("no-such-browser")


def test_a_program_that_is_no_chromium_is_said_in_one_line():
    pytest.importorskip("playwright", reason="needs playwright (the dev extra)")
    with pytest.raises(SettingsError, match=r"did not show the slide: .+$") as told:
        first_views_ms("http://127.0.0.1:9/", sys.executable, times=1)
    assert "\n" not in str(told.value)
