"""Confidence on fields whose error is drawn from what they say of it."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from parfocal.errors import SettingsError
from parfocal.evaluation.calibration import (
    by_doubt,
    by_spread,
    certain_share,
    choose_limit,
    coverage_curve,
    evidence,
    flag,
    lower_bound,
)
from parfocal.evaluation.judge import Judged, JudgedStack

HALF_DOF_UM = 0.6


def drawn(fields, seed, by_spread=1 / 3, by_distance=1 / 20):
    """A stack whose fields err by these shares of their spread and of their distance (standard deviations)."""
    rng = np.random.default_rng(seed)
    spread, truth = rng.gamma(2.0, 0.4, fields), rng.uniform(-8, 8, fields)
    predicted = truth + rng.normal(0, np.hypot(by_spread * spread, by_distance * truth))
    rows = [
        Judged(0.0, float(t), float(p), float(s), {"mean": float(p), "median": float(p + 0.1)})
        for t, p, s in zip(truth, predicted, spread, strict=True)
    ]
    return [JudgedStack("drawn", "", 0.5, HALF_DOF_UM, tuple(rows))]


@pytest.fixture(scope="module")
def sets():
    return evidence(drawn(4000, 0)), evidence(drawn(4000, 1))


def test_evidence_is_read_off_the_fields():
    fields = evidence(
        [
            JudgedStack("a", "", 0.5, 0.6, (Judged(0, 1.0, 1.5, 0.2, {"mean": 1.0, "median": 1.4}, 0.3),)),
            JudgedStack("b", "", 0.5, 0.6, (Judged(0, -1.0, -2.0, math.nan, {"mean": 1.0}),)),
            JudgedStack("no scale", "", 0.5, None, (Judged(0, 1.0, 1.0, 0.2, {"mean": 1.0}),)),
            JudgedStack("no label", "", 0.5, 0.6, (Judged(0, math.nan, 1.0, 0.2, {"mean": 1.0}),)),
        ]
    )
    assert fields.error == pytest.approx([0.5, 1.0])
    assert fields.spread.tolist() == [0.2, math.inf]
    assert fields.doubt.tolist() == [0.3, math.inf]
    assert fields.is_good.tolist() == [True, False]


def test_the_limit_is_the_largest_that_keeps_the_promise():
    doubt = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    good = np.array([1, 1, 0, 1, 1, 0], dtype=bool)
    assert choose_limit(doubt, good, 1.0) == 0.2
    assert choose_limit(doubt, good, 0.8) == 0.5
    assert choose_limit(doubt, good, 0.5) == 0.6
    assert choose_limit(doubt, good, 0.6) == 0.6
    with pytest.raises(SettingsError, match=r"no limit keeps 99\.5% of 2 fields"):
        choose_limit(np.array([0.1, 0.2]), np.array([False, True]))


def test_fields_of_equal_doubt_are_called_certain_together_or_not_at_all():
    doubt, good = np.array([0.1, 0.2, 0.2, 0.2]), np.array([1, 1, 1, 0], dtype=bool)
    assert choose_limit(doubt, good, 1.0) == 0.1
    assert [list(curve) for curve in coverage_curve(doubt, good)] == [[0.25, 1.0], [1.0, 0.75]]


def test_a_handful_of_lucky_fields_chooses_no_limit():
    doubt, good = np.arange(300.0), np.arange(300) < 150
    with pytest.raises(SettingsError, match=r"no limit keeps 99\.5% of 300 fields"):
        choose_limit(doubt, good)
    assert choose_limit(doubt, np.arange(300) < 200) == 200.0


def test_a_field_without_a_spread_is_never_certain():
    doubt, good = np.array([0.1, math.inf]), np.array([True, True])
    assert choose_limit(doubt, good, 1.0) == 0.1
    assert flag(doubt, good, 1.0).fields == 1


def test_a_limit_chosen_on_one_set_keeps_its_word_on_another(sets):
    chosen_on, held_to = sets
    limit = choose_limit(by_spread(chosen_on), chosen_on.is_good, 0.9)
    told = flag(by_spread(held_to), held_to.is_good, limit)
    assert told.within_half_dof == pytest.approx(0.9, abs=0.03)
    assert told.lower_bound < told.within_half_dof
    assert told.coverage == pytest.approx(told.fields / 4000)


def test_the_bound_is_the_share_at_which_so_many_good_ones_would_be_rare():
    for good, count in [(199, 200), (400, 400), (50, 60)]:
        bound = lower_bound(good, count)
        assert binom.sf(good - 1, count, bound) == pytest.approx(0.05, abs=1e-6)
    assert lower_bound(0, 10) == lower_bound(0, 0) == 0


def test_a_network_that_knows_its_error_is_surer_of_more_fields():
    """The doubt that it tells follows its errors; the spread of the patches does not."""
    rng = np.random.default_rng(3)
    doubt, truth = rng.gamma(2.0, 0.3, 4000), rng.uniform(-8, 8, 4000)
    said, spread = truth + rng.laplace(0, doubt), rng.gamma(2.0, 0.4, 4000)
    rows = [
        Judged(0.0, float(t), float(p), float(s), {}, float(d))
        for t, p, s, d in zip(truth, said, spread, doubt, strict=True)
    ]
    fields = evidence([JudgedStack("drawn", "", 0.5, HALF_DOF_UM, tuple(rows))])
    surest = {}
    for name, how in [("spread", by_spread), ("doubt", by_doubt)]:
        coverage, share = coverage_curve(how(fields), fields.is_good)
        surest[name] = np.interp(0.5, coverage, share)
    assert surest["doubt"] > surest["spread"] + 0.15
    told = certain_share([JudgedStack("drawn", "", 0.5, HALF_DOF_UM, tuple(rows))])
    assert told["at_99.5"] is None
    assert told["at_99.5_by_doubt"]["within_half_dof"] >= 0.995


def test_no_limit_is_chosen_on_no_field():
    with pytest.raises(SettingsError, match="0 fields"):
        choose_limit(np.array([]), np.array([], dtype=bool))


def test_the_share_at_the_papers_limit_is_told_beside_the_limit_that_would_do():
    told = certain_share(drawn(500, 2))
    assert told["at_1_um"]["limit"] == 1.0
    assert told["at_1_um"]["within_half_dof"] < 0.995
    assert told["at_99.5"] is None or told["at_99.5"]["within_half_dof"] >= 0.995
    assert certain_share([JudgedStack("steps", "", 0.5, None, ())]) is None
