"""Figures against calculations that share no code with them."""

from itertools import product

import numpy as np
import pytest

from parfocal.evaluation.metrics import (
    clustered_interval,
    rank_correlation,
    summarise,
    wrong_direction,
    zero_crossing,
)

TRUTH = np.array([-4.0, -1.0, -0.2, 0.2, 3.0])
SAID = np.array([-3.5, 0.1, 0.3, -0.1, 3.0])
ONE_STACK = np.zeros(5, dtype=np.int64)


def summary(predicted=SAID, half_dof=0.6, stacks=ONE_STACK):
    return summarise(predicted, TRUTH, np.full(5, 0.6), np.full(5, half_dof), stacks)


def test_errors_are_summarised_as_a_hand_does_it():
    told = summary()
    errors = [0.5, 1.1, 0.5, 0.3, 0.0]
    mean = sum(errors) / 5
    assert told.pairs == 5
    assert told.mean_abs_error_um == pytest.approx(mean)
    assert told.sd_abs_error_um == pytest.approx((sum((e - mean) ** 2 for e in errors) / 5) ** 0.5)
    assert told.median_abs_error_um == pytest.approx(0.5)
    assert told.within_half_dof == pytest.approx(4 / 5)
    assert told.ci95 is None


def test_a_direction_is_wrong_only_where_the_focus_is_farther_away_than_half_the_depth_of_field():
    assert summary().wrong_direction == pytest.approx(1 / 3)
    assert wrong_direction(SAID, TRUTH, 2.0) == 0.0
    assert wrong_direction(SAID, TRUTH, 9.0) is None
    assert wrong_direction(np.zeros(2), np.array([-2.0, 2.0]), 1.0) == 1.0


def test_without_a_scale_there_are_directions_but_no_errors():
    told = summarise(SAID, TRUTH, np.full(5, 0.6), None, ONE_STACK)
    assert told.wrong_direction == pytest.approx(1 / 3)
    assert told.mean_abs_error_um is told.within_half_dof is told.ci95 is None
    assert told.pairs == 5


def test_the_interval_is_that_of_all_draws_of_whole_stacks():
    rng = np.random.default_rng(0)
    stacks = np.array([7, 7, 9, 4, 4, 4, 1, 2])
    values = rng.gamma(1.0, 1.0, 8)
    members = [values[stacks == stack] for stack in (7, 9, 4, 1, 2)]
    every_draw = [np.concatenate([members[i] for i in draw]).mean() for draw in product(range(5), repeat=5)]
    low, high = np.percentile(every_draw, [2.5, 97.5])
    assert clustered_interval(values, stacks) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_predictions_that_share_their_stack_widen_the_interval():
    rng = np.random.default_rng(1)
    offsets = np.repeat(rng.normal(0, 1, 20), 50)
    values = offsets + rng.normal(0, 0.1, 1000)
    clustered = np.ptp(clustered_interval(values, np.repeat(np.arange(20), 50)))
    naive = np.ptp(clustered_interval(values, np.arange(1000)))
    assert clustered > 4 * naive
    assert clustered == pytest.approx(2 * 1.96 * offsets[::50].std() / 20**0.5, rel=0.15)


def test_the_interval_is_the_same_each_time_and_needs_two_stacks():
    values, stacks = np.arange(6.0), np.array([0, 0, 1, 1, 2, 2])
    assert clustered_interval(values, stacks) == clustered_interval(values, stacks)
    assert clustered_interval(values, np.zeros(6, dtype=np.int64)) is None


def test_rank_correlation_is_spearmans():
    z, said = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([-3.0, -1.0, -2.0, 5.0, 80.0])
    squares = (0**2) + (1**2) + (1**2) + 0 + 0
    assert rank_correlation(z, said) == pytest.approx(1 - 6 * squares / (5 * 24))
    assert rank_correlation(z, -said) == pytest.approx(-rank_correlation(z, said))
    assert rank_correlation(z, np.ones(5)) is None
    assert rank_correlation(z[:1], said[:1]) is None


def test_the_zero_crossing_of_a_straight_line_is_where_it_crosses():
    z = np.array([-3.0, -2.0, -1.0, 0.5, 2.0])
    assert zero_crossing(z, 0.5 * (z - 0.2)) == pytest.approx(0.2)
    shuffled = np.array([3, 0, 4, 1, 2])
    assert zero_crossing(z[shuffled], 0.5 * (z - 0.2)[shuffled]) == pytest.approx(0.2)


def test_a_prediction_out_of_order_is_pooled_with_its_neighbours():
    z = np.arange(6.0)
    said = np.array([-4.0, -1.0, -3.0, 2.0, 1.0, 4.0])  # monotone: -4, -2, -2, 1.5, 1.5, 4
    assert zero_crossing(z, said) == pytest.approx(2 + 2 / 3.5)


def test_predictions_that_stay_on_one_side_never_cross():
    z = np.arange(4.0)
    assert zero_crossing(z, z + 1) is None
    assert zero_crossing(z, z - 9) is None
    assert zero_crossing(np.zeros(0), np.zeros(0)) is None
    assert zero_crossing(z, np.array([-1.0, 0.0, 0.0, 2.0])) == pytest.approx(1.5)
