"""What Parfocal itself wrote into a file about the slide, as properties."""

from __future__ import annotations

import json
from typing import Any

FORMAT = "parfocal-slide-1"


def own_properties(told: Any) -> dict[str, str]:
    """Properties from the summary that stands in our own files, empty for anything else.

    Args:
        told: the summary as JSON values, or as text.
    """
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except ValueError:
            return {}
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        return {}
    properties = {
        f"parfocal.{name}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in told.items()
    }
    if "magnification" in told:
        properties["openslide.objective-power"] = f"{told['magnification']:g}"
    if "pixel_size_um" in told:
        properties |= {f"openslide.mpp-{axis}": f"{told['pixel_size_um']:.9g}" for axis in "xy"}
    return properties
