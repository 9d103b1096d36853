"""When may a prediction be called certain: a limit on its spread, chosen on one set and held to on another.

A field flagged certain is to be within half the depth of field in 99.5 % of cases. The paper takes 1 µm for the limit
(section 4.3.3) and does not say how often it keeps its word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from parfocal.errors import SettingsError
from parfocal.evaluation.judge import JudgedStack

Array = NDArray[np.float64]

PROMISED = 0.995
PAPER_SPREAD_UM = 1.0


@dataclass(frozen=True)
class Evidence:
    """The fields of scaled and labelled stacks in one row each.

    Attributes:
        spread: (N,) standard deviation of the patches in µm; infinite where there was one patch only.
        doubt: (N,) |error| that the predictor expects in µm; infinite where it does not say.
        error: (N,) |error| in µm.
        is_good: (N,) whether that is at most half the depth of field.
    """

    spread: Array
    doubt: Array
    error: Array
    is_good: NDArray[np.bool_]


def evidence(stacks: Sequence[JudgedStack]) -> Evidence:
    """All that confidence can be told from."""
    rows = [
        (
            np.nan_to_num(field.spread_um, nan=np.inf),
            np.nan_to_num(field.doubt_um, nan=np.inf),
            abs(field.predicted_um - field.truth_um),
            stack.half_dof_um,
        )
        for stack in stacks
        for field in stack.fields
        if stack.half_dof_um is not None and np.isfinite(field.truth_um)
    ]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    spread, doubt, error, half_dof = columns
    return Evidence(spread, doubt, error, error <= half_dof)


Doubt = Callable[[Evidence], Array]
"""How doubtful is each field: (N,), the lower the surer."""


def by_spread(fields: Evidence) -> Array:
    """The paper's doubt: the standard deviation of the patches in µm (section 4.3.3)."""
    return fields.spread


def by_doubt(fields: Evidence) -> Array:
    """The |error| in µm that the network itself expects; infinite for one that does not say."""
    return fields.doubt


@dataclass(frozen=True)
class Flagged:
    """What a limit on the doubt leaves.

    Attributes:
        limit: largest doubt that is called certain.
        fields: how many fields are.
        coverage: their share of all.
        within_half_dof: share of them that is within half the depth of field; None if there are none.
        lower_bound: of that share, one-sided, 95 % (Clopper and Pearson). Fields count as independent, which those of
            one stack are not quite.
    """

    limit: float
    fields: int
    coverage: float
    within_half_dof: float | None
    lower_bound: float


def flag(doubt: Array, is_good: NDArray[np.bool_], limit: float) -> Flagged:
    """How a limit does on a set of fields: to be asked of another set than the one it was chosen on."""
    certain = doubt <= limit
    count, good = int(certain.sum()), int((certain & is_good).sum())
    share = good / count if count else None
    return Flagged(limit, count, count / max(doubt.size, 1), share, lower_bound(good, count))


def choose_limit(doubt: Array, is_good: NDArray[np.bool_], promised: float = PROMISED) -> float:
    """The largest limit that keeps the promise on this set.

    It calls at least so many fields certain that one bad one among them could be borne: with fewer, luck would choose.

    Args:
        doubt: (N,) of each field.
        is_good: (N,) whether it was within half the depth of field.
        promised: share of the certain fields that are to be good.

    Raises:
        SettingsError: if there is no such limit: the surest fields break the promise already, or there are too few.
    """
    if not doubt.size:
        raise SettingsError("no limit can be chosen on 0 fields")
    levels, covered, share = _curve(doubt, is_good)
    enough = covered * doubt.size >= 1 / (1 - promised) - 1e-9 if promised < 1 else covered > 0
    kept = np.flatnonzero((share >= promised) & np.isfinite(levels) & enough)
    if not kept.size:
        raise SettingsError(f"no limit keeps {promised:.1%} of {doubt.size} fields within half the depth of field")
    return float(levels[kept[-1]])


def coverage_curve(doubt: Array, is_good: NDArray[np.bool_]) -> tuple[Array, Array]:
    """(coverage, share within half the depth of field) as the limit rises, both (K,): a value for each doubt."""
    _, covered, share = _curve(doubt, is_good)
    return covered, share


def lower_bound(good: int, count: int, confidence: float = 0.95) -> float:
    """One-sided exact bound (Clopper and Pearson 1934) of a share: 0 where nothing was seen."""
    return float(beta.ppf(1 - confidence, good, count - good + 1)) if good else 0.0


def certain_share(stacks: Sequence[JudgedStack]) -> dict[str, object] | None:
    """What the paper's limit of 1 µm on the spread keeps, and the limits on spread and on the network's own doubt that
    would keep the promise here, None where none would; None as a whole without a scale."""
    fields = evidence(stacks)
    if not fields.error.size:
        return None
    at_paper = flag(by_spread(fields), fields.is_good, PAPER_SPREAD_UM)
    return {
        "at_1_um": vars(at_paper),
        "at_99.5": _kept(by_spread(fields), fields.is_good),
        "at_99.5_by_doubt": _kept(by_doubt(fields), fields.is_good),
    }


def _kept(doubt: Array, is_good: NDArray[np.bool_]) -> dict[str, object] | None:
    try:
        return vars(flag(doubt, is_good, choose_limit(doubt, is_good)))
    except SettingsError:
        return None


def _curve(doubt: Array, is_good: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """Each doubt that occurs, the share of fields up to it, and the share of those that are good."""
    order = np.argsort(doubt, kind="stable")
    ranked, good = doubt[order], np.cumsum(is_good[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # fields of equal doubt come in together
    count = last + 1
    return ranked[last], count / max(doubt.size, 1), good[last] / count
