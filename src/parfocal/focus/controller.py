"""Bringing one field into focus by pairs: takes them, asks for the next move, carries it out (paper, 2.2.1 and 4.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from parfocal.devices.approach import GuardedZ
from parfocal.devices.microscope import Microscope
from parfocal.errors import BudgetError, InstrumentError, LimitError, StageStuckError
from parfocal.focus.decision import Accept, Empty, FocusSettings, GiveUp, HalfStep, Move, Reading, Retreat, next_move
from parfocal.focus.field import FAR_FLANK, NEAR_FLANK, SAME_PLACE_UM, Field, Shot, eyes_of
from parfocal.focus.peak import Peak
from parfocal.focus.predictor import FocusPrediction, Predictor
from parfocal.focus.result import FocusResult, FocusStep, Purpose, Verdict

__all__ = [
    "Accept", "Empty", "FocusResult", "FocusSettings", "FocusStep", "GiveUp", "HalfStep", "Purpose", "Reading",
    "Retreat", "Verdict", "focus_by_pairs", "focus_field", "next_move", "within_budget",
]  # fmt: skip

_CHECKS = 2
_CLEARLY_SHARPER = 0.05  # of ln sharpness: some half a depth of field
_UNCHECKED_SD_UM = 1.0
_PREDICTION_SD_UM = 0.3
"""What a prediction near focus is off by, at least, however much its patches agree."""


def focus_field(
    microscope: Microscope,
    z: GuardedZ,
    predictor: Predictor,
    pivot_um: float,
    settings: FocusSettings,
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
    field = Field(microscope, z, eyes_of(microscope, predictor), settings)
    return within_budget(field, lambda: focus_by_pairs(field, pivot_um))


def within_budget(field: Field, focus: Callable[[], FocusResult]) -> FocusResult:
    """Focus a field; where travel, time or a limit ends that, keep the sharpest frame and say so.

    Raises:
        LimitError, BudgetError: if there is no frame yet; nothing has moved.
    """
    try:
        return focus()
    except (BudgetError, LimitError) as error:
        if not field.shots:
            raise
        return field.result("unsure" if isinstance(error, BudgetError) else "failed", field.sharpest(), str(error))


def focus_by_pairs(field: Field, pivot_um: float, first_um: float | None = None) -> FocusResult:
    """Pairs and moves until there is a verdict; `next_move` gives up after the last pair allowed.

    Args:
        field: begun, with or without exposures.
        pivot_um: where the focus is expected, in µm.
        first_um: where the first pair begins, in µm; below the pivot as the approach says unless told.
    """
    return _ByPairs(field, pivot_um).focus(pivot_um - field.z.approach.start_below_um if first_um is None else first_um)


@dataclass(frozen=True)
class _Pair:
    first: Shot
    second: Shot


class _ByPairs:
    """One field while it is being focused by pairs."""

    def __init__(self, field: Field, pivot_um: float) -> None:
        self._field = field
        self._z = field.z
        self._predictor = field.eyes.predictor
        self._settings = field.settings
        self._pivot_um = pivot_um

    def focus(self, first_um: float) -> FocusResult:
        pair = self._take_pair(first_um)
        pairs_taken, previous_um = 1, None
        while True:
            pair, reading, prediction = self._read(pair, pairs_taken, previous_um)
            move = self._within_record(next_move(reading, self._settings, self._z.approach), pair)
            trace = self._field.trace
            trace[-1] = replace(trace[-1], prediction=prediction, move=move)
            match move:
                case Accept():
                    return self._accept(move, reading)
                case Empty():
                    return self._take_empty(move)
                case GiveUp():
                    return self._field.result("unsure", self._field.sharpest(), move.reason)
                case Retreat():
                    pair = self._take_pair(move.first_um, rise_um=move.first_um - move.bottom_um)
                case HalfStep():
                    pair = self._take_pair(move.first_um)
            pairs_taken, previous_um = pairs_taken + 1, reading.focus_um

    def _take_pair(self, first_um: float, rise_um: float | None = None) -> _Pair:
        """I1 at first_um and I2 at Δ above it; a frame just taken at first_um serves as I1.

        `rise_um` is the upward travel before I1 that a retreat asks for.
        """
        field, z = self._field, self._z
        first_aim_um, second_aim_um = z.reachable_pair_um(first_um)
        if field.shots and abs(z.position_um - first_aim_um) < SAME_PLACE_UM:
            first = field.shots[-1]
        else:
            if rise_um is not None:
                z.move_to(first_aim_um - rise_um)
            z.approach_from_below(first_aim_um)
            first = field.expose("first", first_um, first_aim_um)
        z.move_to(second_aim_um)
        return _Pair(first, field.expose("second", first_aim_um + z.approach.delta_um, second_aim_um))

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
        self._field.decide()
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
        if abs(first_aim_um - pair.second.z_um) > SAME_PLACE_UM:
            return None
        self._z.move_to(third_aim_um)
        third_um = pair.second.z_um + self._z.approach.delta_um
        third = self._field.expose("third", third_um, third_aim_um, "the pair showed no difference")
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
        if max(abs(first_aim_um - taken_um[0]), abs(second_aim_um - taken_um[1])) > SAME_PLACE_UM:
            return move
        if isinstance(move, Retreat) and move.certain:
            return Accept(move.target_um, f"{move.reason}; the record holds no lower pair")
        return GiveUp(f"{move.reason}; the record holds no other pair in that direction")

    def _accept(self, move: Accept, reading: Reading) -> FocusResult:
        """Keep a frame that is close enough; else reach the target from below and keep what is exposed there."""
        kept = self._field.near(move.target_um, self._settings.keep_within_um)
        checks, peak = self._settings.peak_tolerance_um > 0, None
        if kept is None:
            aim_um = self._z.reachable_um(move.target_um)
            if checks and self._field.flank(aim_um, -1) is None:
                self._field.expose_flank(aim_um, -1)
            kept = self._field.approach("kept", move.target_um)
        if checks:
            kept, peak = self._check(kept)
        spread_um = None if math.isnan(reading.spread_um) else reading.spread_um
        if checks and peak is None and self._is_blurred(kept):
            return self._field.result("unsure", self._field.sharpest(), f"{move.reason}, but it is not sharper there")
        result = replace(self._field.result("focused", kept, move.reason), spread_um=spread_um)
        if peak is None:
            sd_um = max(spread_um or 0.0, _UNCHECKED_SD_UM if checks else _PREDICTION_SD_UM)
            return replace(result, focus_um=reading.focus_um, focus_sd_um=sd_um)
        return replace(result, focus_um=peak.z_um, focus_sd_um=peak.error_um, bend_per_um2=peak.bend_per_um2)

    def _is_blurred(self, kept: Shot) -> bool:
        """Whether another shot is clearly sharper than the kept one."""
        sharpness = self._field.eyes.sharpness
        best = max(sharpness.centre(shot.frame) for shot in self._field.shots)
        return sharpness.centre(kept.frame) < best - _CLEARLY_SHARPER

    def _check(self, kept: Shot) -> tuple[Shot, Peak | None]:
        """The frame to keep, and the peak: again at the sharpest plane where the kept frame is too far from it.

        Three images tell: the kept one and one on each side. Where they do not, what was predicted stands.
        """
        tolerance_um, found = self._settings.peak_tolerance_um, None
        for _ in range(_CHECKS):
            peak = self._peak(kept, NEAR_FLANK) or self._peak(kept, FAR_FLANK)
            if peak is None:
                break
            found = peak
            self._field.note(f"sharpest at {peak.z_um:.2f} ± {peak.error_um:.2f} µm")
            before = kept
            kept = self._field.near(peak.z_um, tolerance_um) or self._field.approach("kept", peak.z_um)
            if kept is before:
                break
        return kept, found

    def _peak(self, kept: Shot, nearest: float) -> Peak | None:
        """The sharpest plane by the kept frame and its flanks, `nearest` Δ away or more; None if they do not tell."""
        below, above = (
            self._field.flank(kept.z_um, side, nearest) or self._field.expose_flank(kept.z_um, side)
            for side in (-1, +1)
        )
        if below is None or above is None:
            return None
        peak = self._field.peak((below, kept, above))
        return None if peak is None or peak.error_um > self._settings.peak_tolerance_um else peak

    def _take_empty(self, move: Empty) -> FocusResult:
        """The field takes the pivot's z."""
        kept = self._field.shots[-1]
        aim_um = self._z.reachable_um(self._pivot_um)
        if abs(aim_um - kept.z_um) > self._settings.keep_within_um:
            kept = self._field.approach("kept", self._pivot_um)
        return self._field.result("empty", kept, move.reason)
