"""What a scan knows about its slide: where tissue is, where the focus lies, which kept frames are in doubt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.focus.field import Eyes, Shot
from parfocal.focus.kept import Judgement, KeptFrames
from parfocal.focus.result import FocusResult
from parfocal.focus.surface import Expectation, FocusSurface
from parfocal.scan.lost_steps import StepWatch
from parfocal.scan.plan import PlannedField, ScanPlan
from parfocal.scan.settings import ScanSettings
from parfocal.scan.tissue import TissueMap
from parfocal.scan.verdicts import Verdicts

MOST_OUT, MOST_OUT_MEASURED = 0.4, 0.6
"""Probability of being out of focus from which a kept frame is taken again; where the focus was measured, by images of
its own, neighbours must be surer to overrule it."""

LEAST_LIKE = 2.0
"""By how much ln sharpness of a single image may lie below the usual: less than a seventh of the slide's detail lies in
its centre, which may have a focus of its own."""

SWEEP_SD_UM = 1.0
"""Standard deviation of a focus that a sweep found, in µm."""

_HEARSAY_SD_UM = 0.3  # beside what a comparison itself leaves open: neighbours share their errors
_TELLS = 0.85  # share of its deviation that a comparison must leave at most, to be learnt from


@dataclass(frozen=True)
class Asked:
    """A shot about which the neighbours were asked before it was kept, and what they said."""

    shot: Shot
    judgement: Judgement


class SlideKnowledge:
    """Tissue, surface and kept frames of one slide, as far as a scan has come.

    Args:
        microscope: its lens and camera are asked for scales.
        settings: how it scans.
        eyes: what looks at frames.
        plan: all fields.
        follows: whether the policy goes by the field before alone.
    """

    def __init__(
        self, microscope: Microscope, settings: ScanSettings, eyes: Eyes, plan: ScanPlan, follows: bool
    ) -> None:
        self._settings, self._eyes, self._plan, self._follows = settings, eyes, plan, follows
        self._pitch_um = math.sqrt(plan.step_um[0] * plan.step_um[1])
        pixel_um = microscope.camera.pixel_size_um
        self.tissue = TissueMap(plan, settings.everywhere)
        self.surface = FocusSurface(0.0, self._pitch_um)
        self.kept = KeptFrames(
            eyes.sharpness,
            (plan.step_um[0] / pixel_um, plan.step_um[1] / pixel_um),
            microscope.objective.canonical_z_um,
            microscope.depth_of_field_um,
            settings.arrival_error_um,
        )
        self.steps = StepWatch(plan, microscope.camera.frame_shape, pixel_um)
        self.last_um = 0.0
        self.doubt_ahead = False
        self.verdicts = Verdicts(len(plan))
        self.attempts = np.zeros(len(plan), np.int32)  # by field: how often it was taken
        self.rescanned: list[int] = []
        self.judgements: dict[int, Judgement] = {}
        self._is_measured = np.zeros(len(plan), bool)
        self._centres = np.full(len(plan), np.nan)

    def begin_at(self, planned: PlannedField, z_um: float, now_s: float) -> None:
        """The focus of a field is known to a µm or so."""
        self.surface = FocusSurface(z_um, self._pitch_um)
        self.surface.add(planned.x_um, planned.y_um, z_um, SWEEP_SD_UM, time_s=now_s)
        self.last_um = z_um

    def expect(self, planned: PlannedField, now_s: float) -> Expectation:
        """Where the focus of a field is expected."""
        if self._follows:
            return Expectation(self.last_um, SWEEP_SD_UM)
        return self.surface.expect(planned.x_um, planned.y_um, now_s)

    def begin_attempt(self, planned: PlannedField) -> int:
        """A field is taken, perhaps again: its number of the attempt."""
        attempt = int(self.attempts[planned.index]) + 1
        if attempt > 1 and planned.index not in self.rescanned:
            self.rescanned.append(planned.index)
        self.kept.forget_if_there((planned.row, planned.column))
        return attempt

    def ask(self, planned: PlannedField, shot: Shot, expected: Expectation) -> Asked:
        """What neighbours say of a shot; it is kept until another one is."""
        return Asked(shot, self._keep(planned, shot.frame, shot.z_um, expected))

    def learn(
        self, planned: PlannedField, attempt: int, expected: Expectation, result: FocusResult, asked: Asked | None,
        now_s: float,
    ) -> Expectation | None:  # fmt: skip
        """What a field tells about the others: tissue, surface, the bend of the slide.

        Returns:
            Where its focus is, for `judge`; None where there is nothing to compare.
        """
        self.verdicts[planned.index] = result.verdict
        self.attempts[planned.index] = attempt
        self.tissue.learn(planned, result.verdict != "empty")
        if result.verdict != "focused":
            self.kept.forget_if_there((planned.row, planned.column))  # it may have been asked about
            return None
        self._is_measured[planned.index] = False
        if result.focus_um is None or result.focus_sd_um is None:
            focus = expected
            if asked is not None:
                self._learn_from_neighbours(planned, focus, result.z_um, asked.judgement, now_s)
        else:
            focus = Expectation(result.focus_um, math.hypot(result.focus_sd_um, self._settings.arrival_error_um))
            self._is_measured[planned.index] = True
            if not self._follows:
                self.surface.add(planned.x_um, planned.y_um, focus.z_um, focus.sd_um, time_s=now_s)
            self.last_um = result.focus_um
            self.doubt_ahead = False
        if result.bend_per_um2 is not None:
            self.kept.learn_bend(result.bend_per_um2)
        return None if asked is not None and asked.shot.frame is result.frame else focus

    def judge(self, planned: PlannedField, result: FocusResult, focus: Expectation, now_s: float) -> None:
        """Compare a kept frame with its neighbours; where it is worse, the surface is not to be relied on ahead."""
        self._centres[planned.index] = self._eyes.sharpness.centre(result.frame)
        judgement = self._keep(planned, result.frame, result.z_um, focus, measured=result.focus_um is not None)
        if judgement.out_of_focus > MOST_OUT:
            self.doubt_ahead = True
        if result.focus_um is None:
            self._learn_from_neighbours(planned, focus, result.z_um, judgement, now_s)

    def hear_all(self) -> None:
        """Let every kept frame hear what later ones said."""
        cells = self.kept.settle()
        self.judgements = {
            planned.index: cells[planned.row, planned.column]
            for planned in self._plan
            if (planned.row, planned.column) in cells
        }

    def doubtful(self) -> list[PlannedField]:
        """Fields that are unsure, failed, probably out of focus or unlike the others, in the plan's order."""
        doubtful = self.verdicts.fields("unsure", "failed")
        for index, judged in self.judgements.items():
            if judged.out_of_focus > (MOST_OUT_MEASURED if self._is_measured[index] else MOST_OUT):
                doubtful.add(index)
        doubtful |= self._unlike()
        return [planned for planned in self._plan if planned.index in doubtful]

    def _unlike(self) -> set[int]:
        """Fields of a single image with far less detail than the slide's others."""
        known = self._centres[~np.isnan(self._centres)]
        if not known.size:
            return set()
        least = float(np.median(known)) - LEAST_LIKE
        return set(np.flatnonzero((self._centres < least) & ~self._is_measured).tolist())

    def _keep(
        self, planned: PlannedField, frame: Frame, z_um: float, focus: Expectation, measured: bool = False
    ) -> Judgement:
        cell = (planned.row, planned.column)
        return self.kept.put(cell, frame, z_um, focus, self.surface.between_sd_um, measured)

    def _learn_from_neighbours(
        self, planned: PlannedField, expected: Expectation, z_um: float, judgement: Judgement, now_s: float
    ) -> None:
        """A frame that was only looked at beside its neighbours tells of the focus what its prior did not know."""
        prior_sd_um = math.hypot(expected.sd_um, self._settings.arrival_error_um)
        if judgement.sd_um > _TELLS * prior_sd_um:
            return
        precision = judgement.sd_um**-2 - prior_sd_um**-2
        defocus_um = (judgement.defocus_um / judgement.sd_um**2 - (z_um - expected.z_um) / prior_sd_um**2) / precision
        sd_um = math.hypot(precision**-0.5, _HEARSAY_SD_UM, self._settings.arrival_error_um)
        self.surface.add(planned.x_um, planned.y_um, z_um - defocus_um, sd_um, time_s=now_s, hearsay=True)
