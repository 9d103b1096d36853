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
from parfocal.focus.peak import PeakBelief, peak_by_bend
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
_APART_DOF = 0.5  # of two images by the bend
_BY_BEND_DOF = 0.7  # of the expected focus: farther out two images may mean another peak
# Whatever the surface promised: images are taken because it may be wrong, or was found wrong.
_LEAST_PRIOR_DOF, _LEAST_DOUBTED_DOF = 0.3, 1.4
_MOST_OUT_BY_BEND = 0.06
_SAME_NEWS = 0.5  # of that distance: an image nearer to another one says nothing new
_FAR = 0.5  # of ln sharpness below the sharpest
_NONSENSE = 25.0  # χ²: no peak explains such sharpness
_MOVES_BY_BEND = 3
_ASK_DOF = 0.22  # of the expected focus: beyond, two images are cheaper than one that is refused


@dataclass(frozen=True)
class Visit:
    """A field about to be focused.

    Attributes:
        expected: where the surface expects its focus.
        last_um: focus of the field before, in µm.
        judge: what neighbours say of a shot taken here; None where nobody is to be asked.
        measure: whether its focus must be measured, whatever is expected.
        doubted: whether what is expected was found wrong here.
        bend_per_um2: by how much sharpness falls from the focus on this slide (`peak.Peak`); None while unknown.
    """

    expected: Expectation
    last_um: float
    judge: Callable[[Shot], Judgement] | None = None
    measure: bool = False
    doubted: bool = False
    bend_per_um2: float | None = None


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
    """One image where the surface is sure or the neighbours agree, else two by the slide's bend, else a checked pair.

    Attributes:
        depth_of_field_um: total, in µm.
        arrival_error_um: standard deviation of where the stage arrives, in µm.
        sure_sd_um: standard deviation of the expected focus up to which one image is kept unseen, in µm.
        most_out: probability of being out of focus up to which the neighbours agree.
    """

    depth_of_field_um: float
    arrival_error_um: float
    sure_sd_um: float
    most_out: float = 0.02
    name: ClassVar[PolicyName] = "surface"

    def first_um(self, visit: Visit) -> float:
        """The expected focus; below it where two images will stand around it, or a pair."""
        if self._takes_one(visit):
            return visit.expected.z_um
        if self._knows_bend(visit):
            return visit.expected.z_um - self._apart_um / 2
        return visit.expected.z_um - self.approach.start_below_um

    def focus(self, field: Field, visit: Visit) -> FocusResult:
        """One image, or more; the single image is the first of those."""
        expected, takes_one = visit.expected, self._takes_one(visit)
        shot = field.approach("single" if takes_one else "first", self.first_um(visit))
        empty = field.is_empty(shot)
        if empty is not None and expected.sd_um <= _BLUR_HIDES_UM:
            return field.result("empty", shot, empty)
        if takes_one:
            if visit.judge is None or self._is_sure(visit):
                return field.result("focused", shot, f"focus expected within ±{expected.sd_um:.2f} µm")
            field.decide()
            judgement = visit.judge(shot)
            if judgement.compared and judgement.out_of_focus <= self.most_out:
                seen = f"as sharp as {judgement.compared} neighbours, ±{judgement.sd_um:.2f} µm"
                return field.result("focused", shot, seen)
            field.note("not as sharp as its neighbours" if judgement.compared else "no neighbour to compare with")
        by_bend = self._by_bend(field, visit) if empty is None else None
        return by_bend or focus_by_pairs(field, expected.z_um, first_um=None if field.shots[1:] else shot.z_um)

    def _by_bend(self, field: Field, visit: Visit) -> FocusResult | None:
        """Since the bend is known, two images tell the peak. Go there unless one of them will do; None if lost."""
        if visit.bend_per_um2 is None or not self._knows_bend(visit):
            return None
        field.approach("second", field.shots[0].z_um + self._apart_um)
        for _ in range(_MOVES_BY_BEND + 1):
            shots, beliefs = self._believe(field, visit, visit.bend_per_um2)
            field.decide()
            if beliefs[0].misfit > _NONSENSE:
                break
            half_um = self.depth_of_field_um / 2
            out = [belief.farther_than(half_um, shot.z_um) for belief, shot in zip(beliefs, shots, strict=True)]
            best = int(np.argmin(out))
            belief = beliefs[best]
            if out[best] <= _MOST_OUT_BY_BEND:
                seen = f"sharpest at {belief.mean_um:.2f} ± {belief.sd_um:.2f} µm"
                result = field.result("focused", shots[best], seen)
                return replace(result, focus_um=belief.mean_um, focus_sd_um=belief.sd_um)
            field.approach("kept", self._where_it_tells(field, belief.mean_um))
        field.note("sharpness does not tell the peak")
        return None

    def _believe(self, field: Field, visit: Visit, bend_per_um2: float) -> tuple[list[Shot], list[PeakBelief]]:
        """The frames that tell where the peak is, and where it is as seen from each of them.

        Frames on the far flank have shown the way; by how much sharpness falls there is not known well enough.
        """
        scored = sorted(((field.eyes.sharpness.centre(shot.frame), shot) for shot in field.shots), key=lambda s: -s[0])
        scored = [(score, shot) for rank, (score, shot) in enumerate(scored) if rank < 2 or score > scored[0][0] - _FAR]
        sharpness, shots = [score for score, _ in scored], [shot for _, shot in scored]
        z_um = [shot.z_um for shot in shots]
        least_dof = _LEAST_DOUBTED_DOF if visit.doubted else _LEAST_PRIOR_DOF
        sd_um = max(visit.expected.sd_um, least_dof * self.depth_of_field_um)
        beliefs = [
            peak_by_bend(z_um, sharpness, bend_per_um2, self.arrival_error_um, visit.expected.z_um, sd_um, index)
            for index in range(len(z_um))
        ]
        return shots, beliefs

    def _where_it_tells(self, field: Field, target_um: float) -> float:
        """The target, or beyond a frame that lies so close to it that another one there would say the same."""
        nearest = min(field.shots, key=lambda shot: abs(shot.z_um - target_um))
        if abs(nearest.z_um - target_um) >= _SAME_NEWS * self._apart_um:
            return target_um
        middle_um = sum(shot.z_um for shot in field.shots) / len(field.shots)
        return nearest.z_um + math.copysign(self._apart_um, target_um - middle_um)

    @property
    def _apart_um(self) -> float:
        return _APART_DOF * self.depth_of_field_um

    def _knows_bend(self, visit: Visit) -> bool:
        return visit.bend_per_um2 is not None and visit.expected.sd_um <= _BY_BEND_DOF * self.depth_of_field_um

    def _is_sure(self, visit: Visit) -> bool:
        return not visit.measure and visit.expected.sd_um <= self.sure_sd_um

    def _takes_one(self, visit: Visit) -> bool:
        most_um = (_ASK_DOF if visit.bend_per_um2 is not None else 1.0) * self.depth_of_field_um
        asks = not visit.measure and visit.judge is not None and visit.expected.sd_um <= most_um
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
    name: str,
    approach: ApproachSettings,
    settings: FocusSettings,
    depth_of_field_um: float,
    sure_of_dof: float = 0.10,
    arrival_error_um: float = 0.17,
) -> FieldPolicy:
    """A policy by name, for an instrument.

    Args:
        name: one of `PolicyName`.
        approach: of the instrument.
        settings: of the instrument.
        depth_of_field_um: total, in µm.
        sure_of_dof: standard deviation of an expected focus up to which it is relied upon, as a share of the depth of
            field.
        arrival_error_um: standard deviation of where the stage arrives, in µm.

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
            return BySurface(approach, checked, depth_of_field_um, arrival_error_um, sure_of_dof * depth_of_field_um)
        case "stack":
            return ByStack(approach, settings, depth_of_field_um / 2)
        case "parabola":
            return ByParabola(approach, settings)
        case "sweep":
            return BySweep(approach, settings)
    raise SettingsError(f"unknown policy {name!r}: choose one of {', '.join(get_args(PolicyName))}")
