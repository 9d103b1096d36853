"""Readings: who found which organisms on which slide in which way, from a CSV file (paper, section 5.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parfocal.errors import FileError, InputError
from parfocal.review.csv_table import read_rows

COLUMNS = ("reader", "slide", "modality", "organisms")
REPEAT_COLUMN = "repeat"
NON_INTERPRETABLE = "non-interpretable"
"""Stands alone in `organisms`: the reader looked, and could not tell."""
_NONE = frozenset({"-", "nil", "none", "none seen"})
"""Stand alone in `organisms`, as an empty cell does: the reader saw none. They are the name of no organism."""

GRADES = ("0", "1+", "2+", "3+", "4+")
_GRADED = re.compile(r"(?P<name>.*\S)\s*=\s*(?P<grade>[1-4])\+")


@dataclass(frozen=True)
class Reading:
    """What a reader found on a slide, seen in one way.

    Attributes:
        reader: who.
        slide: which, by whatever code.
        modality: how it was seen, such as `glass` or `automated-40x`.
        organisms: what was found; empty where none was seen.
        interpretable: False where the reader could not tell; `organisms` is empty then.
        repeat: 1 for the first time, 2 for the second (test-retest).
        grades: 1 to 4 of the organisms that were graded (Table 2).
    """

    reader: str
    slide: str
    modality: str
    organisms: frozenset[str]
    interpretable: bool = True
    repeat: int = 1
    grades: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.interpretable and self.organisms:
            raise InputError(f"{self.where}: {NON_INTERPRETABLE}, and yet {self.answer}")

    @property
    def answer(self) -> str:
        """The whole answer as one category: the organisms in alphabetical order, `none` or `non-interpretable`."""
        if not self.interpretable:
            return NON_INTERPRETABLE
        return "; ".join(sorted(self.organisms)) or "none"

    @property
    def where(self) -> str:
        """Which reading this is, for messages."""
        again = f", repeat {self.repeat}" if self.repeat > 1 else ""
        return f"reader {self.reader}, slide {self.slide}, {self.modality}{again}"

    def grade(self, organism: str) -> int | None:
        """0 where it was not seen, 1 to 4 where it was graded, None where nobody said."""
        if not self.interpretable:
            return None
        return self.grades.get(organism) if organism in self.organisms else 0


def read_readings(path: Path) -> tuple[Reading, ...]:
    """Read a CSV file with the columns `reader`, `slide`, `modality` and `organisms`, in any order.

    Organisms are separated by `;`; an empty cell, or `none`, says that none was seen, `non-interpretable` that the
    reader could not tell. Case and outer spaces do not matter in them; `name=3+` adds a grade. A column `repeat`
    (1, 2, …) numbers the readings of a slide by the same reader. Other columns are left alone.

    Raises:
        FileError: if the file cannot be read, lacks a column, or a line of it does not say what it should.
    """
    readings = []
    for where, row in read_rows(path, COLUMNS):
        try:
            readings.append(_reading(row))
        except InputError as error:
            raise FileError(f"{where}: {error}") from error
    if not readings:
        raise FileError(f"{path}: holds no reading")
    refuse_duplicates(readings, str(path))
    return tuple(readings)


def _reading(row: Mapping[str, str]) -> Reading:
    reader, slide, modality = (row[column].strip() for column in COLUMNS[:3])
    for column, value in zip(COLUMNS, (reader, slide, modality), strict=False):
        if not value:
            raise InputError(f"{column} is empty")
    organisms, grades = parse_organisms(row["organisms"])
    repeat = row.get(REPEAT_COLUMN, "").strip() or "1"
    if not re.fullmatch("[1-9][0-9]{0,3}", repeat):
        raise InputError(f"repeat {repeat[:20]!r} is not a whole number from 1 to 9999")
    interpretable = NON_INTERPRETABLE not in organisms
    if not interpretable and len(organisms) > 1:
        raise InputError(f"{NON_INTERPRETABLE} stands beside organisms: {'; '.join(sorted(organisms))}")
    return Reading(
        reader, slide, modality, organisms if interpretable else frozenset(), interpretable, int(repeat), grades
    )


def parse_organisms(cell: str) -> tuple[frozenset[str], dict[str, int]]:
    """The organisms of a cell, and the grades of those that have one. `none` alone, as an empty cell, says no organism.

    Raises:
        InputError: if a grade is not 1+ to 4+, an organism has two, or `none` stands beside organisms.
    """
    organisms: set[str] = set()
    grades: dict[str, int] = {}
    for part in filter(None, (" ".join(part.split()).casefold() for part in cell.split(";"))):
        graded = _GRADED.fullmatch(part)
        if graded is None and "=" in part:
            raise InputError(f"{part!r}: a grade is one of {', '.join(GRADES[1:])}, as in 'gram-negative bacilli=3+'")
        name = part if graded is None else graded["name"]
        if graded is not None:
            grade = int(graded["grade"])
            if grades.setdefault(name, grade) != grade:
                raise InputError(f"{name} is graded {grades[name]}+ and {grade}+")
        organisms.add(name)
    nothing = organisms & _NONE
    if nothing and (len(organisms) > 1 or grades):
        raise InputError(f"{min(nothing)!r} says that none was seen, and yet there is {'; '.join(sorted(organisms))}")
    return frozenset(organisms - nothing), grades


def refuse_duplicates(readings: Sequence[Reading], where: str) -> None:
    """A reader reads a slide once in each way, or numbers the repeats.

    Raises:
        FileError: naming the reading that is there twice.
    """
    seen: set[tuple[str, str, str, int]] = set()
    for one in readings:
        key = (one.reader, one.slide, one.modality, one.repeat)
        if key in seen:
            raise FileError(f"{where}: {one.where}: stands there twice; number repeats in a column {REPEAT_COLUMN!r}")
        seen.add(key)
