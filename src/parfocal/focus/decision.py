"""What to do after a pair of images: a pure function from a reading to a move.

The order, which the paper leaves open: empty → budget → uncertain → accept; a target below the second image is a
retreat, so that the next pair and the kept frame are again reached from below (paper, sections 4.3.2 and 4.3.3). A
focus that lies between the two images may be kept without that next pair, which is a setting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from parfocal.devices.approach import ApproachSettings
from parfocal.errors import SettingsError

FLOOR_FACTOR = 1.15
"""By how much `difference_floor` lies above a difference that was measured of two frames at one z."""

_LEAST_MOVED_SHARE = 0.08  # of image_sd: the smallest difference that a move of Δ made on simulated specimens
_CLEARLY = 1.2


@dataclass(frozen=True, kw_only=True)
class FocusSettings:
    """When a prediction counts. Distances in µm suit 20X/0.75 and 40X/0.65.

    Attributes:
        max_pairs: pairs that a field may take.
        max_spread_um: standard deviation of the patch predictions above which they are uncertain.
        max_defocus_um: |defocus| above which a prediction is uncertain.
        keep_within_um: a frame this close to its own target is kept as it is, without another exposure.
        return_within_um: how far below the second image a certain focus may lie for the stage to go back to it and keep
            that frame. 0 is the paper's: another pair first. Δ trusts a pair that has the focus between its images,
            which is where a pair tells most (docs/decisions/0007).
        peak_tolerance_um: how far a kept frame may lie from the sharpest plane, by three images around it, before it is
            taken again there. 0 is the paper's: kept frames are not checked.
        clearance_um: how far below its target a pair after a retreat ends, so that it does not straddle the focus.
        empty_sd: standard deviation of I1 in grey levels below which the field is empty.
        difference_floor: standard deviation of the filtered difference in grey levels that noise alone makes.
        vibration_share: part of I1's own standard deviation that vibration between two frames makes of a difference:
            0.03 was seen for 0.1 px, while a move of 2 µm at 20X/0.75 makes 0.1 or more, however far from focus.

    Raises:
        SettingsError: if a value is out of range.
    """

    max_pairs: int = 4
    max_spread_um: float = 1.0
    max_defocus_um: float = 12.0
    keep_within_um: float = 0.3
    return_within_um: float = 0.0
    peak_tolerance_um: float = 0.0
    clearance_um: float = 1.0
    empty_sd: float = 2.0
    difference_floor: float = 0.7
    vibration_share: float = 0.05

    def __post_init__(self) -> None:
        if self.max_pairs < 1:
            raise SettingsError(f"max_pairs {self.max_pairs} is not 1 or more")
        for name, unit in (("max_spread_um", "µm"), ("max_defocus_um", "µm")):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(f"{name} {getattr(self, name):g} {unit} is not above 0 {unit}")
        grey = "grey levels"
        floors = {"empty_sd": grey, "difference_floor": grey}
        floors |= dict.fromkeys(("keep_within_um", "return_within_um", "peak_tolerance_um", "clearance_um"), "µm")
        for name, unit in floors.items():
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"{name} {getattr(self, name):g} {unit} is not 0 {unit} or more")
        if not 0 <= self.vibration_share < 1:
            raise SettingsError(f"vibration_share {self.vibration_share:g} is not from 0 to below 1")

    def would_show(self, image_sd: float) -> bool:
        """Whether a move of Δ makes a difference that stands out from noise and vibration, for I1's `image_sd`."""
        return _LEAST_MOVED_SHARE * image_sd > _CLEARLY * self.unmoved_sd(image_sd)

    def unmoved_sd(self, image_sd: float) -> float:
        """Difference in grey levels that noise and vibration make of two frames at one z, for I1's `image_sd`."""
        return math.hypot(self.difference_floor, self.vibration_share * image_sd)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All that is known when a pair has been taken.

    Attributes:
        first_z_um: z1, where the stage says the first image was taken, in µm.
        second_z_um: z2, in µm.
        image_sd: largest standard deviation of a patch of I1, in grey levels.
        pairs_taken: pairs of this field so far, this one included.
        defocus_um: predicted defocus of the second image in µm; nan where the network was not asked.
        spread_um: standard deviation of the patch predictions in µm; nan with one patch only.
        previous_target_um: focus as the pair before saw it, in µm; None for the first pair.
        is_faint: whether I1 shows too little for a move of Δ to be seen at all.
        budget_spent: why travel or time of the field is used up; None while it is not.
    """

    first_z_um: float
    second_z_um: float
    image_sd: float
    pairs_taken: int
    defocus_um: float = math.nan
    spread_um: float = math.nan
    previous_target_um: float | None = None
    is_faint: bool = False
    budget_spent: str | None = None

    @property
    def focus_um(self) -> float:
        """Where the focus is predicted, z2 − defocus, in µm."""
        return self.second_z_um - self.defocus_um


@dataclass(frozen=True)
class Accept:
    """The focus is at `target_um`: reach it from below and keep that frame.

    It lies above z2, or below it by no more than `return_within_um`.
    """

    target_um: float
    reason: str


@dataclass(frozen=True)
class HalfStep:
    """Uncertain, and the focus seems above: go half way to it, `target_um`, and take a new pair from `first_um` on."""

    target_um: float
    first_um: float
    reason: str


@dataclass(frozen=True)
class Retreat:
    """The target lies below z2: go down to `bottom_um`, come up and take a new pair from `first_um` on, below it.

    `certain` says whether the target is the focus itself, and not half the way to an uncertain one.
    """

    target_um: float
    first_um: float
    bottom_um: float
    certain: bool
    reason: str


@dataclass(frozen=True)
class Empty:
    """Nothing to focus on: the field takes the pivot's z."""

    reason: str


