"""What Parfocal itself wrote into a file about the slide, as properties."""

from __future__ import annotations

import json
import math
from typing import Any

from parfocal.documents import parse_json
from parfocal.errors import FileError

FORMAT = "parfocal-slide-1"


def own_properties(told: Any) -> dict[str, str]:
    """Properties from the summary that stands in our own files, empty for anything else.

    Args:
        told: the summary as JSON values, or as text.
    """
    if isinstance(told, str):
        try:
            told = parse_json(told, "summary")
        except FileError:
            return {}
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        return {}
    properties = {
        f"parfocal.{name}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in told.items()
    }
    if (magnification := _number(told.get("magnification"))) is not None:
        properties["openslide.objective-power"] = f"{magnification:g}"
    if (pixel_size_um := _number(told.get("pixel_size_um"))) is not None:
        properties |= {f"openslide.mpp-{axis}": f"{pixel_size_um:.9g}" for axis in "xy"}
    return properties


def _number(value: object) -> float | None:
    """A size that a file tells; None for what is none."""
    if not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) and value > 0 else None
    except OverflowError:
        return None
