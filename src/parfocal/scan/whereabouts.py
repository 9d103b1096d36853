"""Where a stage stands against where it stood before: fields that were taken are visited again, focused and compared.

A stage that lost power may count from another zero, and a slide may have been touched, or another one put in its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import cv2
import numpy as np

from parfocal.devices.approach import GuardedZ, GuardLimits
from parfocal.devices.base import Frame, Homing
from parfocal.devices.microscope import Microscope
from parfocal.devices.shifted import ShiftedXY, ShiftedZ
from parfocal.devices.sideways import CompensatedXY
from parfocal.errors import InstrumentError
from parfocal.focus.controller import focus_by_pairs, within_budget
from parfocal.focus.field import Eyes, Field
from parfocal.focus.policies import make_policy
from parfocal.focus.search import SweepResult, initial_focus
from parfocal.scan.settings import ScanSettings
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord
from parfocal.slide.registration.translation import measure_translation

SAME_PICTURE = 0.3
"""Correlation of two frames of one field from which it is the same field."""

_SIGHTINGS, _TRIES = 3, 8
_CLEAR_SDS = 3.0  # a shift of z is taken out from so many of its standard deviations
_LEAST_PX = 64
_REACH = 0.5  # of a frame's smaller side: how far a slide may have been moved
_JITTER_PX = 2.0


@dataclass(frozen=True)
class Sighting:
    """A field that was found again.

    Attributes:
        index: of the field.
        place_um: (x, y) of the field and z of its focus as it is now, in µm, by the scan's count.
        sd_um: standard deviation of that z, in µm.
        z_shift_um: by how much higher the stage stands by its own count, in µm.
        z_shift_sd_um: its standard deviation in µm.
        xy_shift_um: by how much farther, in µm; None where the pictures are too small to tell.
        likeness: correlation of the picture with the one that was kept; None likewise.
    """

    index: int
    place_um: tuple[float, float, float]
    sd_um: float
    z_shift_um: float
    z_shift_sd_um: float
    xy_shift_um: tuple[float, float] | None
    likeness: float | None


@dataclass(frozen=True)
class Whereabouts:
    """By how much the stage's count has moved since a folder's fields were taken.

    Attributes:
        z_um: what was z = 0, by the stage's count now, in µm; 0 where that is within the error.
        xy_um: what was (0, 0), likewise.
        sightings: the fields that tell so; z of their foci by the scan's count.
        images: exposures that it took.
        sweep: how the focus of the first of them was found; None where no field was known.
    """

    z_um: float = 0.0
    xy_um: tuple[float, float] = (0.0, 0.0)
    sightings: tuple[Sighting, ...] = ()
    images: int = 0
    sweep: SweepResult | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        seen = [seen.index for seen in self.sightings]
        return {"z_shift_um": round(self.z_um, 4), "xy_shift_um": [round(um, 3) for um in self.xy_um], "seen": seen}


def home(microscope: Microscope) -> bool:
    """Let the stages that can find their zero again, z first, away from the objective. Whether there is one."""
    stages = [stage for stage in (microscope.z, microscope.xy) if isinstance(stage, Homing)]
    for stage in stages:
        stage.home()
    return bool(stages)


def known_fields(folder: FieldsFolder) -> list[FieldRecord]:
    """Fields of a scan that can be looked for: in focus, measured, the frame whole. Eight at most, the last ones first.

    Their frames are read, which takes its time on a slow disk: no lamp should be lit meanwhile.
    """
    return list(islice((record for record in reversed(folder.records) if _is_known(folder, record)), _TRIES))


def find_again(
    microscope: Microscope,
    settings: ScanSettings,
    eyes: Eyes,
    folder: FieldsFolder,
    known: Sequence[FieldRecord],
    *,
    same_slide: bool = True,
) -> Whereabouts:
    """Visit up to three fields that a scan measured. The lamp is lit by the caller.

    Args:
        microscope: the instrument.
        settings: how it sweeps, approaches and focuses.
        eyes: what looks at frames.
        folder: of the scan.
        known: fields to look for, in this order (`known_fields`); where there are none, nothing is known afterwards.
        same_slide: whether to refuse a slide that looks different.

    Raises:
        InstrumentError: if no focus is found again, or the pictures are of something else.
    """
    search = _Search(microscope, settings, eyes, folder)
    for record in known:
        if len(search.sightings) < _SIGHTINGS:
            search.look(record)
    if not known:
        return Whereabouts()
    seen = search.sightings
    if not seen:
        raise InstrumentError(
            f"of {len(known)} fields that were in focus before, none came into focus again; at the last one: "
            f"{search.reason}; is it the same slide?"
        )
    likeness = [one.likeness for one in seen if one.likeness is not None]
    if same_slide and likeness and max(likeness) < SAME_PICTURE:
        raise InstrumentError(
            f"field {seen[0].index} does not look as it did (correlation {max(likeness):.2f}, {SAME_PICTURE:g} is "
            f"needed): another slide, or moved by more than {search.reach_um:.0f} µm"
        )
    where = _whereabouts(seen, settings, microscope.camera.pixel_size_um)
    return replace(where, images=search.images, sweep=search.sweep)


def shifted(microscope: Microscope, where: Whereabouts, limits: GuardLimits) -> Microscope:
    """The same instrument, which counts as it did before."""
    if where.z_um:
        own_um = (limits.lowest_um, limits.highest_um)
        microscope = replace(microscope, z=ShiftedZ(microscope.z, where.z_um, own_um))
    if any(where.xy_um):
        microscope = replace(microscope, xy=ShiftedXY(microscope.xy, where.xy_um))
    return microscope


def _is_known(folder: FieldsFolder, record: FieldRecord) -> bool:
    is_measured = record.verdict == "focused" and record.focus.get("focus_sd_um") is not None
    return is_measured and folder.damage(record) is None


def _whereabouts(seen: Sequence[Sighting], settings: ScanSettings, pixel_um: float) -> Whereabouts:
    weights = np.array([one.z_shift_sd_um**-2 for one in seen])
    z_um = float(np.array([one.z_shift_um for one in seen]) @ weights / weights.sum())
    z_um = z_um if abs(z_um) > _CLEAR_SDS * float(weights.sum()) ** -0.5 else 0.0
    alike = [one.xy_shift_um for one in seen if one.xy_shift_um is not None and (one.likeness or 0.0) >= SAME_PICTURE]
    x_um, y_um = (float(np.median([shift[axis] for shift in alike])) if alike else 0.0 for axis in (0, 1))
    within_um = 3 * settings.neighbour_error_um + _JITTER_PX * pixel_um
    xy_um = (x_um, y_um) if math.hypot(x_um, y_um) > within_um else (0.0, 0.0)
    at_scan = tuple(replace(one, place_um=(*one.place_um[:2], one.place_um[2] - z_um)) for one in seen)
    return Whereabouts(z_um, xy_um, at_scan)


class _Search:
    """Fields looked for one after the other; once one is found, the next are near."""

    def __init__(self, microscope: Microscope, settings: ScanSettings, eyes: Eyes, folder: FieldsFolder) -> None:
        depth_um = microscope.depth_of_field_um
        policy = make_policy("surface", settings.approach, settings.focus, depth_um)
        self._microscope, self._settings, self._eyes, self._folder = microscope, settings, eyes, folder
        self._focus_settings = policy.focus_settings
        self._z = GuardedZ(microscope.z, microscope.clock, policy.approach, settings.limits)
        self._xy = CompensatedXY(microscope.xy, settings.xy_backlash_um)
        self.reach_um = _REACH * min(microscope.camera.frame_shape) * microscope.camera.pixel_size_um
        self.sightings: list[Sighting] = []
        self.sweep: SweepResult | None = None
        self.images = 0
        self.reason = ""

    def look(self, record: FieldRecord) -> None:
        """Go to a field, focus it and compare it with what was kept."""
        self._xy.move_to(record.stage_x_um, record.stage_y_um)
        pivot_um = self._pivot_um(record)
        if pivot_um is None:
            return
        self._z.start_field()
        field = Field(self._microscope, self._z, self._eyes, self._focus_settings)
        result = within_budget(field, lambda: focus_by_pairs(field, pivot_um))
        self.images += result.images
        if result.verdict != "focused" or result.focus_um is None or result.focus_sd_um is None:
            self.reason = result.reason
            return
        sd_um = math.hypot(result.focus_sd_um, self._settings.arrival_error_um)
        then_sd_um = math.hypot(float(record.focus["focus_sd_um"]), self._settings.arrival_error_um)
        shift_um, likeness = self._compare(self._folder.frame(record), result.frame)
        self.sightings.append(
            Sighting(
                index=record.index,
                place_um=(record.stage_x_um, record.stage_y_um, result.focus_um),
                sd_um=sd_um,
                z_shift_um=result.focus_um - float(record.focus["focus_um"]),
                z_shift_sd_um=math.hypot(sd_um, then_sd_um),
                xy_shift_um=shift_um,
                likeness=likeness,
            )
        )

    def _pivot_um(self, record: FieldRecord) -> float | None:
        if self.sightings:
            return float(record.focus["focus_um"]) + self.sightings[-1].z_shift_um
        sweep = initial_focus(self._microscope, self._z, self._settings.sweep)
        self.images += sweep.images
        self.sweep, self.reason = sweep, sweep.reason
        return sweep.z_um if sweep.verdict == "found" else None

    def _compare(self, then: Frame, now: Frame) -> tuple[tuple[float, float] | None, float | None]:
        """By how much farther the stage stands by its own count than it did, in µm, and how alike the pictures are."""
        if min(now.shape[:2]) < _LEAST_PX:
            return None, None
        pixel_um = self._microscope.camera.pixel_size_um
        grey_then, grey_now = (np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in (then, now))
        found = measure_translation(grey_then, grey_now, (0.0, 0.0), self.reach_um / pixel_um)
        if found is None:
            return None, 0.0
        return (-found.dx * pixel_um, -found.dy * pixel_um), found.quality
