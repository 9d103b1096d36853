"""Each vote against a calculation by hand."""

import math

import numpy as np
import pytest

from parfocal.evaluation.votes import VOTES, cast_votes
from parfocal.focus.predictor import FocusPrediction

SAID, SD, DETAIL = (1.0, 2.0, 4.0), (1.0, 2.0, 3.0), (10.0, 0.0, 10.0)


def votes(said=SAID, sd=SD, detail=DETAIL):
    return cast_votes(FocusPrediction(math.nan, math.nan, said, sd, 0.0, 0.0, detail))


def test_weighted_votes_are_sums_over_weights():
    cast = votes()
    assert cast["sd-weighted"] == pytest.approx((1 * 1 + 2 * 2 + 3 * 4) / 6)
    assert cast["sd2-weighted"] == pytest.approx((1 * 1 + 4 * 2 + 9 * 4) / 14)
    assert cast["detail-weighted"] == pytest.approx((1 + 4) / 2, abs=1e-6)
    assert cast["mean"] == pytest.approx(7 / 3)
    assert cast["median"] == 2.0


def test_jiang_drops_the_ten_of_twenty_that_are_farthest_from_the_median():
    tight, far = np.linspace(-0.1, 0.1, 10), np.array([-9, -8, -7, -6, -5, 20, 21, 22, 23, 24])
    said = np.random.default_rng(0).permutation(np.concatenate([tight, far]))
    cast = votes(tuple(said), (1.0,) * 20, (1.0,) * 20)
    assert cast["jiang"] == pytest.approx(0.0, abs=1e-12)
    assert cast["mean"] == pytest.approx(75 / 20)


@pytest.mark.parametrize(("patches", "kept"), [(1, 1), (2, 1), (3, 2), (4, 2), (9, 5), (20, 10), (30, 15)])
def test_jiang_keeps_half_of_any_number_of_patches(patches, kept):
    said = np.arange(patches, dtype=float) ** 3
    nearest = sorted(said, key=lambda value: abs(value - np.median(said)))[:kept]
    assert votes(tuple(said), (1.0,) * patches, (1.0,) * patches)["jiang"] == pytest.approx(np.mean(nearest))


def test_all_votes_agree_where_all_patches_do():
    cast = votes((1.5,) * 4, (0.0, 1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 0.0))
    assert set(cast) == set(VOTES)
    assert list(cast.values()) == pytest.approx([1.5] * len(VOTES))


def test_without_any_weight_patches_count_alike():
    cast = votes(sd=(0.0,) * 3, detail=(0.0,) * 3)
    assert cast["sd-weighted"] == cast["sd2-weighted"] == cast["detail-weighted"] == pytest.approx(7 / 3)


def test_a_predictor_that_tells_no_detail_gets_no_vote_by_detail():
    assert set(VOTES) - set(votes(detail=())) == {"detail-weighted"}
