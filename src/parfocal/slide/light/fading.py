"""Whether the light changed while a scan was made: how bright its background is, by when each field was taken."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.slide.fields.records import FieldRecord
from parfocal.slide.light.white import Background, BackgroundSource

FEWEST_FIELDS = 5
"""With fewer fields that show background nothing is said."""

DARKEST, BRIGHTEST = 20.0, 248.0
"""Grey levels between which a camera tells of the light."""

_FEWEST_PLACES = 20  # of a field that is not empty
_BRIGHTEST_SHARE = 0.1
_LEAST_OF_SCAN = 0.5  # share of the time that the fields must span: less says little about all of it
_ONE_SD = 0.6827  # of a normal distribution lies so near


@dataclass(frozen=True)
class Fading:
    """How the background's brightness changed from a scan's first field to its last.

    Attributes:
        change: as a fraction of the brightness at the beginning, by a straight line; negative where the light faded.
            None where too few fields tell, or nobody wrote down when they were taken.
        sd: standard deviation of that.
        fields: how many told.
        source: where the background was seen.
    """

    change: float | None
    sd: float | None
    fields: int
    source: BackgroundSource


UNKNOWN_FADING = Fading(None, None, 0, "none")
"""Nothing is known about it."""


def measure_fading(records: list[FieldRecord], background: Background) -> Fading:
    """Compare the background's brightness with the time, by the median slope between pairs of fields (Theil and Sen).

    Args:
        records: all fields of the scan.
        background: what some of them show of it.
    """
    times_s = [record.taken_s for record in records if record.taken_s is not None]
    seen = [
        (record.taken_s, level)
        for record, places in zip(background.records, background.places, strict=True)
        if record.taken_s is not None and (level := _brightness(places, background.source)) is not None
    ]
    unknown = Fading(None, None, len(seen), background.source if seen else "none")
    if len(seen) < FEWEST_FIELDS:
        return unknown
    first_s, lasted_s = min(times_s), max(times_s) - min(times_s)
    share = (np.array([time_s for time_s, _ in seen]) - first_s) / lasted_s if lasted_s > 0 else np.zeros(len(seen))
    if np.ptp(share) < _LEAST_OF_SCAN:
        return unknown
    from scipy import stats  # here, as it takes a second that a server would start later by

    slope, _, low, high = stats.theilslopes(np.log([level for _, level in seen]), share, alpha=_ONE_SD)
    change = math.expm1(float(slope))
    return Fading(change, (1 + change) * float(high - low) / 2, len(seen), background.source)


def _brightness(places: NDArray[np.float64], source: BackgroundSource) -> float | None:
    """Grey level of a field's background, the mean of its channels; None where it shows none, or cannot be trusted."""
    if len(places) < (1 if source == "empty fields" else _FEWEST_PLACES):
        return None
    brightness = places.mean(axis=1)
    brightest = places[brightness >= np.quantile(brightness, 1 - _BRIGHTEST_SHARE)]
    levels = np.median(brightest, axis=0)
    return float(levels.mean()) if levels.min() > DARKEST and levels.max() < BRIGHTEST else None
