"""The five system tests that the FDA's guidance of 2016 names for whole slide imaging, measured on the slide itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.slide.assembly import Assembly
from parfocal.slide.quality.resolution import Resolution
from parfocal.slide.quality.table import FieldQuality

Outcome = Literal["pass", "fail", "not measured"]
Overall = Literal["pass", "fail", "incomplete"]

MOST_STEP_GREY = 1.0
LEAST_SHARP = 1.5
LEAST_IN_FOCUS = 0.95
LEAST_COVERED = 0.99
MOST_RESIDUAL_PX = 1.0
MOST_OUT, MOST_OUT_MEASURED = 0.5, 0.6
"""Probability of being out of focus above which a frame counts as that; where the focus was measured in the field."""

_LEAST_JUDGED = 0.5  # of the fields with tissue, or the focus was not measured


@dataclass(frozen=True)
class SystemTest:
    """One test.

    Attributes:
        name: "colour", "resolution", "focus", "tissue coverage" or "stitching error".
        value: what was measured, in `unit`; None where it was not.
        unit: of value and limit; empty for a fraction.
        limit: at most or at least so much passes.
        at_most: whether `limit` is the largest value that passes, or the smallest.
        measured: the value in words.
        how: what was measured, in one sentence.
        note: what the value does not say.
        outcome: of the comparison.
    """

    name: str
    value: float | None
    unit: str
    limit: float
    at_most: bool
    measured: str
    how: str
    note: str
    outcome: Outcome

    @property
    def limit_text(self) -> str:
        """The limit in words."""
        shown = f"{self.limit:.0%}" if not self.unit else f"{self.limit:.1f} {self.unit}"
        return f"{'at most' if self.at_most else 'at least'} {shown}"


def system_tests(made: Assembly, resolution: Resolution) -> tuple[SystemTest, ...]:
    """Colour, resolution, focus, tissue coverage and stitching error of an assembled scan."""
    rows = made.description.fields
    return (
        _colour(made),
        _resolution(resolution),
        _focus(rows),
        _coverage(made, rows),
        _stitching(made),
    )


def overall(tests: tuple[SystemTest, ...]) -> Overall:
    """One failure fails the slide; what was not measured leaves it incomplete."""
    outcomes = {test.outcome for test in tests}
    if "fail" in outcomes:
        return "fail"
    return "incomplete" if "not measured" in outcomes else "pass"


def measured_steps(made: Assembly) -> NDArray[np.float64]:
    """(S, 3) brightness steps in grey levels, of the seams where they were measured."""
    steps = made.light.steps
    return np.asarray(steps[~np.isnan(steps).any(axis=1)], np.float64)


def is_sharp(row: FieldQuality) -> bool:
    """Whether a field that was judged counts as in focus."""
    limit = MOST_OUT_MEASURED if row.focus_source == "measured" else MOST_OUT
    return row.verdict == "focused" and (row.score or 0.0) <= limit


def unvisited(made: Assembly) -> set[tuple[int, int]]:
    """(row, column) of planned fields beside one with tissue that were not visited."""
    header, records = made.fields.header, made.fields.records
    visited = {(record.row, record.column) for record in records}
    beside = {place for record in records if record.verdict != "empty" for place in _beside(record.row, record.column)}
    return {
        (row, column) for row, column in beside - visited if 0 <= row < header.rows and 0 <= column < header.columns
    }


def gaps(made: Assembly) -> list[tuple[int, int]]:
    """Neighbours in the plan, as positions in the folder's records, that leave a gap between them."""
    records, corners = made.fields.records, np.round(made.registration.mosaic_xy_px)
    size = np.array(made.fields.header.frame_shape[::-1])
    at = {(record.row, record.column): index for index, record in enumerate(records)}
    found = []
    for (row, column), a in at.items():
        for place, axis in (((row, column + 1), 0), ((row + 1, column), 1)):
            b = at.get(place)
            if b is not None and abs(corners[b] - corners[a])[axis] > size[axis]:
                found.append((a, b))
    return found


def _beside(row: int, column: int) -> list[tuple[int, int]]:
    return [(row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column)]


def _judged(
    name: str, value: float | None, unit: str, limit: float, at_most: bool, measured: str, how: str, note: str
) -> SystemTest:
    outcome: Outcome = "not measured"
    if value is not None:
        outcome = "pass" if (value <= limit if at_most else value >= limit) else "fail"
    return SystemTest(name, value, unit, limit, at_most, measured, how, note, outcome)


