"""How far below the pivot a pair begins: where the network errs least (paper, section 4.3.2)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parfocal.devices.approach import GuardedZ
from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.errors import InstrumentError
from parfocal.focus.predictor import Predictor
from parfocal.merit import best_focus, tenengrad
from parfocal.scan.calibration.progress import OnStep, silent

PIVOT_SD_UM = 0.5
"""How far the focus is from where the focal surface expects it: a standard deviation in µm."""

_FARTHEST_UM = 12.0
_STEP_UM = 0.25
_STEPS_PER_DELTA = 2
_AS_GOOD = 1.1
_SIGMAS = np.linspace(-2.5, 2.5, 21)


@dataclass(frozen=True)
class Card:
    """What a network is off by, over the defocus of a pair's second image: its card.

    Attributes:
        defocus_um: rising, in µm.
        error_um: mean |error| there in µm.
    """

    defocus_um: tuple[float, ...]
    error_um: tuple[float, ...]

    def expected_um(self, defocus_um: float, sd_um: float) -> float:
        """Mean |error| in µm over a normal spread of the defocus."""
        weights = np.exp(-(_SIGMAS**2) / 2)
        errors_um = np.interp(defocus_um + _SIGMAS * sd_um, self.defocus_um, self.error_um)
        return float(np.sum(weights * errors_um) / np.sum(weights))


@dataclass(frozen=True)
class Start:
    """Where a pair begins.

    Attributes:
        start_below_um: pivot − z1 in µm.
        error_um: mean |error| in µm to expect there.
    """

    start_below_um: float
    error_um: float


def choose_start(card: Card, delta_um: float, return_within_um: float, pivot_sd_um: float = PIVOT_SD_UM) -> Start:
    """Choose pivot − z1 (paper, section 4.3.2: the range for which the predictions are most accurate).

    The second image must not lie farther above the focus than the controller goes back for without another pair, the
    pivot's error included; of the starts that keep to this and are within a tenth of the least error, the nearest one.

    Args:
        card: the network's error over defocus.
        delta_um: Δ in µm.
        return_within_um: how far above a certain focus the second image may lie, in µm.
        pivot_sd_um: standard deviation of the pivot in µm.
    """
    nearest_um = max(0.0, delta_um - return_within_um + 2 * pivot_sd_um)
    starts_um = np.arange(math.ceil(nearest_um / _STEP_UM) * _STEP_UM, nearest_um + _FARTHEST_UM, _STEP_UM)
    errors_um = [card.expected_um(delta_um - float(start_um), pivot_sd_um) for start_um in starts_um]
    chosen = next(index for index, error_um in enumerate(errors_um) if error_um <= _AS_GOOD * min(errors_um))
    return Start(float(starts_um[chosen]), errors_um[chosen])


def make_card(judged_um: Sequence[tuple[float, float]], bin_um: float) -> Card:
    """A card from (true, predicted) defocus in µm: the mean |error| of each bin that holds any.

    Raises:
        InstrumentError: if there is nothing to judge by.
    """
    if not judged_um:
        raise InstrumentError("no pair was judged: is there specimen?")
    true_um, predicted_um = np.array(judged_um).T
    bins = np.round(true_um / bin_um).astype(int)
    kept = np.unique(bins)
    errors_um = [float(np.mean(np.abs(predicted_um - true_um)[bins == index])) for index in kept]
    return Card(tuple(float(index * bin_um) for index in kept), tuple(errors_um))


def judge_pairs(
    microscope: Microscope,
    z: GuardedZ,
    predictor: Predictor,
    focus_um: float,
    on_step: OnStep = silent,
) -> list[tuple[float, float]]:
    """Pairs Δ apart on one upward sweep over the focus, and what the network says of each. The caller lights the lamp.

    The focus is the peak of the sweep's own Tenengrad curve, so the stage's error on arrival is in what is found.

    Args:
        microscope: its camera is used, its clock is charged the predictions.
        z: the guard over its z stage; not held to the budgets of a field.
        predictor: defocus from pairs.
        focus_um: about where the focus is, in µm.
        on_step: called after each plane with how many are done, of how many.

    Returns:
        (true, predicted) defocus of each pair's second image in µm; none where the curve peaks at an end.

    Raises:
        LimitError: if the sweep would leave the limits.
    """
    z.start_field(travel_budget_um=math.inf, time_budget_s=math.inf)
    delta_um = z.approach.delta_um
    step_um = delta_um / _STEPS_PER_DELTA
    planes = math.ceil(_FARTHEST_UM / step_um)
    targets_um = [focus_um + index * step_um for index in range(-planes, planes // 2 + 1)]
    frames: deque[Frame] = deque(maxlen=_STEPS_PER_DELTA + 1)
    merits: list[float] = []
    said_um: list[tuple[float, float]] = []
    for index, target_um in enumerate(targets_um):
        z.approach_from_below(target_um)
        frames.append(microscope.camera.snap())
        merits.append(tenengrad(frames[-1]))
        if len(frames) > _STEPS_PER_DELTA:
            microscope.clock.spend(microscope.decision_time_s)
            said_um.append((target_um, predictor.predict(frames[0], frames[-1], delta_um).defocus_um))
        on_step(index + 1, len(targets_um))
    if int(np.argmax(merits)) in (0, len(merits) - 1):
        return []
    best_um = best_focus(np.array(targets_um), np.array(merits))
    return [(target_um - best_um, defocus_um) for target_um, defocus_um in said_um]
