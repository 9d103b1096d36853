"""Bringing one field into focus: takes pairs, asks for the next move, carries it out (paper, 2.2.1 and 4.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from parfocal.devices.approach import GuardedZ
from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.errors import BudgetError, InstrumentError, LimitError, StageStuckError
from parfocal.focus.decision import Accept, Empty, FocusSettings, GiveUp, HalfStep, Move, Reading, Retreat, next_move
from parfocal.focus.peak import Peak, central_sharpness, find_peak
from parfocal.focus.predictor import FocusPrediction, Predictor
from parfocal.focus.result import FocusResult, FocusStep, Purpose, Verdict
from parfocal.merit import tenengrad

__all__ = [
    "Accept", "Empty", "FocusResult", "FocusSettings", "FocusStep", "GiveUp", "HalfStep", "Reading", "Retreat",
    "focus_field", "next_move",
]  # fmt: skip

_SAME_PLACE_UM = 1e-6
_CHECKS = 2
_NEAR_FLANK, _FAR_FLANK, _FARTHEST_FLANK = 0.25, 0.45, 1.25  # of Δ


def focus_field(
    microscope: Microscope, z: GuardedZ, predictor: Predictor, pivot_um: float, settings: FocusSettings
) -> FocusResult:
    """Bring the field under the lens into focus. The lamp is lit by the caller (`lamp_lit`).

    A pair is taken below the pivot and `next_move` says what follows. Every exposure comes after upward motion with the
    slack closed. A field that is empty is exposed once more at the pivot, unless the pair ended there. When travel or
    time is used up the field is unsure, when a limit stands in the way of a later move it has failed; either way the
    frame with the highest Tenengrad of those taken is kept and nothing moves any more.

    Args:
        microscope: its camera and lamp are used; its clock is charged one decision for each pair.
        z: the guard over its z stage; a new field begins on it.
        predictor: defocus from pairs.
        pivot_um: where the focus is expected, in µm.
        settings: when a prediction counts.

    Returns:
        Verdict, kept frame and the trace of all exposures.

    Raises:
        LimitError, BudgetError: if not even the first image can be taken; nothing has moved.
        StageStuckError: if the picture does not change over two moves of Δ in a field that is not empty.
        InstrumentError: if the lamp is off, or a device fails.
    """
    if not microscope.lamp.is_on:
        raise InstrumentError("the lamp is off: every field would look empty")
    z.start_field()
    field = _Field(microscope, z, predictor, pivot_um, settings)
    try:
        return field.focus()
    except (BudgetError, LimitError) as error:
        if not field.shots:
            raise
        return field.best_scored("unsure" if isinstance(error, BudgetError) else "failed", str(error))


@dataclass(frozen=True)
class _Shot:
    frame: Frame
    z_um: float


@dataclass(frozen=True)
class _Pair:
    first: _Shot
    second: _Shot


class _Field:
    """One field while it is being focused."""

    def __init__(
        self, microscope: Microscope, z: GuardedZ, predictor: Predictor, pivot_um: float, settings: FocusSettings
    ) -> None:
        self._microscope = microscope
        self._z = z
        self._predictor = predictor
        self._pivot_um = pivot_um
        self._settings = settings
        self._canonical_scale = microscope.camera.pixel_size_um / microscope.objective.canonical_pixel_um
        self.shots: list[_Shot] = []
        self._trace: list[FocusStep] = []

    def focus(self) -> FocusResult:
        """Pairs and moves until there is a verdict; `next_move` gives up after the last pair allowed."""
        pair = self._take_pair(self._pivot_um - self._z.approach.start_below_um)
        pairs_taken, previous_um = 1, None
        while True:
            pair, reading, prediction = self._read(pair, pairs_taken, previous_um)
            move = self._within_record(next_move(reading, self._settings, self._z.approach), pair)
            self._trace[-1] = replace(self._trace[-1], prediction=prediction, move=move)
            match move:
                case Accept():
                    return self._accept(move, reading)
                case Empty():
                    return self._take_empty(move)
                case GiveUp():
                    return self.best_scored("unsure", move.reason)
                case Retreat():
                    pair = self._take_pair(move.first_um, rise_um=move.first_um - move.bottom_um)
                case HalfStep():
                    pair = self._take_pair(move.first_um)
            pairs_taken, previous_um = pairs_taken + 1, reading.focus_um

    def best_scored(self, verdict: Verdict, reason: str) -> FocusResult:
        """Keep the sharpest frame there is, by Tenengrad."""
        return self._result(verdict, max(self.shots, key=lambda shot: tenengrad(shot.frame)), reason)

    def _take_pair(self, first_um: float, rise_um: float | None = None) -> _Pair:
        """I1 at first_um and I2 at Δ above it; a frame just taken at first_um serves as I1.

        `rise_um` is the upward travel before I1 that a retreat asks for.
        """
        first_aim_um, second_aim_um = self._z.reachable_pair_um(first_um)
        if self.shots and abs(self._z.position_um - first_aim_um) < _SAME_PLACE_UM:
            first = self.shots[-1]
        else:
            if rise_um is not None:
                self._z.move_to(first_aim_um - rise_um)
            self._z.approach_from_below(first_aim_um)
            first = self._expose("first", first_um, first_aim_um)
        self._z.move_to(second_aim_um)
        second_um = first_aim_um + self._z.approach.delta_um
        return _Pair(first, self._expose("second", second_um, second_aim_um))

    def _read(
        self, pair: _Pair, pairs_taken: int, previous_um: float | None
    ) -> tuple[_Pair, Reading, FocusPrediction | None]:
        """Judge a pair, or the one that takes its place where it showed no difference (design: straddled, or stuck)."""
        contrast = self._predictor.measure(pair.first.frame, pair.second.frame)
        prediction: FocusPrediction | None = None
        has_difference = contrast.difference_sd > self._settings.unmoved_sd(contrast.image_sd)
        is_faint = False
        if contrast.image_sd >= self._settings.empty_sd:
            if not has_difference:
                moved_on = self._take_third(pair)
                pair, has_difference = moved_on or pair, moved_on is not None
                is_faint = moved_on is None and not self._settings.would_show(contrast.image_sd)
            if has_difference:
                delta_um = pair.second.z_um - pair.first.z_um
                prediction = self._predictor.predict(pair.first.frame, pair.second.frame, delta_um)
        self._microscope.clock.spend(self._microscope.decision_time_s)
        reading = Reading(
            first_z_um=pair.first.z_um,
            second_z_um=pair.second.z_um,
            image_sd=contrast.image_sd,
            pairs_taken=pairs_taken,
            previous_target_um=previous_um,
            is_faint=is_faint,
            budget_spent="the time budget of the field is used up" if self._z.time_is_up else None,
        )
        if prediction is not None:
            reading = replace(reading, defocus_um=prediction.defocus_um, spread_um=prediction.spread_um)
        return pair, reading, prediction

    def _take_third(self, pair: _Pair) -> _Pair | None:
        """The pair (z2, z2 + Δ) after one that showed no difference.

        None where a record ends before it, or where it shows none either and the field is too faint to blame the stage.

        Raises:
            StageStuckError: if it shows none either in a field where a move would be seen.
        """
        first_aim_um, third_aim_um = self._z.reachable_pair_um(pair.second.z_um)
        if abs(first_aim_um - pair.second.z_um) > _SAME_PLACE_UM:
            return None
        self._z.move_to(third_aim_um)
        third_um = pair.second.z_um + self._z.approach.delta_um
        third = self._expose("third", third_um, third_aim_um, "the pair showed no difference")
        contrast = self._predictor.measure(pair.second.frame, third.frame)
        unmoved_sd = self._settings.unmoved_sd(contrast.image_sd)
        if contrast.difference_sd <= unmoved_sd and not self._settings.would_show(contrast.image_sd):
            return None
        if contrast.difference_sd <= unmoved_sd:
            raise StageStuckError(
                f"stage did not move: images at z {pair.first.z_um:.2f}, {pair.second.z_um:.2f} and {third.z_um:.2f} "
                f"µm differ by {contrast.difference_sd:.2f} grey levels, "
                f"noise and vibration alone by up to {unmoved_sd:.2f}"
            )
        return _Pair(pair.second, third)

    def _within_record(self, move: Move, pair: _Pair) -> Move:
        """The move, unless a recorded stage could only repeat the pair it has just read."""
        if not isinstance(move, Retreat | HalfStep):
            return move
        first_aim_um, second_aim_um = self._z.reachable_pair_um(move.first_um)
        taken_um = (pair.first.z_um, pair.second.z_um)
        if max(abs(first_aim_um - taken_um[0]), abs(second_aim_um - taken_um[1])) > _SAME_PLACE_UM:
            return move
        if isinstance(move, Retreat) and move.certain:
            return Accept(move.target_um, f"{move.reason}; the record holds no lower pair")
        return GiveUp(f"{move.reason}; the record holds no other pair in that direction")

    def _accept(self, move: Accept, reading: Reading) -> FocusResult:
        """Keep a frame that is close enough; else reach the target from below and keep what is exposed there."""
        kept, focus_um = self._near(move.target_um, self._settings.keep_within_um), reading.focus_um
        checks = self._settings.peak_tolerance_um > 0
        if kept is None:
            aim_um = self._z.reachable_um(move.target_um)
            if checks and self._flank(aim_um, -1) is None:
                self._expose_flank(aim_um, -1)
            kept = self._approach_kept(move.target_um)
        if checks:
            kept, focus_um = self._check(kept, focus_um)
        spread_um = None if math.isnan(reading.spread_um) else reading.spread_um
        result = self._result("focused", kept, move.reason)
        return replace(result, focus_um=focus_um, spread_um=spread_um)

    def _near(self, target_um: float, within_um: float) -> _Shot | None:
        """The field's shot nearest to the target, if one is near enough, or at the plane where a record would go."""
        aim_um = self._z.reachable_um(target_um)
        nearest = min(self.shots, key=lambda shot: abs(shot.z_um - target_um))
        is_near = abs(nearest.z_um - target_um) <= within_um or abs(nearest.z_um - aim_um) <= _SAME_PLACE_UM
        return nearest if is_near else None

    def _approach_kept(self, target_um: float) -> _Shot:
        aim_um = self._z.reachable_um(target_um)
        self._z.approach_from_below(aim_um)
        return self._expose("kept", target_um, aim_um)

    def _check(self, kept: _Shot, focus_um: float) -> tuple[_Shot, float]:
        """The frame to keep, and its focus in µm: again at the sharpest plane where the kept frame is too far from it.

        Three images tell: the kept one and one on each side. Where they do not, what was predicted stands.
        """
        tolerance_um = self._settings.peak_tolerance_um
        for _ in range(_CHECKS):
            peak = self._peak(kept, _NEAR_FLANK) or self._peak(kept, _FAR_FLANK)
            if peak is None:
                break
            focus_um = peak.z_um
            self._note(f"sharpest at {peak.z_um:.2f} ± {peak.error_um:.2f} µm")
            before, kept = kept, self._near(peak.z_um, tolerance_um) or self._approach_kept(peak.z_um)
            if kept is before:
                break
        return kept, focus_um

    def _peak(self, kept: _Shot, nearest: float) -> Peak | None:
        """The sharpest plane by the kept frame and its flanks, `nearest` Δ away or more; None if they do not tell."""
        below, above = (
            self._flank(kept.z_um, side, nearest) or self._expose_flank(kept.z_um, side) for side in (-1, +1)
        )
        if below is None or above is None:
            return None
        shots = (below, kept, above)
        sharpness = [central_sharpness(shot.frame, self._canonical_scale) for shot in shots]
        peak = find_peak([shot.z_um for shot in shots], sharpness)
        return None if peak is None or peak.error_um > self._settings.peak_tolerance_um else peak

    def _flank(self, z_um: float, side: int, nearest: float = _NEAR_FLANK) -> _Shot | None:
        """The nearest of the field's shots above (side +1) or below (−1) z_um, at a distance that tells."""
        delta_um = self._z.approach.delta_um
        beside = [
            shot
            for shot in self.shots
            if nearest * delta_um - _SAME_PLACE_UM <= side * (shot.z_um - z_um) <= _FARTHEST_FLANK * delta_um
        ]
        return min(beside, key=lambda shot: abs(shot.z_um - z_um), default=None)

    def _expose_flank(self, z_um: float, side: int) -> _Shot | None:
        """A shot half of Δ above or below z_um; None where the stage cannot give one."""
        target_um = z_um + side * self._z.approach.delta_um / 2
        aim_um = self._z.reachable_um(target_um)
        if not self._z.lowest_um <= aim_um <= self._z.highest_um or abs(aim_um - z_um) <= _SAME_PLACE_UM:
            return None
        self._z.approach_from_below(aim_um)
        return self._expose("flank", target_um, aim_um)

    def _note(self, note: str) -> None:
        """Write something into the trace, at the last exposure."""
        last = self._trace[-1]
        self._trace[-1] = replace(last, note="; ".join(text for text in (last.note, note) if text))

    def _take_empty(self, move: Empty) -> FocusResult:
        """The field takes the pivot's z."""
        kept = self.shots[-1]
        aim_um = self._z.reachable_um(self._pivot_um)
        if abs(aim_um - kept.z_um) > self._settings.keep_within_um:
            kept = self._approach_kept(self._pivot_um)
        return self._result("empty", kept, move.reason)

    def _expose(self, purpose: Purpose, target_um: float, aim_um: float, note: str = "") -> _Shot:
        """Take a frame where the stage stands, and write it into the trace."""
        shot = _Shot(self._microscope.camera.snap(), self._z.position_um)
        self.shots.append(shot)
        notes = [text for text in (note, self._record_note(purpose, target_um, aim_um)) if text]
        self._trace.append(FocusStep(purpose, target_um, shot.z_um, note="; ".join(notes)))
        return shot

    def _record_note(self, purpose: Purpose, target_um: float, aim_um: float) -> str:
        """Says so where a record could not give what was asked for."""
        if abs(aim_um - target_um) <= _SAME_PLACE_UM:
            return ""
        plane = "plane that leaves a pair" if purpose == "first" else "plane"
        if self._z.lowest_um <= target_um <= self._z.highest_um:
            return f"the nearest recorded {plane} is at {aim_um:.2f} µm"
        return f"{target_um:.2f} µm is beyond the record: its outermost {plane} is at {aim_um:.2f} µm"

    def _result(self, verdict: Verdict, kept: _Shot, reason: str) -> FocusResult:
        return FocusResult(verdict, kept.z_um, kept.frame, len(self.shots), tuple(self._trace), reason)
