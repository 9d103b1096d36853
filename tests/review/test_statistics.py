"""Statistics against independent references: statsmodels, irrCAC, or a likelihood maximised by a general optimiser."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa, to_table
from statsmodels.stats.proportion import proportion_confint

from parfocal.errors import SettingsError
from parfocal.review.statistics import (
    PairedShares,
    bootstrap_interval,
    fleiss,
    gwet,
    kappa,
    mcnemar_exact,
    numbered,
    tango_interval,
    tango_score,
    wilson,
)

EXACT = {"rel": 0, "abs": 1e-9}

ANSWERS = [
    "ccaanaanncbaacccaabnaacnbcaccn",
    "ccaanaanncbbacccaabnaaccbaacnn",
    "babbnncnncaaaccncnbaaccnbaaccn",
]
GRADES = [
    [1, 4, 1, 1, 0, 3, 2, 1, 4, 2, 4, 3, 2, 2, 1, 3, 3, 3, 2, 0, 3, 0, 4, 0, 1, 1, 2, 1, 1, 0],
    [2, 3, 0, 1, 0, 4, 3, 1, 4, 2, 4, 3, 1, 3, 0, 4, 3, 4, 1, 0, 4, 1, 3, 0, 0, 2, 2, 0, 2, 1],
    [0, 4, 0, 2, 2, 3, 3, 0, 4, 2, 4, 1, 1, 0, 3, 3, 3, 3, 0, 2, 4, 0, 4, 0, 0, 1, 4, 1, 1, 1],
]
# c stands for both a and b, n for none. The figures below were made once by irrCAC 0.4.4 (numpy 1.26.4): CAC(DataFrame
# of these columns, weights=…, digits=15), then .gwet(), .fleiss() and .conger(), which is Cohen's kappa for two raters.
AC1_OF_TWO, AC1_OF_THREE = 0.825200291332848, 0.531148252658997
KAPPA_OF_TWO, FLEISS_OF_THREE = 0.812792511700468, 0.509536784741145
AC2 = {
    ("identity", 2): 0.209294260447373,
    ("identity", 3): 0.250751560934248,
    ("linear", 2): 0.607032057911065,
    ("linear", 3): 0.516797054763,
    ("quadratic", 2): 0.84394250513347,
    ("quadratic", 3): 0.709057639524244,
}
WEIGHTED_KAPPA = {"identity": 0.209431345353675, "linear": 0.595170454545454, "quadratic": 0.833819241982507}
# As above, with y missing in cases 1 and 5 and z in 2 and 5 (from 0), and categories=[0, 1, 2, 3, 4].
AC2_WITH_GAPS = {"identity": 0.268017980604071, "linear": 0.521722749895897, "quadratic": 0.707743842364531}


def answers(raters):
    return numbered(list(zip(*ANSWERS[:raters], strict=True)))


def grades(raters):
    return np.array(GRADES[:raters]).T


# Shares


@pytest.mark.parametrize(("good", "of"), [(0, 1), (0, 32), (28, 32), (24, 29), (32, 32), (1, 1)])
def test_wilson_is_that_of_statsmodels(good, of):
    assert wilson(good, of) == pytest.approx(proportion_confint(good, of, method="wilson"), **EXACT)


def test_wilson_solves_the_score_equation():
    for end in wilson(28, 32):
        assert abs(28 / 32 - end) == pytest.approx(1.959963984540054 * math.sqrt(end * (1 - end) / 32), abs=1e-12)


def test_a_share_of_nothing_has_no_interval():
    with pytest.raises(SettingsError, match="0 cases"):
        wilson(0, 0)


# Beyond chance


def test_ac1_is_that_of_irrcac():
    assert gwet(answers(2), 4) == pytest.approx(AC1_OF_TWO, **EXACT)
    assert gwet(answers(3), 4) == pytest.approx(AC1_OF_THREE, **EXACT)


@pytest.mark.parametrize(("weighting", "raters"), AC2)
def test_ac2_is_that_of_irrcac(weighting, raters):
    assert gwet(grades(raters), 5, weighting) == pytest.approx(AC2[weighting, raters], **EXACT)


@pytest.mark.parametrize("weighting", AC2_WITH_GAPS)
def test_ac2_with_missing_ratings_is_that_of_irrcac(weighting):
    ratings = grades(3)
    ratings[[1, 5], 1] = -1
    ratings[[2, 5], 2] = -1
    assert gwet(ratings, 5, weighting) == pytest.approx(AC2_WITH_GAPS[weighting], **EXACT)


@pytest.mark.parametrize("weighting", WEIGHTED_KAPPA)
def test_weighted_kappa_is_that_of_irrcac_and_statsmodels(weighting):
    table = to_table(grades(2), bins=5)[0]
    by_statsmodels = cohens_kappa(table, wt=None if weighting == "identity" else weighting).kappa
    assert kappa(grades(2), 5, weighting) == pytest.approx(WEIGHTED_KAPPA[weighting], **EXACT)
    assert kappa(grades(2), 5, weighting) == pytest.approx(by_statsmodels, **EXACT)


def test_kappa_and_fleiss_are_those_of_irrcac_and_statsmodels():
    assert kappa(answers(2), 4) == pytest.approx(KAPPA_OF_TWO, **EXACT)
    assert fleiss(answers(3), 4) == pytest.approx(FLEISS_OF_THREE, **EXACT)
    assert fleiss(answers(3), 4) == pytest.approx(fleiss_kappa(aggregate_raters(answers(3))[0]), **EXACT)


def test_where_every_answer_is_the_same_nothing_can_be_told_from_chance():
    same = np.zeros((5, 2), dtype=int)
    assert (kappa(same, 1), gwet(same, 1), fleiss(same, 1)) == (None, None, None)


def test_where_one_category_of_several_was_used_ac1_is_defined_and_kappa_is_not():
    same = np.zeros((5, 2), dtype=int)
    assert (kappa(same, 3), fleiss(same, 3)) == (None, None)
    assert gwet(same, 3) == 1


def test_raters_who_always_differ_have_a_kappa_of_zero_and_an_ac1_below_it():
    apart = np.tile([0, 1], (5, 1))
    assert kappa(apart, 2) == 0
    assert gwet(apart, 2) == -1


def test_no_case_with_two_ratings_tells_no_ac1():
    assert gwet(np.array([[0, -1], [-1, 1]]), 2) is None


# Paired


def test_pairs_are_counted():
    pairs = PairedShares.of([True, True, True, False, False], [True, False, False, True, False])
    assert pairs == PairedShares(both=1, first_only=2, second_only=1, neither=1)
    assert pairs.difference == pytest.approx(0.2)


def test_mcnemar_is_the_exact_binomial_test():
    pairs = PairedShares(20, 7, 1, 4)
    assert mcnemar_exact(pairs) == pytest.approx(binomtest(1, 8, 0.5).pvalue, **EXACT)
    assert mcnemar_exact(PairedShares(5, 0, 0, 3)) == 1


def likeliest(pairs, difference):
    """Likeliest share that counts in the second way only, by a search over the whole likelihood."""

    def against(second):
        first = second + difference
        return -(
            pairs.first_only * math.log(first)
            + pairs.second_only * math.log(second)
            + (pairs.both + pairs.neither) * math.log(1 - first - second)
        )

    low, high = max(0.0, -difference) + 1e-13, (1 - difference) / 2 - 1e-13
    return minimize_scalar(against, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x


@pytest.mark.parametrize("counts", [(36, 12, 2, 4), (20, 7, 1, 4), (20, 1, 9, 4), (3, 5, 5, 3)])
def test_tangos_interval_ends_where_the_score_test_just_rejects(counts):
    pairs = PairedShares(*counts)
    for end, z in zip(tango_interval(pairs), (1.959963984540054, -1.959963984540054), strict=True):
        second = likeliest(pairs, end)
        spread = math.sqrt((2 * second + end * (1 - end)) / pairs.count)
        assert (pairs.difference - end) / spread == pytest.approx(z, abs=1e-6)


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 40)] * 4).filter(sum))
def test_tangos_interval_holds_the_difference_and_turns_with_it(counts):
    both, first, second, neither = counts
    pairs = PairedShares(both, first, second, neither)
    low, high = tango_interval(pairs)
    assert -1 <= low <= pairs.difference + 1e-12
    assert pairs.difference - 1e-12 <= high <= 1
    turned = tango_interval(PairedShares(both, second, first, neither))
    assert turned == pytest.approx((-high, -low), abs=1e-9)


def test_tangos_score_of_no_difference_is_mcnemars():
    pairs = PairedShares(20, 7, 1, 4)
    assert tango_score(pairs, 0) ** 2 == pytest.approx((7 - 1) ** 2 / (7 + 1))


# Resampling


def test_the_bootstrap_of_few_cases_is_that_of_all_their_samples():
    values = np.array([0.0, 1.0, 2.5, 4.2, 5.1])
    every = [values[list(draw)].mean() for draw in itertools.product(range(5), repeat=5)]
    ends = bootstrap_interval(lambda drawn: float(values[drawn].mean()), 5, resamples=5000, seed=1)
    assert ends == pytest.approx(tuple(np.quantile(every, [0.025, 0.975])), abs=0.1)


def test_the_bootstrap_is_the_same_for_the_same_seed():
    values = np.random.default_rng(0).normal(size=20)
    ends = [bootstrap_interval(lambda d: float(values[d].mean()), 20, resamples=200, seed=seed) for seed in (1, 1, 2)]
    assert ends[0] == ends[1] != ends[2]


def test_a_statistic_that_is_mostly_undefined_has_no_interval():
    assert bootstrap_interval(lambda drawn: None, 3, resamples=100, seed=1) is None
