"""What became of each field of a plan, in a byte a field: a scan may have any number of them."""

from __future__ import annotations

from typing import get_args

import numpy as np

from parfocal.focus.result import Verdict

_NAMES: tuple[Verdict, ...] = get_args(Verdict)
_NOT_YET = -1


class Verdicts:
    """Verdicts by the number of the field.

    Args:
        fields: of the plan.
    """

    def __init__(self, fields: int) -> None:
        self._codes = np.full(fields, _NOT_YET, np.int8)
        self._counts = dict.fromkeys(_NAMES, 0)

    def __setitem__(self, index: int, verdict: Verdict) -> None:
        if self._codes[index] != _NOT_YET:
            self._counts[_NAMES[self._codes[index]]] -= 1
        self._codes[index] = _NAMES.index(verdict)
        self._counts[verdict] += 1

    def __contains__(self, index: int) -> bool:
        return bool(self._codes[index] != _NOT_YET)

    def __len__(self) -> int:
        """Fields that have one."""
        return sum(self._counts.values())

    def count(self, *verdicts: Verdict) -> int:
        """Fields that have one of these."""
        return sum(self._counts[verdict] for verdict in verdicts)

    def fields(self, *verdicts: Verdict) -> set[int]:
        """Those fields."""
        codes = [_NAMES.index(verdict) for verdict in verdicts]
        return set(np.flatnonzero(np.isin(self._codes, codes)).tolist())
