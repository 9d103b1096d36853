"""z backlash for free: what a scan's own reversals say about it. Pure; no exposure is made for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

_SIGMAS = 3.0
_FEWEST = 3


@dataclass(frozen=True)
class Reversal:
    """One field's focus, read before the stage went down and again after it came up.

    A retreat makes one: the pair before it says where the focus is, and so does the pair after it, or the sharpness of
    the kept frame. Where the slack was not closed the slide stands too high by what was missing, and the focus seems
    lower by as much.

    Attributes:
        risen_um: commanded upward travel since the stage last went down, at the second reading, in µm.
        focus_before_um: commanded z of the focus by the first reading, the slack closed, in µm.
        focus_after_um: by the second, in µm.
        error_um: standard deviation of the difference of the two, in µm, above 0.
    """

    risen_um: float
    focus_before_um: float
    focus_after_um: float
    error_um: float

    @property
    def excess_um(self) -> float:
        """How much too high the slide stood at the second reading, in µm."""
        return self.focus_before_um - self.focus_after_um


@dataclass(frozen=True)
class BacklashUpdate:
    """What the reversals say.

    Attributes:
        verdict: "measured": some did not close the slack, which tells it; "bounded": all of them closed it, so it is at
            most what they rose; "cannot tell": too few, or they contradict each other.
        slack_um: measured slack in µm, nan unless measured.
        error_um: its standard deviation in µm, nan unless measured.
        at_most_um: bound in µm; infinite where there is none.
        reason: in words.
    """

    verdict: Literal["measured", "bounded", "cannot tell"]
    slack_um: float
    error_um: float
    at_most_um: float
    reason: str


def update_backlash(
    reversals: Sequence[Reversal], known_um: float = math.nan, known_error_um: float = math.inf
) -> BacklashUpdate:
    """Slack from the reversals of a scan, joined with what was known before.

    A play operator leaves the slide max(0, B − risen) too high. A reversal that shows such an excess tells
    B = risen + excess; one that shows none, B ≤ risen.

    Args:
        reversals: of one scan, or of some.
        known_um: slack by an earlier calibration in µm; nan where there is none.
        known_error_um: its standard deviation in µm.
    """
    usable = [r for r in reversals if math.isfinite(r.excess_um) and 0 < r.error_um < math.inf]
    if len(usable) < _FEWEST:
        return BacklashUpdate("cannot tell", math.nan, math.nan, math.inf, f"{len(usable)} reversals are too few")
    open_ones = [r for r in usable if r.excess_um > _SIGMAS * r.error_um]
    closed = [r for r in usable if abs(r.excess_um) <= _SIGMAS * r.error_um]
    at_most_um = min((r.risen_um + _SIGMAS * r.error_um for r in closed), default=math.inf)
    if len(open_ones) < _FEWEST:
        if len(closed) < _FEWEST or open_ones:
            reason = f"{len(open_ones)} of {len(usable)} reversals did not close the slack: too few to measure it"
            return BacklashUpdate("cannot tell", math.nan, math.nan, math.inf, reason)
        return BacklashUpdate(
            "bounded", math.nan, math.nan, at_most_um, f"all {len(closed)} reversals closed the slack"
        )
    slack_um, error_um = _joined(open_ones, known_um, known_error_um)
    if slack_um - _SIGMAS * error_um > at_most_um:
        reason = f"a slack of {slack_um:.1f} µm, and a reversal that closed it within {at_most_um:.1f} µm"
        return BacklashUpdate("cannot tell", math.nan, math.nan, math.inf, reason)
    reason = f"{len(open_ones)} of {len(usable)} reversals did not close the slack"
    return BacklashUpdate("measured", slack_um, error_um, at_most_um, reason)


def _joined(reversals: Sequence[Reversal], known_um: float, known_error_um: float) -> tuple[float, float]:
    """Weighted mean in µm of what each reversal and the calibration say, and its standard deviation."""
    says = [(r.risen_um + r.excess_um, r.error_um) for r in reversals]
    if math.isfinite(known_um) and 0 < known_error_um < math.inf:
        says.append((known_um, known_error_um))
    values, errors = np.array(says).T
    weights = errors**-2
    return float(np.sum(weights * values) / np.sum(weights)), float(np.sum(weights) ** -0.5)
