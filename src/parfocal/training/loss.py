"""The paper's loss (section 2.4): smooth L1 per sample, weighted by content and by nearness to the focus."""

from __future__ import annotations

import torch
from torch import Tensor


def smooth_l1(error: Tensor) -> Tensor:
    """Equation 1: ½(|x| − 0.25) beyond 0.5, ½x² within; Huber's function with δ = 0.5. Any shape."""
    magnitude = error.abs()
    return torch.where(magnitude > 0.5, 0.5 * (magnitude - 0.25), 0.5 * error * error)


def distance_weight(defocus: Tensor) -> Tensor:
    """Equation 2: w = 1 / (ln(|d| + 1) + 1) for the true defocus d, any shape."""
    return 1 / (torch.log(defocus.abs() + 1) + 1)


def squared(error: Tensor) -> Tensor:
    """The loss of the work before the paper. Any shape."""
    return error * error


PER_SAMPLE = {"huber": smooth_l1, "l2": squared}
"""What a sample loses by its error, by name."""


def sample_weight(defocus: Tensor, sd: Tensor, *, by_distance: bool) -> Tensor:
    """wᵢsᵢ of equation 3, (N,); w = 1 unless `by_distance`."""
    return sd * distance_weight(defocus) if by_distance else sd


_ROUND_U = 0.1
"""Errors below this hardly count as larger than zero: labels are not better."""


def doubting_loss(predicted: Tensor, doubt: Tensor, defocus: Tensor) -> Tensor:
    """Mean over a minibatch of −log of a Laplace density of width `doubt`, weighted by equation 2.

    All (N,), in units of u. Where the network doubts, its error counts less and the doubt itself costs; least where
    the doubt is the mean |error| that is to be expected.
    """
    error = torch.sqrt((predicted - defocus) ** 2 + _ROUND_U**2)
    weight = distance_weight(defocus)
    return (weight * (error / doubt + torch.log(doubt))).sum() / weight.sum()


def weighted_loss(
    predicted: Tensor, defocus: Tensor, sd: Tensor, *, by_distance: bool, per_sample: str = "huber"
) -> Tensor:
    """Equation 3: mean of equation 1 over a minibatch, weighted by wᵢsᵢ and divided by wᵀs.

    Args:
        predicted: (N,) predicted defocus.
        defocus: (N,) true defocus, same unit.
        sd: (N,) standard deviation of the first image's pixels.
        by_distance: phase 2 of section 2.4.3; without it, w = 1.
        per_sample: a name in `PER_SAMPLE`; the paper's is equation 1.
    """
    weight = sample_weight(defocus, sd, by_distance=by_distance)
    return (weight * PER_SAMPLE[per_sample](predicted - defocus)).sum() / weight.sum()
