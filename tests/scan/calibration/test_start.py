"""Where a pair begins: where the network errs least, and no farther than it must."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometric import Oracle, Stripes, guard, instrument
from parfocal.errors import InstrumentError
from parfocal.scan.calibration.start import Card, choose_start, judge_pairs, make_card

VALLEY = Card((-12.0, -6.0, -4.0, -2.0, 0.0, 4.0), (6.0, 1.0, 0.1, 0.1, 1.0, 3.0))
FLAT = Card((-12.0, 4.0), (0.2, 0.2))


def test_it_is_where_the_second_image_lands_in_the_valley_of_the_error():
    start = choose_start(VALLEY, delta_um=3.0, return_within_um=0.0)
    assert 3.0 - start.start_below_um == pytest.approx(-3.0, abs=0.7)
    assert start.error_um < 0.3


def test_where_all_are_alike_it_is_the_nearest_that_keeps_the_second_image_below_the_focus():
    assert choose_start(FLAT, delta_um=2.0, return_within_um=0.0, pivot_sd_um=0.5).start_below_um == 3.0


def test_a_controller_that_goes_back_by_delta_begins_half_of_it_below():
    assert choose_start(FLAT, delta_um=2.0, return_within_um=2.0, pivot_sd_um=0.5).start_below_um == 1.0


@given(delta_um=st.floats(1, 5), return_within_um=st.floats(0, 5), pivot_sd_um=st.floats(0, 2))
def test_the_second_image_never_lies_farther_above_than_is_gone_back(delta_um, return_within_um, pivot_sd_um):
    start = choose_start(VALLEY, delta_um, return_within_um, pivot_sd_um)
    assert delta_um - start.start_below_um + 2 * pivot_sd_um <= return_within_um + 1e-9 or start.start_below_um == 0


def test_a_card_is_the_mean_error_of_each_bin():
    card = make_card([(-2.1, -2.0), (-1.9, -2.2), (0.0, 0.5)], bin_um=1.0)
    assert card.defocus_um == (-2.0, 0.0)
    assert card.error_um == pytest.approx((0.2, 0.5))


def test_nothing_judged_is_no_card():
    with pytest.raises(InstrumentError):
        make_card([], 1.0)


def test_pairs_are_delta_apart_and_judged_against_the_curve_of_their_own_sweep():
    microscope, _ = instrument(Stripes(3.0))
    oracle = Oracle(3.0)
    judged = judge_pairs(microscope, guard(microscope, delta_um=2.0), oracle, 2.0)
    assert all(second - first == pytest.approx(2.0) for first, second in oracle.pairs)
    assert min(true_um for true_um, _ in judged) < -8
    assert max(true_um for true_um, _ in judged) > 2
    assert all(said_um == pytest.approx(true_um, abs=0.3) for true_um, said_um in judged)


def test_a_place_without_focus_judges_nothing():
    microscope, _ = instrument(Stripes(200.0))
    assert judge_pairs(microscope, guard(microscope, delta_um=2.0), Oracle(200.0), 0.0) == []
