"""How a field is brought into focus: the ways to do it, behind one interface.

paper             a pair below the focus of the field before, a move, a third image (4.3), slack closed
paper-as-printed  the same with the paper's constants, whose take-up is shorter than the backlash
pair-then-keep    the second image of the pair is where the focus is expected, and is kept if it is there
surface           one image where the surface is sure, or where neighbours say that it is sharp; else a checked pair
stack             a full stack of Tenengrad around the expected focus
parabola          three images and the parabola of their sharpness
sweep             upward from below until the picture gets worse again
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol, get_args

import numpy as np

from parfocal.devices.approach import ApproachSettings
from parfocal.errors import SettingsError
from parfocal.focus.controller import focus_by_pairs
from parfocal.focus.decision import FocusSettings
from parfocal.focus.field import SAME_PLACE_UM, Field, Shot
from parfocal.focus.kept import Judgement
from parfocal.focus.result import FocusResult
from parfocal.focus.surface import Expectation
from parfocal.merit import best_focus

PolicyName = Literal["paper", "paper-as-printed", "pair-then-keep", "surface", "stack", "parabola", "sweep"]

_BLUR_HIDES_UM = 4.0  # of expected focus: beyond, a field that shows nothing may only be blurred
_PAPER_START_BELOW_UM, _PAPER_TAKE_UP_UM = 8.0, 14.0
_STACK_REACH_DELTAS, _SWEEP_REACH_DELTAS = 3.0, 4.0
_SWEEP_STEP_DELTAS = 0.5
_PAST_PEAK = 2
_PARABOLAS = 4


@dataclass(frozen=True)
class Visit:
    """A field about to be focused.

    Attributes:
        expected: where the surface expects its focus.
        last_um: focus of the field before, in µm.
        judge: what neighbours say of a shot taken here; None where nobody is to be asked.
        measure: whether its focus must be measured, whatever is expected.
    """

    expected: Expectation
    last_um: float
    judge: Callable[[Shot], Judgement] | None = None
    measure: bool = False


class FieldPolicy(Protocol):
    """A way to bring a field into focus."""

    @property
    def name(self) -> PolicyName:
        """Its name."""

    @property
    def approach(self) -> ApproachSettings:
        """Distances of its pairs."""

    @property
    def focus_settings(self) -> FocusSettings:
        """When it takes a prediction for certain."""

    @property
    def follows(self) -> bool:
        """Whether it goes by the focus of the field before alone, as in the paper, and not by the surface."""

    @property
    def is_checked(self) -> bool:
        """Whether kept frames are judged by their neighbours afterwards, and doubtful ones taken again."""

    def first_um(self, visit: Visit) -> float:
        """Where its first image will be taken, in µm: the stage may go there while x and y move."""

    def focus(self, field: Field, visit: Visit) -> FocusResult:
        """Focus. Raises LimitError or BudgetError where a move is not allowed (`controller.within_budget`)."""


@dataclass(frozen=True)
class ByPairs:
    """Pairs, moves and the kept frame, as the paper has it (section 4.3), from a pivot on.

    Attributes:
        name: which of the policies it is.
        approach: distances of the pair.
        focus_settings: when a prediction counts.
        follows: the pivot is the focus of the field before, as in the paper; else what the surface expects.
        is_checked: see `FieldPolicy`.
    """

    name: PolicyName
    approach: ApproachSettings
    focus_settings: FocusSettings
    follows: bool = False
    is_checked: bool = False

    def first_um(self, visit: Visit) -> float:
        """z1, `start_below_um` below the pivot."""
        return self._pivot_um(visit) - self.approach.start_below_um

    def focus(self, field: Field, visit: Visit) -> FocusResult:
        """See `focus_by_pairs`."""
        return focus_by_pairs(field, self._pivot_um(visit))

    def _pivot_um(self, visit: Visit) -> float:
        return visit.last_um if self.follows else visit.expected.z_um


@dataclass(frozen=True)
class _AtExpected:
    """A policy that goes by what the surface expects, and whose kept frames are checked.

    Attributes:
        approach: Δ, and where a pair begins.
        focus_settings: when a prediction counts, and how close to its target a frame is kept.
    """

    approach: ApproachSettings
    focus_settings: FocusSettings
    name: ClassVar[PolicyName]
    follows: ClassVar[bool] = False
    is_checked: ClassVar[bool] = True


@dataclass(frozen=True)
class BySurface(_AtExpected):
    """One image where the surface is sure or the neighbours agree, else a pair, checked by sharpness.

    Attributes:
        sure_sd_um: standard deviation of the expected focus up to which one image is kept unseen, in µm.
        ask_sd_um: up to which one is taken and kept if its neighbours agree, in µm.
        most_out: probability of being out of focus up to which they agree.
    """

    sure_sd_um: float
    ask_sd_um: float
    most_out: float = 0.05
    name: ClassVar[PolicyName] = "surface"

    def first_um(self, visit: Visit) -> float:
        """The expected focus, or below it by `start_below_um` where a pair will be taken."""
        return visit.expected.z_um - (0.0 if self._takes_one(visit) else self.approach.start_below_um)

    def focus(self, field: Field, visit: Visit) -> FocusResult:
        """One image, or a pair; the single image is the first of that pair."""
        expected, takes_one = visit.expected, self._takes_one(visit)
        shot = field.approach("single" if takes_one else "first", self.first_um(visit))
        empty = field.is_empty(shot)
        if empty is not None and expected.sd_um <= _BLUR_HIDES_UM:
            return field.result("empty", shot, empty)
        if not takes_one:
            return focus_by_pairs(field, expected.z_um, first_um=shot.z_um)
        if visit.judge is None or self._is_sure(visit):
            return field.result("focused", shot, f"focus expected within ±{expected.sd_um:.2f} µm")
        field.decide()
        judgement = visit.judge(shot)
        if judgement.compared and judgement.out_of_focus <= self.most_out:
            seen = f"as sharp as {judgement.compared} neighbours, ±{judgement.sd_um:.2f} µm"
            return field.result("focused", shot, seen)
        field.note("not as sharp as its neighbours" if judgement.compared else "no neighbour to compare with")
        return focus_by_pairs(field, expected.z_um, first_um=shot.z_um)

    def _is_sure(self, visit: Visit) -> bool:
        return not visit.measure and visit.expected.sd_um <= self.sure_sd_um

    def _takes_one(self, visit: Visit) -> bool:
        asks = not visit.measure and visit.judge is not None and visit.expected.sd_um <= self.ask_sd_um
        return asks or self._is_sure(visit)


@dataclass(frozen=True)
class ByStack(_AtExpected):
    """A full stack, 3 Δ to either side of the expected focus; its sharpest plane is kept.

    Attributes:
        step_um: distance of the planes in µm.
    """

    step_um: float
    name: ClassVar[PolicyName] = "stack"

    def first_um(self, visit: Visit) -> float:
        """The lowest plane."""
        return visit.expected.z_um - _STACK_REACH_DELTAS * self.approach.delta_um

    def focus(self, field: Field, visit: Visit) -> FocusResult:
        """The stack, and its peak."""
        planes = math.floor(2 * _STACK_REACH_DELTAS * self.approach.delta_um / self.step_um) + 1
        for index in range(planes):
            field.approach("plane", self.first_um(visit) + index * self.step_um)
        return _sharpest_of_curve(field, keep_within_um=self.step_um / 2 + SAME_PLACE_UM)


@dataclass(frozen=True)
class ByParabola(_AtExpected):
    """Three images Δ/2 apart; the parabola of their sharpness tells the peak, and is put there until it holds it."""

    name: ClassVar[PolicyName] = "parabola"

    def first_um(self, visit: Visit) -> float:
        """The lowest of the three."""
        return visit.expected.z_um - self.approach.delta_um / 2

    def focus(self, field: Field, visit: Visit) -> FocusResult:
        """Three images, the peak, and an image there unless one of the three will do."""
        step_um, middle_um = self.approach.delta_um / 2, visit.expected.z_um
        for _ in range(_PARABOLAS):
            shots = [_plane(field, middle_um + offset_um) for offset_um in (-step_um, 0.0, step_um)]
            empty = field.is_empty(shots[1])
            if empty is not None:
                return field.result("empty", shots[1], empty)
            peak = field.peak((shots[0], shots[1], shots[2]))
            field.decide()
            if peak is not None and shots[0].z_um < peak.z_um < shots[2].z_um:
                kept = field.near(peak.z_um, self.focus_settings.keep_within_um) or field.approach("kept", peak.z_um)
                result = field.result("focused", kept, f"parabola peaks at {peak.z_um:.2f} µm")
                return replace(result, focus_um=peak.z_um, focus_sd_um=peak.error_um, bend_per_um2=peak.bend_per_um2)
            lower, _, upper = (field.eyes.sharpness.centre(shot.frame) for shot in shots)
            middle_um += step_um if upper > lower else -step_um
        return field.result("unsure", field.sharpest(), f"no peak in {_PARABOLAS} parabolas")


@dataclass(frozen=True)
class BySweep(_AtExpected):
    """Upward from below the expected focus until the picture has got worse for two planes; then to the peak."""

    name: ClassVar[PolicyName] = "sweep"

    def first_um(self, visit: Visit) -> float:
        """The lowest plane."""
        return visit.expected.z_um - _SWEEP_REACH_DELTAS * self.approach.delta_um

    def focus(self, field: Field, visit: Visit) -> FocusResult:
        """The sweep, the peak, and an image there."""
        step_um = _SWEEP_STEP_DELTAS * self.approach.delta_um
        scores: list[float] = []
        for index in range(math.floor(2 * _SWEEP_REACH_DELTAS / _SWEEP_STEP_DELTAS) + 1):
            shot = field.approach("plane", self.first_um(visit) + index * step_um)
            scores.append(field.eyes.sharpness.centre(shot.frame))
            best = int(np.argmax(scores))
            if 0 < best <= index - _PAST_PEAK and scores[-1] < scores[-2] < scores[best]:
                break
        return _sharpest_of_curve(field, self.focus_settings.keep_within_um)


def _plane(field: Field, z_um: float) -> Shot:
    """The shot at a z, taken now unless it was before."""
    return field.near(z_um, SAME_PLACE_UM) or field.approach("plane", z_um)


def _sharpest_of_curve(field: Field, keep_within_um: float) -> FocusResult:
    """The peak of the curve of all shots: the one near enough to it, or a new one there."""
    shots = sorted(field.shots, key=lambda shot: shot.z_um)
    scores = np.array([field.eyes.sharpness.centre(shot.frame) for shot in shots])
    field.decide()
    best = int(np.argmax(scores))
    empty = field.is_empty(shots[best])
    if empty is not None:
        return field.result("empty", shots[best], empty)
    if best in (0, len(shots) - 1):
        end = "lower" if best == 0 else "upper"
        return field.result("unsure", shots[best], f"sharpest at the {end} end, {shots[best].z_um:.1f} µm")
    peak_um = best_focus(np.array([shot.z_um for shot in shots]), scores)
    kept = field.near(peak_um, keep_within_um) or field.approach("kept", peak_um)
    result = field.result("focused", kept, f"curve peaks at {peak_um:.2f} µm")
    return replace(result, focus_um=peak_um, focus_sd_um=keep_within_um / 4)


def make_policy(
    name: str, approach: ApproachSettings, settings: FocusSettings, depth_of_field_um: float, sure_of_dof: float = 0.14
) -> FieldPolicy:
    """A policy by name, for an instrument.

    Args:
        name: one of `PolicyName`.
        approach: of the instrument.
        settings: of the instrument.
        depth_of_field_um: total, in µm.
        sure_of_dof: standard deviation of an expected focus up to which it is relied upon, as a share of the depth of
            field.

    Raises:
        SettingsError: if there is no policy of that name.
    """
    by_paper = replace(settings, return_within_um=0.0, peak_tolerance_um=0.0)
    returning = max(settings.return_within_um, 1.5 * approach.delta_um)
    checked = replace(settings, return_within_um=returning, peak_tolerance_um=settings.peak_tolerance_um or 0.25)
    match name:
        case "paper":
            below = replace(approach, start_below_um=_PAPER_START_BELOW_UM)
            return ByPairs("paper", below, by_paper, follows=True)
        case "paper-as-printed":
            printed = replace(
                approach, start_below_um=_PAPER_START_BELOW_UM, take_up_um=_PAPER_TAKE_UP_UM, margin_um=0.0,
                enforce=False,
            )  # fmt: skip
            return ByPairs("paper-as-printed", printed, by_paper, follows=True)
        case "pair-then-keep":
            at_focus = replace(approach, start_below_um=approach.delta_um)
            returns = replace(by_paper, return_within_um=approach.delta_um)
            return ByPairs("pair-then-keep", at_focus, returns, is_checked=True)
        case "surface":
            return BySurface(approach, checked, sure_of_dof * depth_of_field_um, depth_of_field_um)
        case "stack":
            return ByStack(approach, settings, depth_of_field_um / 2)
        case "parabola":
            return ByParabola(approach, settings)
        case "sweep":
            return BySweep(approach, settings)
    raise SettingsError(f"unknown policy {name!r}: choose one of {', '.join(get_args(PolicyName))}")
