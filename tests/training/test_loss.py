"""The paper's loss: equations 1 to 3 of section 2.4."""

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs torch (the train extra)")
pytestmark = pytest.mark.train

from parfocal.training.loss import distance_weight, smooth_l1, weighted_loss  # noqa: E402


def test_equation_1_is_hubers_function_with_delta_one_half():
    error = torch.linspace(-4, 4, 81)
    expected = torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=0.5)
    torch.testing.assert_close(smooth_l1(error), expected)


def test_equation_1_by_hand():
    assert smooth_l1(torch.tensor([0.0, 0.4, 0.5, -2.0])).tolist() == pytest.approx([0, 0.08, 0.125, 0.875])


def test_equation_2_by_hand():
    defocus = torch.tensor([0.0, math.e - 1, -(math.e - 1), 10.0])
    assert distance_weight(defocus).tolist() == pytest.approx([1, 0.5, 0.5, 1 / (math.log(11) + 1)])


PREDICTED = torch.tensor([1.2, -3.0, 10.0])
DEFOCUS = torch.tensor([1.0, -1.0, 12.0])
SD = torch.tensor([10.0, 30.0, 5.0])
LOSSES = (0.5 * 0.2**2, 0.5 * (2 - 0.25), 0.5 * (2 - 0.25))


def test_equation_3_without_the_distance_weight_is_the_sd_weighted_mean():
    expected = (10 * LOSSES[0] + 30 * LOSSES[1] + 5 * LOSSES[2]) / 45
    assert weighted_loss(PREDICTED, DEFOCUS, SD, by_distance=False).item() == pytest.approx(expected, rel=1e-5)


def test_equation_3_with_the_distance_weight_is_divided_by_w_dot_s():
    weights = [s / (math.log(abs(d) + 1) + 1) for s, d in ((10, 1.0), (30, -1.0), (5, 12.0))]
    expected = sum(w * loss for w, loss in zip(weights, LOSSES, strict=True)) / sum(weights)
    assert weighted_loss(PREDICTED, DEFOCUS, SD, by_distance=True).item() == pytest.approx(expected, rel=1e-5)


def test_the_loss_does_not_depend_on_the_scale_of_the_weights():
    loss = weighted_loss(PREDICTED, DEFOCUS, SD, by_distance=True)
    torch.testing.assert_close(weighted_loss(PREDICTED, DEFOCUS, 7 * SD, by_distance=True), loss)


def test_the_loss_before_the_paper_is_the_mean_of_squares():
    ones = torch.ones_like(SD)
    loss = weighted_loss(PREDICTED, DEFOCUS, ones, by_distance=False, per_sample="l2")
    torch.testing.assert_close(loss, torch.nn.functional.mse_loss(PREDICTED, DEFOCUS))
