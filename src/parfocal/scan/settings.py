"""How an instrument scans: every setting that the control code needs, as one value."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, get_args

from parfocal.devices.approach import ApproachSettings, GuardLimits
from parfocal.errors import SettingsError
from parfocal.focus.decision import FocusSettings
from parfocal.focus.policies import PolicyName
from parfocal.focus.search import SweepSettings


@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """How an instrument scans.

    Attributes:
        approach: backlash, take-up, Δ.
        limits: soft limits of z and the budgets of a field.
        focus: when a prediction counts.
        sweep: the search for the initial focal plane.
        patch_grid: patches along each side of the central square that the network looks at.
        xy_backlash_um: measured slack of the x-y stage, in µm.
        neighbour_error_um: standard deviation of the distance of two neighbouring fields along an axis, in µm.
        arrival_error_um: standard deviation of where the z stage arrives, in µm.
        sure_of_dof: standard deviation of an expected focus up to which one image is enough, as a share of the depth of
            field.
        policy: how a field is brought into focus, a name in `focus.policies.PolicyName`.
        everywhere: visit every field, not only those with tissue and their border.

    Raises:
        SettingsError: if the sweep or the approach to it would leave the z limits, or a value is negative.
    """

    approach: ApproachSettings
    limits: GuardLimits
    focus: FocusSettings
    sweep: SweepSettings
    patch_grid: int = 2
    xy_backlash_um: tuple[float, float] = (0.0, 0.0)
    neighbour_error_um: float = 0.0
    arrival_error_um: float = 0.17
    sure_of_dof: float = 0.10
    policy: PolicyName = "surface"
    everywhere: bool = False

    def __post_init__(self) -> None:
        if min(*self.xy_backlash_um, self.neighbour_error_um) < 0:
            raise SettingsError(
                f"x-y backlash {self.xy_backlash_um} µm or neighbour error {self.neighbour_error_um:g} µm is below 0 µm"
            )
        if not 0 < self.arrival_error_um < math.inf:
            raise SettingsError(f"arrival error {self.arrival_error_um:g} µm is not above 0 µm")
        if not 0 < self.sure_of_dof < 0.5:
            raise SettingsError(f"sure_of_dof {self.sure_of_dof:g} is not a share above 0 and below 0.5")
        if self.policy not in get_args(PolicyName):
            raise SettingsError(f"unknown policy {self.policy!r}: choose one of {', '.join(get_args(PolicyName))}")
        bottom_um = self.sweep.lowest_um - self.approach.take_up_um
        if bottom_um < self.limits.lowest_um or self.sweep.highest_um > self.limits.highest_um:
            raise SettingsError(
                f"the sweep moves z from {bottom_um:g} µm (take-up included) to {self.sweep.highest_um:g} µm, "
                f"outside the limits {self.limits.lowest_um:g} … {self.limits.highest_um:g} µm"
            )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)
