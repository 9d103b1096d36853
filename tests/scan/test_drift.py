"""Light and focus that change while a slide is scanned: figures, and words where one is too much."""

import pytest

from parfocal.focus.surface import FocusDrift
from parfocal.scan.drift import drift_figures
from parfocal.slide.light.fading import UNKNOWN_FADING, Fading


def faded(change, sd=0.002):
    return Fading(change, sd, 40, "empty fields")


def test_the_figures_are_those_of_the_background_and_of_the_focal_surface():
    assert drift_figures(faded(-0.03), FocusDrift(0.2, 0.05)) == {
        "light_change": -0.03, "light_sd": 0.002, "light_fields": 40, "light_seen_in": "empty fields",
        "focus_um_per_min": 0.2, "focus_sd_um_per_min": 0.05, "warnings": [],
    }  # fmt: skip


def test_what_nobody_knows_is_null_and_no_reason_to_warn():
    figures = drift_figures(UNKNOWN_FADING, None)
    assert figures["warnings"] == []
    assert (figures["light_change"], figures["focus_um_per_min"], figures["light_seen_in"]) == (None, None, "none")


@pytest.mark.parametrize(
    ("fading", "focus", "warnings"),
    [
        (faded(-0.06), None, ["the light changed by -6.0% while"]),
        (faded(0.051), None, ["the light changed by +5.1% while"]),
        (faded(-0.06, sd=0.03), None, []),  # within three deviations
        (UNKNOWN_FADING, FocusDrift(-0.6, 0.1), ["the focus drifted by -0.60 µm a minute"]),
        (UNKNOWN_FADING, FocusDrift(0.6, 0.25), []),
        (faded(-0.2), FocusDrift(1.0, 0.1), ["the light changed by -20.0% while", "the focus drifted by +1.00 µm"]),
    ],
)
def test_one_that_is_large_and_clear_is_put_into_words(fading, focus, warnings):
    told = drift_figures(fading, focus)["warnings"]
    assert len(told) == len(warnings)
    assert all(line.startswith(words) for line, words in zip(told, warnings, strict=True))
