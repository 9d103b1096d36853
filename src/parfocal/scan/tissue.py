"""Where the tissue is: sparse fields first, then what lies between and beside those that showed some."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from parfocal.scan.plan import PlannedField, ScanPlan

STRIDE = 6
"""Fields from one sparse field to the next, at most: a piece of tissue smaller than that square may be missed."""

_UNKNOWN = -1
_BESIDE = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column]


class TissueMap:
    """Which fields of a plan are worth a visit, as far as is known.

    Args:
        plan: all fields.
        everywhere: every field is worth one.
        stride: fields from one sparse field to the next, at most.
    """

    def __init__(self, plan: ScanPlan, everywhere: bool = False, stride: int = STRIDE) -> None:
        self._plan = plan
        self._everywhere = everywhere
        self._rows, self._columns = _spread(plan.rows, stride), _spread(plan.columns, stride)
        self._shows = np.full((plan.rows, plan.columns), _UNKNOWN, np.int8)

    def sparse(self) -> list[PlannedField]:
        """The sparse fields, in serpentine order; the corners of the plan are among them."""
        place = {(field.row, field.column): field for field in self._plan}
        return [
            place[row, column]
            for turn, row in enumerate(self._rows)
            for column in (self._columns if turn % 2 == 0 else reversed(self._columns))
        ]

    def learn(self, field: PlannedField, shows: bool) -> None:
        """A field was visited, and shows something or not."""
        self._shows[field.row, field.column] = shows

    def remaining(self) -> Iterator[PlannedField]:
        """The fields still worth a visit, in serpentine order, over and over until there are none.

        A field is worth it if one of the sparse fields around it shows something, or one beside it does. What is learnt
        on the way counts at once.
        """
        found = True
        while found:
            found = False
            for field in self._plan:
                if self._shows[field.row, field.column] == _UNKNOWN and self._is_wanted(field):
                    found = True
                    yield field

    def count(self) -> int:
        """Fields visited, and those worth a visit as far as is known."""
        if self._everywhere:
            return len(self._plan)
        full = np.pad(self._shows == 1, 1)
        wanted = self._shows != _UNKNOWN
        for row, column in _BESIDE:
            wanted |= full[1 + row : 1 + row + self._plan.rows, 1 + column : 1 + column + self._plan.columns]
        around = [
            [np.array([pick(_enclosing(places, value)) for value in range(count)]) for pick in (min, max)]
            for places, count in ((self._rows, self._plan.rows), (self._columns, self._plan.columns))
        ]
        for rows, columns in itertools.product(*around):
            wanted |= self._shows[np.ix_(rows, columns)] == 1
        return int(wanted.sum())

    def _is_wanted(self, field: PlannedField) -> bool:
        if self._everywhere:
            return True
        row, column = field.row, field.column
        beside = self._shows[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] == 1
        around = (
            self._shows[row, column] == 1
            for row in _enclosing(self._rows, field.row)
            for column in _enclosing(self._columns, field.column)
        )
        return bool(beside.any()) or any(around)


def _spread(count: int, stride: int) -> list[int]:
    """Places 0 … count − 1, the ends included, evenly and at most `stride` apart."""
    gaps = math.ceil((count - 1) / stride)
    return sorted({round(index * (count - 1) / max(gaps, 1)) for index in range(gaps + 1)})


def _enclosing(places: list[int], value: int) -> set[int]:
    """The nearest of the places at or below a value, and the nearest at or above it."""
    return {max(place for place in places if place <= value), min(place for place in places if place >= value)}