def _colour(made: Assembly) -> SystemTest:
    steps = np.abs(measured_steps(made))
    value = float(np.percentile(steps, 95)) if len(steps) else None
    white = made.light.white
    balance = "no background was found, so nothing was balanced"
    if white.levels is not None:
        levels = ", ".join(f"{level:.0f}" for level in white.levels)
        balance = f"background {levels} (red, green, blue) made neutral once for the scan, from {white.source}"
    return _judged(
        "colour",
        value,
        "grey levels",
        MOST_STEP_GREY,
        True,
        "no overlap to compare" if value is None else f"{value:.2f} grey levels; {balance}",
        "Brightness step across seams: 95th percentile over seams and channels of the difference that two fields "
        "show of the same places, after correction.",
        "No colour target was measured: whether colours are true is not known. Pixels are declared sRGB.",
    )


def _resolution(seen: Resolution) -> SystemTest:
    value = None if seen.finest_um is None else seen.finest_um / seen.limit_um
    limiting = "two pixels" if seen.by_pixel else "the lens, λ / 2 NA"
    measured = f"too few overlaps with detail ({seen.patches} patches)"
    if seen.finest_um is not None:
        measured = f"{seen.finest_um:.2f} µm, {value:.2f} × the limit of {limiting}, {seen.limit_um:.2f} µm"
    return _judged(
        "resolution",
        value,
        "× the limit",
        LEAST_SHARP,
        True,
        measured,
        "Finest period on which two exposures of the same place agree (Fourier ring correlation above 1/7, green), "
        "over the finest that lens and pixels can show.",
        "It depends on the specimen too: what holds no fine detail shows none. It is no test chart.",
    )


def _focus(rows: tuple[FieldQuality, ...]) -> SystemTest:
    tissue = [row for row in rows if row.verdict != "empty"]
    judged = [row for row in tissue if row.score is not None or row.verdict != "focused"]
    # tiles from elsewhere are all unsure: nobody said how they were focused
    value, measured = (
        None,
        f"{sum(row.score is not None for row in tissue)} of {len(tissue)} fields with tissue were judged",
    )
    if any(row.verdict == "focused" for row in tissue) and len(judged) >= _LEAST_JUDGED * len(tissue):
        value = sum(is_sharp(row) for row in judged) / len(judged)
        doubt = [row.score for row in judged if row.score is not None]
        likely = f", mean probability of being out of focus {np.mean(doubt):.1%}" if doubt else ""
        measured = f"{value:.1%} of {len(judged)} fields with tissue{likely}"
    return _judged(
        "focus",
        value,
        "",
        LEAST_IN_FOCUS,
        False,
        measured,
        "Share of fields with tissue that are focused and, by their neighbours and the focal surface, out of focus "
        f"with a probability of at most {MOST_OUT:.0%}, or {MOST_OUT_MEASURED:.0%} where focus was measured there.",
        "The probability is the scan's own; it is no second measurement.",
    )


def _coverage(made: Assembly, rows: tuple[FieldQuality, ...]) -> SystemTest:
    tissue = [row for row in rows if row.verdict != "empty"]
    missing, open_seams = unvisited(made), gaps(made)
    value, measured = None, "no field with tissue"
    if tissue:
        closed = [row for row in tissue if not missing.intersection(_beside(row.row, row.column))]
        value = len(closed) / len(tissue) if not open_seams else 0.0
        last = (made.fields.header.rows - 1, made.fields.header.columns - 1)
        at_border = sum(row.row in (0, last[0]) or row.column in (0, last[1]) for row in tissue)
        measured = f"{len(closed)} of {len(tissue)} fields with tissue have no unvisited neighbour; "
        measured += f"{len(open_seams)} gaps; {at_border} lie at the border of the scanned area"
    return _judged(
        "tissue coverage",
        value,
        "",
        LEAST_COVERED,
        False,
        measured,
        "Share of fields with tissue whose planned neighbours were all visited; a gap between neighbours fails it.",
        "Tissue beyond the scanned area, and pale tissue that was taken for glass, are not seen by this.",
    )


def _stitching(made: Assembly) -> SystemTest:
    used = np.array([seam.residual_px for seam in made.registration.seams if seam.accepted])
    value, measured = None, "no seam was measured"
    if len(used):
        value = float(np.percentile(used, 95))
        pixel_um = made.fields.header.pixel_size_um
        measured = (
            f"{value:.2f} px ({value * pixel_um:.3f} µm), rms {np.sqrt((used**2).mean()):.2f}, worst {used.max():.2f}; "
            f"{len(used)} of {len(made.registration.seams)} seams used, {made.islands} piece"
            f"{'' if made.islands == 1 else 's'}"
        )
        rms_px, _ = made.errors(tied=True)
        if rms_px is not None:
            measured += f"; against the true positions rms {rms_px:.2f} px"
    return _judged(
        "stitching error",
        value,
        "px",
        MOST_RESIDUAL_PX,
        True,
        measured,
        "Residual of seams: 95th percentile of the distance between a measured shift and the solved positions.",
        "Where pieces are not tied by any seam the stage alone placed them.",
    )
