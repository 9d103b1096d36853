"""White balance: one gain for each channel, from the brightest background of the whole scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.slide.fields.folder import SMALL, FieldsFolder
from parfocal.slide.fields.records import FieldRecord
from parfocal.slide.light.flatfield import FlatField, spread

_MAX_FIELDS = 64
_EVEN = 0.03  # a place is background only if blocks side by side differ by no more than this fraction
_BRIGHTEST_SHARE = 0.1
_FEWEST_BLOCKS = 50
_DARKEST, _BRIGHTEST = 100.0, 250.0  # grey levels of a background that tells its colour
_WIDEST = 1.5  # ratio of channels: beyond this it is no background


BackgroundSource = Literal["empty fields", "brightest places", "none"]


@dataclass(frozen=True)
class Background:
    """What fields of a scan show of it, evened out.

    Attributes:
        records: fields that were looked at, in the order of acquisition.
        places: of each, float64 (M, 3) grey levels: the median of an empty field, the even places of others,
            perhaps none.
        source: which fields those are.
    """

    records: list[FieldRecord]
    places: list[NDArray[np.float64]]
    source: BackgroundSource


@dataclass(frozen=True)
class White:
    """The background of a scan and what makes it neutral.

    Attributes:
        levels: grey levels of the background in each channel, after the flat field; None where none was found.
        gains: what each channel is multiplied by, 1 for the brightest.
        source: where the background was seen.
    """

    levels: tuple[float, float, float] | None
    gains: tuple[float, float, float]
    source: BackgroundSource


NO_WHITE = White(None, (1.0, 1.0, 1.0), "none")
"""No background was found, and nothing is balanced."""


def look_for_background(folder: FieldsFolder, flat: FlatField) -> Background:
    """Look at empty fields where there are any, else at the even places of all; at 64 fields at most.

    Args:
        folder: the scan.
        flat: float32 (Y, X, 3) relative illumination.

    Raises:
        FileError: if a frame cannot be read.
    """
    empty = [record for record in folder.records if record.verdict == "empty"]
    chosen = spread(empty or folder.records, _MAX_FIELDS)
    light = small_flat(flat)
    frames = (folder.small(record).astype(np.float32) / light for record in chosen)
    if empty:
        medians = [np.asarray(np.median(frame, axis=(0, 1)), np.float64)[None] for frame in frames]
        return Background(chosen, medians, "empty fields")
    return Background(chosen, [_even_places(frame) for frame in frames], "brightest places")


def measure_white(background: Background) -> White:
    """What makes the background neutral: of empty fields the median, else the brightest of all even places."""
    places = np.concatenate([np.zeros((0, 3)), *background.places])
    if background.source == "empty fields":
        return _balanced(np.median(places, axis=0), "empty fields")
    if len(places) < _FEWEST_BLOCKS:
        return NO_WHITE
    brightness = places.mean(axis=1)
    brightest = places[brightness >= np.quantile(brightness, 1 - _BRIGHTEST_SHARE)]
    return _balanced(np.median(brightest, axis=0), "brightest places")


def small_flat(flat: FlatField) -> NDArray[np.float32]:
    """A flat field at an eighth of its size, as `FieldsFolder.small` sees frames."""
    height, width = (length // SMALL for length in flat.shape[:2])
    whole = flat[: height * SMALL, : width * SMALL]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _even_places(frame: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, 3) blocks whose neighbours show the same: glass, or what is as even."""
    kernel = np.ones((3, 3), np.uint8)
    highest, lowest = cv2.dilate(frame, kernel), cv2.erode(frame, kernel)
    even = ((highest - lowest) <= _EVEN * np.maximum(frame, 1)).all(axis=2)
    return np.asarray(frame[even], np.float64)


def _balanced(levels: NDArray[np.float64], source: BackgroundSource) -> White:
    low, high = float(levels.min()), float(levels.max())
    if low < _DARKEST or high > _BRIGHTEST or high > _WIDEST * low:
        return NO_WHITE
    red, green, blue = (float(level) for level in levels)
    return White((red, green, blue), (high / red, high / green, high / blue), source)
