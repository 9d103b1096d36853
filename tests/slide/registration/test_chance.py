"""What fields reach that show no common place is chance; what lies far above it is not."""

from __future__ import annotations

import numpy as np
import pytest

from parfocal.slide.registration.chance import LEAST_SCORE, chance_scores, least_score
from parfocal.slide.registration.translation import View

SHIFTS = [(256.0, 0.0), (0.0, 200.0)]


def views(make, count=6):
    return [View.of(make(np.random.default_rng(seed))) for seed in range(count)]


def noise(rng):
    return np.clip(rng.normal(200, 3, (256, 320)), 0, 255).astype(np.uint8)


def places(count):
    return np.arange(count)[:, None] * np.array([[1000.0, 1000.0]])


def test_the_threshold_lies_where_a_gumbel_tail_reaches_it():
    scores = np.random.default_rng(0).gumbel(0.2, 0.05, 4000)
    assert least_score(scores, 1e-6) == pytest.approx(0.2 + 0.05 * 13.8, rel=0.05)
    assert least_score(scores, 1e-3) < least_score(scores, 1e-6)


def test_a_threshold_is_never_below_what_was_seen_nor_below_the_floor():
    assert least_score(np.zeros(40), 1e-6) == LEAST_SCORE
    assert least_score(np.array([0.1] * 39 + [9.0]), 0.5) >= 9.0
    assert least_score(np.array([]), 1e-6) > LEAST_SCORE


def test_the_same_seed_gives_the_same_scores():
    made = views(noise)
    one, other = (chance_scores(made, places(6), SHIFTS, 60, 16, 12, np.random.default_rng(4)) for _ in range(2))
    assert len(one) == 12
    assert np.array_equal(one, other)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_fields_are_turned_over(count):
    """Where nothing is far enough away, even a field against itself shows no common place."""
    made = views(noise, count)
    scores = chance_scores(made, np.zeros((count, 2)), SHIFTS, 60, 16, 20, np.random.default_rng(1))
    assert len(scores) == 20
    assert scores.max() < 0.5


def test_blank_fields_have_a_threshold():
    blank = [View.of(np.full((256, 320), 200, np.uint8))] * 3
    scores = chance_scores(blank, places(3), SHIFTS, 60, 16, 20, np.random.default_rng(1))
    assert least_score(scores, 1e-6) == LEAST_SCORE
