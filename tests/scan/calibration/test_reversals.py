"""What the reversals of a scan say about the slack, at no exposure."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.scan.calibration.reversals import Reversal, update_backlash

ERROR_UM = 0.3


def reversals(slack_um, risen_um, seed=0):
    """Readings of a play operator with an error."""
    rng = np.random.default_rng(seed)
    return [
        Reversal(rise_um, 5.0, 5.0 - max(0.0, slack_um - rise_um) + float(rng.normal(0, ERROR_UM)), ERROR_UM)
        for rise_um in risen_um
    ]


def test_reversals_that_do_not_close_the_slack_measure_it():
    update = update_backlash(reversals(25.0, [22.0] * 8 + [40.0] * 3))
    assert update.verdict == "measured"
    assert update.slack_um == pytest.approx(25.0, abs=0.3)
    assert update.error_um == pytest.approx(ERROR_UM / math.sqrt(8))


def test_what_was_known_counts_by_its_error():
    update = update_backlash(reversals(25.0, [22.0] * 4), known_um=24.0, known_error_um=0.05)
    assert update.slack_um == pytest.approx(24.0, abs=0.2)


@given(st.floats(0.0, 22.0))
def test_reversals_that_close_it_only_bound_it(slack_um):
    update = update_backlash([Reversal(22.0, 5.0, 5.0, ERROR_UM)] * 5, known_um=slack_um, known_error_um=0.1)
    assert update.verdict == "bounded"
    assert 22.0 <= update.at_most_um <= 23.0


@pytest.mark.parametrize(
    "few",
    [
        [],
        reversals(25.0, [22.0, 22.0]),
        reversals(20.0, [22.0, 30.0]),
        [*reversals(20.0, [22.0] * 5), Reversal(22.0, 5.0, 2.0, ERROR_UM)],
        [Reversal(22.0, math.nan, 5.0, ERROR_UM)] * 5,
    ],
)
def test_too_little_says_so(few):
    update = update_backlash(few)
    assert update.verdict == "cannot tell"
    assert math.isnan(update.slack_um)
    assert update.reason


def test_readings_that_contradict_a_closed_reversal_cannot_tell():
    contradicting = [*reversals(30.0, [22.0] * 4), *reversals(10.0, [24.0] * 4)]
    assert update_backlash(contradicting).verdict == "cannot tell"
