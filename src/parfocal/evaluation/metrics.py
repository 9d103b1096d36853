"""Figures of a set of predictions: error, direction, and how well a stack's planes are put in order.

Positions, predictions and limits of one call share a unit, µm as a rule.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import spearmanr

Array = NDArray[np.float64]

RESAMPLES = 2000


@dataclass(frozen=True)
class Summary:
    """Error of a set of predictions; None where there is nothing to tell it from, or no scale to tell it in.

    Attributes:
        pairs: how many predictions.
        mean_abs_error_um: mean of |error|.
        sd_abs_error_um: standard deviation of |error|, the ± of the paper's Table 1.
        median_abs_error_um: median of |error|.
        within_half_dof: share of |error| of at most half the depth of field.
        wrong_direction: of the predictions whose truth is farther away than half the depth of field (one step where
            there is no scale), the share that has the other sign or none.
        ci95: bootstrap interval of the mean, clustered by stack; None for a single stack.
    """

    pairs: int
    mean_abs_error_um: float | None = None
    sd_abs_error_um: float | None = None
    median_abs_error_um: float | None = None
    within_half_dof: float | None = None
    wrong_direction: float | None = None
    ci95: tuple[float, float] | None = None

    def to_json(self) -> dict[str, object]:
        """Names and values, as `parfocal evaluate --json` prints them."""
        return asdict(self)


def summarise(
    predicted: Array, truth: Array, near: Array, half_dof: Array | None, stacks: NDArray[np.int64]
) -> Summary:
    """Figures of predictions from one stack or many.

    Args:
        predicted: (N,) predicted defocus.
        truth: (N,) true defocus.
        near: (N,) distance from focus within which a direction is not counted.
        half_dof: (N,) half the depth of field; None where there is no scale, and then there are no errors.
        stacks: (N,) which stack each prediction is from.
    """
    wrong = wrong_direction(predicted, truth, near)
    if half_dof is None or predicted.size == 0:
        return Summary(int(predicted.size), wrong_direction=wrong)
    error = np.abs(predicted - truth)
    return Summary(
        pairs=int(error.size),
        mean_abs_error_um=float(error.mean()),
        sd_abs_error_um=float(error.std()),
        median_abs_error_um=float(np.median(error)),
        within_half_dof=float(np.mean(error <= half_dof)),
        wrong_direction=wrong,
        ci95=clustered_interval(error, stacks),
    )


def wrong_direction(predicted: Array, truth: Array, near: Array | float) -> float | None:
    """Share of the predictions (N,) with |truth| > near that have not the truth's sign; None where there are none."""
    far = np.abs(truth) > near
    if not far.any():
        return None
    return float(np.mean(np.sign(predicted[far]) != np.sign(truth[far])))


def clustered_interval(
    values: Array, clusters: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """95 % bootstrap interval of the mean of `values` (N,), where whole clusters are drawn.

    Predictions from one stack share its label and its specimen: drawn one by one they would promise too much.

    Returns:
        The 2.5th and 97.5th percentile, or None with fewer than two clusters.
    """
    _, member = np.unique(clusters, return_inverse=True)
    sizes = np.bincount(member)
    if sizes.size < 2:
        return None
    totals = np.bincount(member, weights=values)
    drawn = np.random.default_rng(seed).integers(sizes.size, size=(resamples, sizes.size))
    low, high = np.percentile(totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def rank_correlation(z: Array, predicted: Array) -> float | None:
    """Spearman's rank correlation of positions and predictions, both (N,); None where one of them is constant."""
    if z.size < 2 or np.ptp(z) == 0 or np.ptp(predicted) == 0:
        return None
    return float(spearmanr(z, predicted).statistic)


def zero_crossing(z: Array, predicted: Array) -> float | None:
    """Where a monotone fit of the predictions (N,) crosses 0; None where it does not.

    The fit is the least-squares one that never falls with z; between two of its values it is a straight line.

    Args:
        z: (N,) positions, in any order.
        predicted: (N,) predicted defocus at each.
    """
    if z.size == 0:
        return None
    order = np.argsort(z, kind="stable")
    position, fit = z[order], isotonic_regression(predicted[order]).x
    below, above = np.flatnonzero(fit < 0), np.flatnonzero(fit > 0)
    zero = np.flatnonzero(fit == 0)
    if zero.size:
        return float((position[zero[0]] + position[zero[-1]]) / 2)
    if not (below.size and above.size):
        return None
    last, first = below[-1], above[0]
    return float(np.interp(0.0, [fit[last], fit[first]], [position[last], position[first]]))
