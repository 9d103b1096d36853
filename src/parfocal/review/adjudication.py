"""Adjudication: who was right where a reading and its reference differ, and what the draw of the fields explains.

The paper found organisms that were missed digitally in scanned fields that had not been drawn (section 5.3). Whoever
adjudicates looks at all fields and says what is on the slide, and what of it is in fields that were not drawn only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from parfocal.errors import FileError, InputError
from parfocal.review.agreement import Comparison, ReaderAgreement
from parfocal.review.csv_table import read_rows
from parfocal.review.readings import parse_organisms

COLUMNS = ("slide", "modality", "organisms", "not_drawn")

Right = Literal["reading", "reference", "neither"]


@dataclass(frozen=True)
class Adjudication:
    """What is on a slide, by those who adjudicated it.

    Attributes:
        slide: which.
        modality: in which way it was read.
        organisms: what is on it.
        not_drawn: those of them that are in scanned fields that were not drawn, and in no other.
    """

    slide: str
    modality: str
    organisms: frozenset[str]
    not_drawn: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.not_drawn <= self.organisms:
            extra = "; ".join(sorted(self.not_drawn - self.organisms))
            raise InputError(
                f"slide {self.slide}, {self.modality}: {extra} is in fields not drawn, and not on the slide"
            )

    def right(self, one: Comparison) -> Right:
        """Who of two that differ named just what is on the slide."""
        for who, reading in (("reading", one.reading), ("reference", one.reference)):
            if reading.interpretable and reading.organisms == self.organisms:
                return "reading" if who == "reading" else "reference"
        return "neither"

    def explains(self, one: Comparison) -> bool:
        """Whether all that the reading missed of what is on the slide was in fields that the reader was not shown."""
        missed = self.organisms - one.reading.organisms
        return bool(missed) and missed <= self.not_drawn


Adjudications = Mapping[tuple[str, str], Adjudication]
"""By (slide, modality)."""


def adjudicated(agreements: Iterable[ReaderAgreement], decided: Adjudications) -> dict[str, dict[str, Any]]:
    """By reader and modality: discordances, how many were adjudicated, and who was right, as JSON values.

    Raises:
        InputError: if something was adjudicated that nobody read.
    """
    rows: dict[str, dict[str, Any]] = {}
    read: set[tuple[str, str]] = set()
    for each in agreements:
        read |= {(one.reading.slide, each.modality) for one in each.comparisons}
        differing = [one for one in each.comparisons if one.verdict != "concurrence"]
        judged = [(one, decided[key]) for one in differing if (key := (one.reading.slide, each.modality)) in decided]
        who = [told.right(one) for one, told in judged]
        rows.setdefault(each.reader, {})[each.modality] = {
            "discordances": len(differing),
            "adjudicated": len(judged),
            "reading_right": who.count("reading"),
            "reference_right": who.count("reference"),
            "neither_right": who.count("neither"),
            "missed_not_drawn": sum(told.explains(one) for one, told in judged),
        }
    for slide, modality in decided:
        if (slide, modality) not in read:
            raise InputError(f"slide {slide}, {modality} was adjudicated, and read by nobody")
    return rows


def read_adjudications(path: Path) -> dict[tuple[str, str], Adjudication]:
    """Read a CSV file with the columns `slide`, `modality`, `organisms` and `not_drawn`; organisms separated by `;`.

    Raises:
        FileError: if the file cannot be read, lacks a column, or a line of it does not say what it should.
    """
    found: dict[tuple[str, str], Adjudication] = {}
    for where, row in read_rows(path, COLUMNS):
        slide, modality = row["slide"].strip(), row["modality"].strip()
        try:
            organisms, not_drawn = (parse_organisms(row[column])[0] for column in COLUMNS[2:])
            one = Adjudication(slide, modality, organisms, not_drawn)
        except InputError as error:
            raise FileError(f"{where}: {error}") from error
        if found.setdefault((slide, modality), one) is not one:
            raise FileError(f"{where}: slide {slide}, {modality} is adjudicated twice")
    return found