@dataclass(frozen=True)
class GiveUp:
    """No further pair is allowed: the best-scored frame is kept, and the field is in doubt."""

    reason: str


Move = Accept | HalfStep | Retreat | Empty | GiveUp


def next_move(reading: Reading, settings: FocusSettings, approach: ApproachSettings) -> Move:
    """What to do after a pair. Touches no device.

    The order is: empty; travel or time used up; uncertain, that is a spread above the limit, a defocus beyond the
    network's range, or one patch only and no earlier pair that agrees: half the way; accept. A target below z2, half or
    full, is a retreat, unless it is certain and within `return_within_um`. Where the pairs are used up, a move that
    needs another one gives up instead.

    Args:
        reading: the pair.
        settings: limits of what counts as certain.
        approach: backlash, margin, take-up and Δ of the stage.

    Returns:
        The move; targets are stage positions in µm.
    """
    if reading.image_sd < settings.empty_sd:
        return Empty(f"sd of {reading.image_sd:.2f} grey levels is below the empty level of {settings.empty_sd:g}")
    if reading.is_faint:
        return Empty(f"sd of {reading.image_sd:.2f} grey levels is too little to tell one z from another")
    if reading.budget_spent is not None:
        return GiveUp(reading.budget_spent)
    if not math.isfinite(reading.defocus_um):
        return GiveUp("there is no prediction")
    doubt = _doubt(reading, settings)
    travel_um = -reading.defocus_um if doubt is None else -reading.defocus_um / 2
    if doubt is None and travel_um >= -max(settings.keep_within_um, settings.return_within_um):
        return Accept(reading.second_z_um + travel_um, f"defocus {reading.defocus_um:+.2f} µm")
    if reading.pairs_taken >= settings.max_pairs:
        return GiveUp(f"not settled after {reading.pairs_taken} pairs: {doubt or 'focus lies below'}")
    if travel_um < 0:
        return _retreat(reading.second_z_um, travel_um, settings, approach, doubt)
    return _half_step(reading.second_z_um, travel_um, approach, doubt or "")


def _doubt(reading: Reading, settings: FocusSettings) -> str | None:
    """Why the prediction is uncertain; None if it is not (paper, section 4.3.3)."""
    if abs(reading.defocus_um) > settings.max_defocus_um:
        return f"defocus {reading.defocus_um:+.1f} µm is beyond ±{settings.max_defocus_um:g} µm"
    if reading.spread_um > settings.max_spread_um:
        return f"spread {reading.spread_um:.2f} µm is above {settings.max_spread_um:g} µm"
    if math.isnan(reading.spread_um):
        previous_um = reading.previous_target_um
        if previous_um is None:
            return "one patch only, spread unknown: a second pair confirms"
        apart_um = abs(reading.focus_um - previous_um)
        if apart_um > settings.max_spread_um:
            return f"one patch only, and two pairs {apart_um:.2f} µm apart, above {settings.max_spread_um:g} µm"
    return None


def _half_step(second_z_um: float, travel_um: float, approach: ApproachSettings, reason: str) -> HalfStep:
    """The new pair ends half way; where that would begin it below z2, it begins at z2 with the frame that is there."""
    target_um = second_z_um + travel_um
    return HalfStep(target_um, max(second_z_um, target_um - approach.delta_um), reason)


def _retreat(
    second_z_um: float, travel_um: float, settings: FocusSettings, approach: ApproachSettings, doubt: str | None
) -> Retreat:
    """Down by B + margin + 2·|travel| or more, and so low that the new z2 stays below the target."""
    target_um = second_z_um + travel_um
    first_um = min(second_z_um + 2 * travel_um, target_um - approach.delta_um - settings.clearance_um)
    closing_um = max(approach.take_up_um, approach.closing_um)
    reason = doubt or f"focus lies {-travel_um:.2f} µm below"
    return Retreat(target_um, first_um, first_um - closing_um, doubt is None, reason)
