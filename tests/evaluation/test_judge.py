"""A predictor that reads the truth off the frames, with errors that are known."""

import json
import math

import numpy as np
import pytest
from numbered import AT_20X, DELTA_U, numbered, reader_of

from parfocal.evaluation.judge import judge, network_predictor, summarise, votes_cast
from parfocal.evaluation.votes import VOTES
from parfocal.focus.predictor import FocusPredictor
from parfocal.optics.objective import Objective
from parfocal.stacks.stack import StackOptics

Z_UM = np.arange(-5, 5.5, 0.5) + 0.15
UNKNOWN = StackOptics()


def judged(stack, error=lambda true_um: 0.0, **settings):
    make, asked_um = reader_of(stack, error)
    return judge(stack, make, DELTA_U, **settings), asked_um


def test_every_pair_of_the_stack_is_asked_at_its_own_delta():
    told, asked_um = judged(numbered(Z_UM))
    assert asked_um == pytest.approx([2.0] * 17)
    assert told.truth_um == pytest.approx(Z_UM[4:])
    assert told.predicted_um == pytest.approx(Z_UM[4:])
    assert [field.z for field in told.fields] == pytest.approx(Z_UM[4:])
    assert all(field.spread_um == 0.1 for field in told.fields)


def test_a_perfect_predictor_is_perfect():
    line = judged(numbered(Z_UM))[0].to_json()
    assert list(line) == [
        "name", "pairs", "rank_correlation", "sign_accuracy", "zero_crossing_steps", "mean_abs_error_um",
    ]  # fmt: skip
    assert line["rank_correlation"] == pytest.approx(1)
    assert line["sign_accuracy"] == 1
    assert line["zero_crossing_steps"] == pytest.approx(0, abs=1e-6)
    assert line["mean_abs_error_um"] == pytest.approx(0, abs=1e-9)
    assert json.loads(json.dumps(line)) == line


def test_an_offset_shows_as_error_and_as_steps_between_crossing_and_focus():
    line = judged(numbered(Z_UM), lambda true_um: 0.75)[0].to_json()
    assert line["mean_abs_error_um"] == pytest.approx(0.75)
    assert line["zero_crossing_steps"] == pytest.approx(-1.5)  # 0.5 µm a step
    assert line["rank_correlation"] == pytest.approx(1)


def test_a_method_can_be_judged_near_focus_only():
    near = judged(numbered(Z_UM), lambda true_um: true_um)[0].within(1.0)
    assert near.truth_um == pytest.approx([-0.85, -0.35, 0.15, 0.65])
    assert near.to_json()["mean_abs_error_um"] == pytest.approx(0.5)


def test_directions_count_beyond_one_step_and_beyond_half_the_depth_of_field():
    def upside_down_near_focus(true_um):
        return -2 * true_um if abs(true_um) < 1.0 else 0.0

    told = judged(numbered(Z_UM), upside_down_near_focus)[0].to_json()  # half the DOF is 0.605 µm
    truth = Z_UM[4:]
    counted = np.abs(truth) > 0.605
    wrong = counted & (np.abs(truth) < 1.0)
    assert told["sign_accuracy"] == pytest.approx(1 - wrong.sum() / counted.sum())
    coarse = numbered(np.arange(-6, 8, 2.0))  # a step is 2 µm: ±2 does not count
    assert judged(coarse, upside_down_near_focus)[0].near_um == 2.0


def test_a_stack_in_steps_is_judged_by_order_and_sign_alone():
    stack = numbered(range(11), best_z=6.0, z_unit="step", optics=UNKNOWN)
    told, asked_um = judged(stack)
    line = told.to_json()
    assert np.array(asked_um) == pytest.approx(np.full(9, 2.6 * 0.8123), rel=1e-3)
    assert line["rank_correlation"] == pytest.approx(1)
    assert line["sign_accuracy"] == 1
    assert line["zero_crossing_steps"] == pytest.approx(0, abs=1e-6)
    assert line["mean_abs_error_um"] is None
    assert summarise([told]).mean_abs_error_um is None
    assert summarise([told]).wrong_direction == 0
    scaled = judged(stack, um_per_step=1.0)[0]
    assert scaled.to_json()["mean_abs_error_um"] == pytest.approx(0, abs=1e-9)


def test_without_a_label_there_is_only_an_order():
    line = judged(numbered(Z_UM, best_z=None))[0].to_json()
    assert line["rank_correlation"] == pytest.approx(1)
    assert line["sign_accuracy"] is line["zero_crossing_steps"] is line["mean_abs_error_um"] is None
    assert summarise([judged(numbered(Z_UM, best_z=None))[0]]).pairs == 17


def test_stacks_are_summarised_together_and_each_vote_for_itself():
    exact = judged(numbered(Z_UM, name="exact"))[0]
    off = judged(numbered(Z_UM, name="off"), lambda true_um: 0.3)[0]
    assert summarise([exact, off]).mean_abs_error_um == pytest.approx(0.15)
    assert summarise([exact, off]).pairs == 34
    low, high = summarise([exact, off]).ci95
    assert (low, high) == pytest.approx((0.0, 0.3))
    assert votes_cast([exact, off]) == list(VOTES)
    # patches say −0.1 and +0.3 of the field, with standard deviations of 3 and 1
    assert summarise([exact], "mean").mean_abs_error_um == pytest.approx(0.1)
    assert summarise([exact], "sd-weighted").mean_abs_error_um == pytest.approx(0.0, abs=1e-9)
    assert summarise([exact], "sd2-weighted").mean_abs_error_um == pytest.approx((9 * 0.1 - 0.3) / 10)


def test_stacks_without_scale_do_not_dilute_the_errors_of_those_that_have_one():
    steps = judged(numbered(range(11), best_z=6.0, z_unit="step", optics=UNKNOWN), lambda true_um: 5.0)[0]
    scaled = judged(numbered(Z_UM), lambda true_um: 0.2)[0]
    assert summarise([steps, scaled]).mean_abs_error_um == pytest.approx(0.2)


def test_the_shipped_network_looks_at_whole_frames_and_is_opened_once_for_each_lens(network):
    make, contract, vote = network_predictor(network)
    first, again = (make(pairing) for pairing in [_pairing(AT_20X), _pairing(AT_20X)])
    assert first is again
    assert contract.patch_px == 224
    assert vote in VOTES
    frame = np.random.default_rng(0).integers(0, 255, (2 * 224 + 100, 3 * 224 + 10, 3), dtype=np.uint8)
    assert len(first.predict(frame, frame, 2.0).patch_sd) == 6


def _pairing(optics):
    from parfocal.evaluation.pairing import pair_up

    return pair_up(numbered(Z_UM, optics=optics), DELTA_U)


def test_the_overall_vote_is_the_one_that_the_predictor_gives(network):
    vote = network_predictor(network)[2]
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (448, 448, 3)).astype(np.uint8)
    noise[:224, :224] //= 6  # patches of different weight
    prediction = FocusPredictor(network, Objective(20, 0.75), 0.345, patch_grid=None).predict(
        noise, np.roll(noise, 1, axis=0), 2.0
    )
    arrays = (np.array(v) for v in (prediction.patch_defocus_um, prediction.patch_sd, prediction.patch_detail))
    assert VOTES[vote](*arrays) == pytest.approx(prediction.defocus_um)
    assert len(set(prediction.patch_detail)) == 4
    assert not math.isnan(prediction.spread_um)
