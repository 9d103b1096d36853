"""Statistics of agreement: shares with intervals, agreement beyond chance, and paired comparisons.

statsmodels has most of them, and is imported where it is used: it takes seconds that a server would start later by.
Here are Gwet's coefficients and Tango's interval, which it has not. An undefined
statistic, such as kappa where every answer is the same, is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import SettingsError

Array = NDArray[np.float64]
Weighting = Literal["identity", "linear", "quadratic"]

CONFIDENCE = 0.95


def wilson(successes: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of a share by Wilson's score, both ends in 0 to 1.

    Raises:
        SettingsError: if there are no cases.
    """
    if count < 1:
        raise SettingsError(f"a share of {count} cases has no interval")
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, count, alpha=1 - confidence, method="wilson")
    return float(low), float(high)


# Agreement beyond chance. Ratings are numbers of categories, int (N, raters); -1 where a rater has none.


def numbered(answers: Sequence[Sequence[str]]) -> NDArray[np.intp]:
    """Answers (N, raters) as numbers of their categories, in alphabetical order."""
    names = sorted({answer for row in answers for answer in row})
    number = {name: index for index, name in enumerate(names)}
    return np.array([[number[answer] for answer in row] for row in answers], dtype=np.intp)


def kappa(ratings: ArrayLike, categories: int, weighting: Weighting = "identity") -> float | None:
    """Cohen's kappa of two raters; with weights for ordered categories (Cohen 1960, 1968)."""
    from statsmodels.stats.inter_rater import cohens_kappa

    pairs = np.asarray(ratings)
    table = np.zeros((categories, categories))
    np.add.at(table, (pairs[:, 0], pairs[:, 1]), 1)
    if not _can_differ(table.sum(0), table.sum(1)):
        return None
    kind = None if weighting == "identity" else weighting
    return float(cohens_kappa(table, wt=kind, return_results=False))


def fleiss(ratings: ArrayLike, categories: int) -> float | None:
    """Fleiss' kappa of two raters or more, each of whom rated every case (Fleiss 1971)."""
    from statsmodels.stats.inter_rater import fleiss_kappa

    counts = rating_counts(ratings, categories)
    if np.count_nonzero(counts.sum(0)) < 2:
        return None
    return float(fleiss_kappa(counts))


def gwet(ratings: ArrayLike, categories: int, weighting: Weighting = "identity") -> float | None:
    """Gwet's AC1, or AC2 with weights for ordered categories, of two raters or more (Gwet 2008, 2014).

    Unlike kappa it does not fall when nearly all cases are alike. Cases without a rating are left out; those with one
    tell how common the categories are.
    """
    counts = rating_counts(ratings, categories)
    raters = counts.sum(1)
    counts, raters = counts[raters > 0], raters[raters > 0]
    twice = raters > 1
    if categories < 2 or not twice.any():
        return None
    weights = agreement_weights(categories, weighting)
    paired, of = counts[twice], raters[twice]
    observed = float(np.mean((paired * (paired @ weights - 1)).sum(1) / (of * (of - 1))))
    share = (counts / raters[:, None]).mean(0)
    expected = float(weights.sum() / (categories * (categories - 1)) * (share * (1 - share)).sum())
    return (observed - expected) / (1 - expected)


def rating_counts(ratings: ArrayLike, categories: int) -> Array:
    """How many raters put each case into each category: (N, categories)."""
    numbers = np.asarray(ratings)
    return np.asarray((numbers[:, :, None] == np.arange(categories)).sum(1), dtype=np.float64)


def agreement_weights(categories: int, weighting: Weighting) -> Array:
    """How far two categories agree: (categories, categories), 1 on the diagonal."""
    if weighting == "identity" or categories < 2:
        return np.eye(categories)
    away = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories))) / (categories - 1)
    return np.asarray(1 - away if weighting == "linear" else 1 - away**2, dtype=np.float64)


def _can_differ(*marginals: NDArray[Any]) -> bool:
    """Whether two raters used more than one category between them: otherwise chance explains everything."""
    return int(np.count_nonzero(sum(marginals))) > 1


# The same slides, judged in two ways


@dataclass(frozen=True)
class PairedShares:
    """Two shares of the same cases.

    Attributes:
        both: cases that count in both ways.
        first_only: that count in the first way only.
        second_only: in the second way only.
        neither: in none.
    """

    both: int
    first_only: int
    second_only: int
    neither: int

    @classmethod
    def of(cls, first: Sequence[bool], second: Sequence[bool]) -> PairedShares:
        """Count them, case by case."""
        pairs = list(zip(map(bool, first), map(bool, second), strict=True))
        told = [pairs.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))]
        return cls(*told)

    @property
    def count(self) -> int:
        """Number of cases."""
        return self.both + self.first_only + self.second_only + self.neither

    @property
    def difference(self) -> float:
        """First share − second share, −1 to 1."""
        return (self.first_only - self.second_only) / self.count


def mcnemar_exact(pairs: PairedShares) -> float:
    """Exact two-sided p-value of McNemar's test that the shares are equal; 1 where no case differs."""
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[pairs.both, pairs.first_only], [pairs.second_only, pairs.neither]]
    return 1.0 if pairs.first_only + pairs.second_only == 0 else float(mcnemar(table, exact=True).pvalue)


def tango_interval(pairs: PairedShares, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Score interval of the difference of two paired shares (Tango 1998), both ends in −1 to 1.

    Raises:
        SettingsError: if there are no cases.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if pairs.count < 1:
        raise SettingsError("a difference of 0 cases has no interval")
    z = float(norm.ppf((1 + confidence) / 2))
    edge = 1 - 1e-12

    def end(limit: float, outside: float) -> float:
        away: Callable[[float], float] = lambda delta: tango_score(pairs, delta) - limit  # noqa: E731
        inside = pairs.difference
        if away(outside * edge) * away(inside) > 0:
            return outside
        return float(brentq(away, min(inside, outside * edge), max(inside, outside * edge), xtol=1e-13))

    return end(z, -1.0), end(-z, 1.0)


def tango_score(pairs: PairedShares, difference: float) -> float:
    """How many standard deviations the observed difference lies above the one that is supposed."""
    n, d = pairs.count, difference
    spread = 2 * restricted_share(pairs.first_only / n, pairs.second_only / n, d) + d * (1 - d)
    away = pairs.difference - d
    return 0.0 if away == 0 else away * math.sqrt(n) / math.sqrt(max(spread, 1e-300))


def restricted_share(first_only: float, second_only: float, difference: float) -> float:
    """Likeliest share of cases that count in the second way only, given the true difference of the shares."""
    b = -first_only - second_only + (2 - first_only + second_only) * difference
    c = -second_only * difference * (1 - difference)
    return (math.sqrt(max(b * b - 8 * c, 0.0)) - b) / 4


# Resampling


def bootstrap_interval(
    statistic: Callable[[NDArray[np.intp]], float | None],
    cases: int,
    *,
    resamples: int,
    seed: int,
    confidence: float = CONFIDENCE,
) -> tuple[float, float] | None:
    """Percentile interval over resampled cases; None where the statistic is undefined in more than half of them.

    Args:
        statistic: of the cases with these indices, int (cases,). What belongs to one case (all readings of a slide)
            stays together.
        cases: how many there are.
        resamples: how often they are drawn.
        seed: of the draws.
        confidence: of the interval.
    """
    draws = np.random.default_rng(seed).integers(0, cases, size=(resamples, cases))
    values = [value for value in map(statistic, draws) if value is not None]
    if len(values) * 2 <= resamples:
        return None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
