"""How the predictions of a field's patches become one: the paper's vote (section 4.3.3) and those it is compared with.

Each vote takes the predictions (N,), the standard deviations of the patches of I1 in grey levels (N,) and their detail
(N,), as `FocusPrediction` carries them, and returns one number in the unit of the predictions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from parfocal.focus.predictor import FocusPrediction

Array = NDArray[np.float64]
Vote = Callable[[Array, Array, Array], float]

_LEAST_WEIGHT = 1e-6


def sd_weighted(predictions: Array, deviations: Array, _details: Array) -> float:
    """Mean weighted by standard deviation: the paper's vote (section 4.3.3)."""
    return _weighted(predictions, deviations)


def sd2_weighted(predictions: Array, deviations: Array, _details: Array) -> float:
    """Mean weighted by variance: what photon noise asks for where patches are nearly empty."""
    return _weighted(predictions, deviations**2)


def detail_weighted(predictions: Array, _deviations: Array, details: Array) -> float:
    """Mean weighted by what a patch can know: the vote of networks that see the mean of the pair or say their doubt."""
    return _weighted(predictions, details)


def mean(predictions: Array, _deviations: Array, _details: Array) -> float:
    """Plain mean."""
    return float(np.mean(predictions))


def median(predictions: Array, _deviations: Array, _details: Array) -> float:
    """Plain median."""
    return float(np.median(predictions))


def jiang(predictions: Array, _deviations: Array, _details: Array) -> float:
    """Mean of the half that is nearest to the median (Jiang 2018: of 20 tiles the 10 farthest are dropped)."""
    distance = np.abs(predictions - np.median(predictions))
    kept = np.argsort(distance, kind="stable")[: predictions.size - predictions.size // 2]
    return float(np.mean(predictions[kept]))


VOTES: dict[str, Vote] = {
    "sd-weighted": sd_weighted,
    "jiang": jiang,
    "mean": mean,
    "median": median,
    "sd2-weighted": sd2_weighted,
    "detail-weighted": detail_weighted,
}


def cast_votes(prediction: FocusPrediction) -> dict[str, float]:
    """Every vote over the patches of one field, in µm; those whose weights a predictor does not give are left out."""
    predictions, deviations, details = (
        np.asarray(values, dtype=np.float64)
        for values in (prediction.patch_defocus_um, prediction.patch_sd, prediction.patch_detail)
    )
    missing = set()
    if deviations.size != predictions.size:
        missing |= {"sd-weighted", "sd2-weighted"}
    if details.size != predictions.size:
        missing |= {"detail-weighted"}
    return {name: vote(predictions, deviations, details) for name, vote in VOTES.items() if name not in missing}


def _weighted(predictions: Array, weights: Array) -> float:
    return float(np.average(predictions, weights=np.maximum(weights, _LEAST_WEIGHT)))
