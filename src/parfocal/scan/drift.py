"""What drifts while a slide is scanned, light and focus: figures for the report, and words where one is too much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parfocal.focus.surface import FocusDrift
from parfocal.slide.light.fading import Fading

MOST_LIGHT = 0.05
"""Change of the light, from a scan's first field to its last, that is no matter; a fraction."""

MOST_FOCUS_UM_PER_MIN = 0.5
"""Drift of the focus that is no matter: what the focal surface takes to be usual."""

_CLEAR_SDS = 3.0


def drift_figures(fading: Fading, focus: FocusDrift | None) -> dict[str, Any]:
    """What the report says of drift, as JSON values.

    Args:
        fading: of the background.
        focus: by the focal surface; None where it does not tell.
    """
    warnings = []
    if fading.change is not None and fading.sd is not None and _is_clear(fading.change, fading.sd, MOST_LIGHT):
        warnings.append(
            f"the light changed by {fading.change:+.1%} while the slide was scanned, {MOST_LIGHT:.0%} is no matter: "
            "is the lamp warm, is its current steady?"
        )
    if focus is not None and _is_clear(focus.um_per_min, focus.sd_um_per_min, MOST_FOCUS_UM_PER_MIN):
        warnings.append(
            f"the focus drifted by {focus.um_per_min:+.2f} µm a minute, {MOST_FOCUS_UM_PER_MIN:g} are no matter: "
            "let the instrument reach its temperature"
        )
    return {
        "light_change": _rounded(fading.change),
        "light_sd": _rounded(fading.sd),
        "light_fields": fading.fields,
        "light_seen_in": fading.source,
        "focus_um_per_min": None if focus is None else _rounded(focus.um_per_min),
        "focus_sd_um_per_min": None if focus is None else _rounded(focus.sd_um_per_min),
        "warnings": warnings,
    }


def focus_drift_in(figures: Mapping[str, Any]) -> FocusDrift | None:
    """The drift of the focus in what `drift_figures` gave; None where it is not told."""
    um_per_min, sd_um_per_min = figures.get("focus_um_per_min"), figures.get("focus_sd_um_per_min")
    return None if um_per_min is None or sd_um_per_min is None else FocusDrift(um_per_min, sd_um_per_min)


def _is_clear(value: float, sd: float, most: float) -> bool:
    return abs(value) > max(most, _CLEAR_SDS * sd)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
