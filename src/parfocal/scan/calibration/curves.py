"""Focus curves, and how far one lies beside another. Arrays in, numbers out; nothing moves here.

A stage that comes from above stands its slack higher than its commands say, so the focus curve of a downward sweep is
that of an upward one, moved down by the slack. Comparing whole curves uses every plane, not only those at the peak
(the idea of Boddeke 1997).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar

from parfocal.errors import InstrumentError, SettingsError

PlateauVerdict = Literal["play", "hysteresis", "cannot tell"]

_GRID = 65
_FEWEST_PLANES = 5
_LEAST_SLACK_UM = 2.0
_WORST_MATCH = 0.25  # of the variance: half of the standard deviation
_CLEARLY = 2.0  # times the other model's squared error


@dataclass(frozen=True)
class FocusCurve:
    """Sharpness over commanded z, in the order of rising z whatever way the stage went.

    Attributes:
        z_um: commanded positions in µm, strictly rising.
        log_merit: natural logarithm of the figure of merit at each.

    Raises:
        SettingsError: if it has fewer than five planes, or z does not rise.
    """

    z_um: tuple[float, ...]
    log_merit: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.z_um) < _FEWEST_PLANES or len(self.z_um) != len(self.log_merit):
            raise SettingsError(f"a focus curve of {len(self.z_um)} planes has fewer than {_FEWEST_PLANES}")
        if np.any(np.diff(self.z_um) <= 0):
            raise SettingsError("the positions of a focus curve do not rise")

    @property
    def rise(self) -> float:
        """ln of the best figure of merit over the worst."""
        return max(self.log_merit) - min(self.log_merit)

    def within(self, lowest_um: float, highest_um: float) -> FocusCurve:
        """Its planes from `lowest_um` to `highest_um`."""
        kept = [(z, s) for z, s in zip(self.z_um, self.log_merit, strict=True) if lowest_um <= z <= highest_um]
        return FocusCurve(tuple(z for z, _ in kept), tuple(s for _, s in kept))


def curve_shift(up: FocusCurve, down: FocusCurve, reach_um: tuple[float, float], least_overlap: float = 0.6) -> float:
    """How far the downward curve lies below the upward one: the slack in µm.

    The mean squared difference of the two is least there. Their splines are compared on the stretch that both cover
    after the shift; a difference of their means does not count, so a lamp that grew brighter changes nothing.

    Args:
        up: curve of an upward sweep with the slack closed.
        down: curve of a downward sweep, the slack closed downwards.
        reach_um: (least, largest) shift that is tried, in µm.
        least_overlap: part of the shorter curve that must be covered by both.

    Raises:
        InstrumentError: if no shift within reach leaves enough overlap, the best one lies at the end of the reach, or
            the curves differ there by half as much as the upward one varies.
    """
    splines = CubicSpline(up.z_um, up.log_merit), CubicSpline(down.z_um, down.log_merit)
    shorter_um = min(up.z_um[-1] - up.z_um[0], down.z_um[-1] - down.z_um[0])

    def misfit(shift_um: float) -> float:
        lowest_um = max(up.z_um[0], down.z_um[0] + shift_um)
        highest_um = min(up.z_um[-1], down.z_um[-1] + shift_um)
        if highest_um - lowest_um < least_overlap * shorter_um:
            return math.inf
        z_um = np.linspace(lowest_um, highest_um, _GRID)
        return float(np.var(splines[0](z_um) - splines[1](z_um - shift_um)))

    step_um = float(np.diff(up.z_um).min()) / 4
    tried_um = np.arange(reach_um[0], reach_um[1] + step_um / 2, step_um)
    misfits = np.array([misfit(float(shift_um)) for shift_um in tried_um])
    best = int(np.argmin(misfits))
    if not 0 < best < len(tried_um) - 1 or misfits[best] > _WORST_MATCH * np.var(up.log_merit):
        raise InstrumentError(
            f"the upward and the downward focus curve do not match within {reach_um[0]:g} … {reach_um[1]:g} µm of shift"
        )
    bounds = (float(tried_um[best - 1]), float(tried_um[best + 1]))
    return float(minimize_scalar(misfit, bounds=bounds, method="bounded", options={"xatol": 1e-3}).x)


@dataclass(frozen=True)
class Slack:
    """Slack of repeated pairs of sweeps.

    Attributes:
        shifts_um: of each pair, in µm.
    """

    shifts_um: tuple[float, ...]

    @property
    def mean_um(self) -> float:
        """Mean in µm."""
        return float(np.mean(self.shifts_um))

    @property
    def sd_um(self) -> float:
        """Standard deviation of one pair in µm; 0 of a single one."""
        return float(np.std(self.shifts_um, ddof=1)) if len(self.shifts_um) > 1 else 0.0

    @property
    def max_um(self) -> float:
        """Largest in µm."""
        return max(self.shifts_um)


@dataclass(frozen=True)
class Plateau:
    """What the picture does after a reversal.

    Attributes:
        travel_um: commanded travel since the reversal.
        moved_um: how far the picture says that the slide moved.
        verdict: "play": nothing moves until the slack is taken up, then all of it; "hysteresis": it gives way from the
            beginning.
    """

    travel_um: tuple[float, ...]
    moved_um: tuple[float, ...]
    verdict: PlateauVerdict


def judge_plateau(travel_um: Sequence[float], moved_um: Sequence[float], slack_um: float) -> Plateau:
    """Play or elastic hysteresis: which of the two explains the motion after a reversal.

    Play moves max(0, t − B) for a travel t and a slack B. Hysteresis of the same slack moves t − B(1 − exp(−t/B)): it
    gives way at once, and ends up as far behind.

    Args:
        travel_um: commanded travels since the reversal.
        moved_um: measured motion at each.
        slack_um: B. Below 2 µm the two cannot be told apart.
    """
    travel, moved = np.asarray(travel_um, np.float64), np.asarray(moved_um, np.float64)
    verdict: PlateauVerdict = "cannot tell"
    if slack_um >= _LEAST_SLACK_UM and travel.size:
        play = np.maximum(0.0, travel - slack_um)
        elastic = travel - slack_um * (1 - np.exp(-travel / slack_um))
        errors = float(np.sum((moved - play) ** 2)), float(np.sum((moved - elastic) ** 2))
        if _CLEARLY * errors[0] < errors[1]:
            verdict = "play"
        elif _CLEARLY * errors[1] < errors[0]:
            verdict = "hysteresis"
    return Plateau(tuple(map(float, travel)), tuple(map(float, moved)), verdict)


def place_on_flank(log_merit: float, z_um: NDArray[np.float64], flank: NDArray[np.float64]) -> float:
    """Where on a rising flank a sharpness belongs, in µm; beyond its ends, the end.

    Args:
        log_merit: ln of the figure of merit.
        z_um: (N,) positions in µm, rising.
        flank: (N,) ln of the merit there, rising.
    """
    return float(np.interp(log_merit, flank, z_um))
