"""Focal stacks from one's own instrument, to train on (paper, section 4.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from parfocal import __version__
from parfocal.devices.approach import GuardedZ, lamp_lit
from parfocal.devices.microscope import Microscope
from parfocal.devices.sideways import CompensatedXY
from parfocal.errors import InstrumentError, ScanStoppedError, SettingsError
from parfocal.focus.search import SweepSettings, initial_focus
from parfocal.merit import tenengrad
from parfocal.scan.collection import Collection, CollectSettings
from parfocal.scan.crop import Crop, crop_of
from parfocal.scan.places import Place, survey
from parfocal.scan.plan import ScanPlan
from parfocal.scan.settings import ScanSettings
from parfocal.stacks.labels import FocusLabel, judge_curve
from parfocal.stacks.recorder import StackRecorder

__all__ = ["CollectSettings", "Collected", "collect"]

CURVE_MERIT = "tenengrad"
_TRIES_PER_STACK = 4
_NEAR_STEPS = 8  # of a sweep, to each side of the last focus

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Collected:
    """One recorded stack.

    Attributes:
        name: of its folder.
        place_um: (x, y) of the stage in µm.
        label: its curve, the peak and what is doubtful about it.
    """

    name: str
    place_um: Place
    label: FocusLabel


def collect(
    microscope: Microscope,
    settings: ScanSettings,
    wanted: CollectSettings,
    plan: ScanPlan,
    folder: Path,
    slide: str,
    on_progress: OnProgress | None = None,
) -> tuple[Collected, ...]:
    """Record focal stacks of a slide at places that show something, spread over the planned fields.

    At each place a sweep finds the focus, then the stage rises through the range in steps; once a focus is known, the
    sweep begins near it. Stacks that are there already stay; the same call goes on with those that are missing. The
    lamp is off afterwards, whatever happens.

    Args:
        microscope: the instrument.
        settings: how it approaches, sweeps and moves sideways.
        wanted: which stacks.
        plan: fields of the area.
        folder: gets a folder for each stack; other slides' stacks may be in it.
        slide: name of the slide, which training does not split.
        on_progress: called with what, how many are done, of how many.

    Returns:
        The stacks that were recorded now, in order. Fewer than wanted are in the folder where no focus is found at
        more places.

    Raises:
        SettingsError: if the area holds fewer fields than stacks, the range does not fit the z limits, the frame holds
            no patch, or the folder holds other stacks of this slide; nothing has moved.
        FileError: if the folder holds something else, or cannot be written.
        ScanStoppedError: if no place shows anything or none a focus, the instrument fails, or the collection is
            interrupted; whole stacks are kept.
    """
    crop = crop_of(microscope, full_frame=wanted.full_frame)
    z = GuardedZ(microscope.z, microscope.clock, settings.approach, settings.limits)
    _check(wanted, plan, z)
    told = {**asdict(wanted), "microscope": microscope.name, "centre_um": list(plan.centre_um)}
    collection = Collection(folder, slide, told | {"fields": [plan.rows, plan.columns]})
    run = _Run(microscope, settings, wanted, crop, z, collection, on_progress)
    if collection.count() >= wanted.stacks:
        return ()
    try:
        with lamp_lit(microscope.lamp):
            return run.record_missing(plan)
    except KeyboardInterrupt as error:
        raise ScanStoppedError(f"interrupted: {run.state}; the same command goes on") from error
    except InstrumentError as error:
        raise ScanStoppedError(f"stopped: {run.state}: {error}") from error


def _check(wanted: CollectSettings, plan: ScanPlan, z: GuardedZ) -> None:
    if wanted.stacks > len(plan):
        raise SettingsError(f"{wanted.stacks} stacks, but the area holds {len(plan)} fields: give a larger area")
    needed_um, room_um = 2 * wanted.range_um + z.approach.take_up_um, z.highest_um - z.lowest_um
    if needed_um > room_um:
        raise SettingsError(
            f"range ±{wanted.range_um:g} µm with a take-up of {z.approach.take_up_um:g} µm needs {needed_um:g} µm "
            f"of z, the limits leave {room_um:g} µm"
        )


def _near(sweep: SweepSettings, focus_um: float) -> SweepSettings | None:
    """The part of a sweep around a focus; None where that is no shorter, or hardly anything."""
    reach_um = _NEAR_STEPS * sweep.step_um
    lowest_um, highest_um = max(sweep.lowest_um, focus_um - reach_um), min(sweep.highest_um, focus_um + reach_um)
    is_short = highest_um - lowest_um < sweep.highest_um - sweep.lowest_um - sweep.step_um
    return replace(sweep, lowest_um=lowest_um, highest_um=highest_um) if is_short else None


class _Run:
    """One collection while it is made."""

    def __init__(
        self,
        microscope: Microscope,
        settings: ScanSettings,
        wanted: CollectSettings,
        crop: Crop,
        z: GuardedZ,
        collection: Collection,
        on_progress: OnProgress | None,
    ) -> None:
        self._microscope, self._settings, self._wanted, self._crop = microscope, settings, wanted, crop
        self._z, self._collection, self._on_progress = z, collection, on_progress
        self._xy = CompensatedXY(microscope.xy, settings.xy_backlash_um)
        self._focus_um: float | None = None
        self._reason = ""

    @property
    def state(self) -> str:
        """How many stacks there are, in words."""
        return f"{self._collection.count()} of {self._wanted.stacks} stacks of {self._collection.slide} are whole"

    def record_missing(self, plan: ScanPlan) -> tuple[Collected, ...]:
        places = self._collection.places or self._find_places(plan)
        made: list[Collected] = []
        for name, place in self._collection.missing(places[: _TRIES_PER_STACK * self._wanted.stacks]):
            if self._collection.count() >= self._wanted.stacks:
                break
            focus_um = self._find_focus(place)
            if focus_um is not None:
                made.append(self._record(name, place, focus_um))
        if not self._collection.count():
            raise InstrumentError(f"no focus found at any of the places; at the last one: {self._reason}")
        return tuple(made)

    def _find_places(self, plan: ScanPlan) -> tuple[Place, ...]:
        sweep = self._settings.sweep
        places = survey(
            self._microscope,
            self._xy,
            self._z,
            tuple(plan),
            z_um=(sweep.lowest_um + sweep.highest_um) / 2,
            stacks=self._wanted.stacks,
            empty_sd=self._settings.focus.empty_sd,
            view=self._crop.cut,
            on_look=lambda done, total: self._tell("looking for places", done, total),
        )
        return self._collection.begin(places)

    def _find_focus(self, place: Place) -> float | None:
        """Sweep near the last focus, and through all of the range where it is not there."""
        self._xy.move_to(*place)
        near = None if self._focus_um is None else _near(self._settings.sweep, self._focus_um)
        for settings in (near, self._settings.sweep):
            if settings is None:
                continue
            sweep = initial_focus(self._microscope, self._z, settings)
            self._reason = sweep.reason
            if sweep.verdict == "found":
                self._focus_um = sweep.z_um
                return sweep.z_um
        return None

    def _tell(self, what: str, done: int, total: int) -> None:
        if self._on_progress:
            self._on_progress(what, done, total)

    def _record(self, name: str, place: Place, focus_um: float) -> Collected:
        """Rise through the range, from the lowest plane on."""
        targets_um = [focus_um + offset_um for offset_um in self._wanted.offsets_um]
        self._z.start_field(travel_budget_um=math.inf, time_budget_s=math.inf)
        self._z.check_reach(targets_um[-1])
        before = self._collection.count() * len(targets_um)
        z_um, score = [], []
        with StackRecorder(self._collection.folder / name) as recorder:
            for done, target_um in enumerate(targets_um, start=1):
                self._z.approach_from_below(target_um)
                plane = self._crop.cut(self._microscope.camera.snap())
                z_um.append(round(self._z.position_um, 3))
                score.append(tenengrad(plane))
                recorder.add(plane, z_um[-1])
                self._tell("recording planes", before + done, self._wanted.stacks * len(targets_um))
            label = judge_curve(np.array(z_um), np.array(score))
            recorder.finish(self._describe(place, label))
        return Collected(name, place, label)

    def _describe(self, place: Place, label: FocusLabel) -> dict[str, Any]:
        """What `stack.json` says. A peak in doubt is no label before a human has looked."""
        microscope = self._microscope
        return {
            "kind": "recorded",
            "slide": self._collection.slide,
            "z_unit": "um",
            "best_z": None if label.doubts else round(label.best_z, 4),
            "label_state": "auto",
            "pixel_size_um": self._crop.pixel_size_um,
            "na": microscope.objective.na,
            "magnification": microscope.objective.magnification,
            "immersion_index": microscope.objective.immersion_index,
            "step_um": self._wanted.step_um,
            "microscope": microscope.name,
            "sensor_pixel_um": microscope.sensor_pixel_um,
            "camera_pixel_size_um": microscope.camera.pixel_size_um,
            "stage_um": list(place),
            "version": __version__,
            "curve": {
                "merit": CURVE_MERIT,
                "z": label.z.tolist(),
                "score": [round(value, 4) for value in label.score.tolist()],
                "peak_z": round(label.best_z, 4),
                "suspected_z": list(label.suspected_z),
                "doubts": list(label.doubts),
            },
        }
