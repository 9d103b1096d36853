"""Scans of the modelled instrument (`parfocal.benchmark.modelled`), its devices at fault where a test wants that."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import parfocal
from parfocal.benchmark.bank import OBJECTIVE, PIXEL_UM, SENSOR_PIXEL_UM, read_bank
from parfocal.benchmark.modelled import ModelledScan, modelled_scan
from parfocal.benchmark.slides import SLIDES, PolicySlide
from parfocal.config import open_microscope
from parfocal.devices.approach import lamp_lit
from parfocal.errors import InstrumentError
from parfocal.focus.field import Eyes
from parfocal.focus.predictor import PairContrast
from parfocal.scan.plan import ScanPlan
from parfocal.scan.run import ScanRun
from parfocal.scan.settings import ScanSettings
from parfocal.slide.fields.records import FieldRecord

FRAME_SHAPE = (928, 928)
STEP_UM = 288.0
DECISION_S = 0.015


@cache
def bank():
    return read_bank(Path(parfocal.__file__).parent / "benchmark" / "error-model.npz")


@cache
def paper_settings() -> ScanSettings:
    """How the instrument of the policies' benchmark scans."""
    return open_microscope("paper-40x", "blood-smear", 0).settings


def slide_named(name: str) -> PolicySlide:
    return next(slide for slide in SLIDES if slide.name == name)


def square_plan(side: int, rows: int | None = None) -> ScanPlan:
    return ScanPlan((0.0, 0.0), rows or side, side, (STEP_UM, STEP_UM), 0.1)


def modelled(
    slide: PolicySlide | str = "tilted", side: int = 6, seed: int = 0, rows: int | None = None
) -> ModelledScan:
    """Devices, eyes and truth over `rows` × `side` fields of a slide."""
    one = slide_named(slide) if isinstance(slide, str) else slide
    plan = square_plan(side, rows)
    return modelled_scan(one, plan, bank(), seed, OBJECTIVE, SENSOR_PIXEL_UM, DECISION_S, FRAME_SHAPE, PIXEL_UM)


class FaultyZ:
    """A z stage that truly stands `off_um()` above where it would."""

    def __init__(self, stage: Any, off_um: Callable[[], float]) -> None:
        self._stage = stage
        self._off_um = off_um

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    @property
    def true_um(self) -> float:
        return self._stage.true_um + self._off_um()


def with_z(scan: ModelledScan, off_um: Callable[[], float]) -> ModelledScan:
    """The same with a z stage that truly stands elsewhere."""
    stage = FaultyZ(scan.microscope.z, off_um)
    scan.microscope.camera._z = stage
    scan.truth._z = stage
    return replace(scan, microscope=replace(scan.microscope, z=stage))


class DeadFrames:
    """Eyes over a camera some of whose frames are black: no contrast, no sharpness, nothing shared with others."""

    def __init__(self, eyes: Any, is_dead: Callable[[Any], bool], seed: int = 0) -> None:
        self._eyes = eyes
        self._is_dead = is_dead
        self._rng = np.random.default_rng(seed)

    def measure(self, first, second):
        if self._is_dead(first):
            return PairContrast(0.0, 0.0 if first is second else 20.0)
        seen = self._eyes.measure(first, first if self._is_dead(second) else second)
        return PairContrast(seen.image_sd, 20.0) if self._is_dead(second) else seen

    def predict(self, first, second, delta_um):
        if not self._is_dead(second):
            return self._eyes.predict(first, second, delta_um)
        said = self._eyes.predict(first, first, delta_um)
        return replace(said, defocus_um=float(self._rng.uniform(-10, 10)), spread_um=3.0)

    def is_blank(self, frame):
        return self._is_dead(frame)

    def centre(self, frame):
        return -20.7 if self._is_dead(frame) else self._eyes.centre(frame)

    def whole(self, frame):
        return 0.0 if self._is_dead(frame) else self._eyes.whole(frame)

    def edges(self, frame):
        return frame

    def compare(self, edges, other, apart_px):
        if self._is_dead(edges) or self._is_dead(other):
            return None
        return self._eyes.compare(edges, other, apart_px)


def serial(frame) -> int:
    """Number of a modelled frame, in the order of exposure."""
    return int.from_bytes(frame.tobytes(), "big")


def with_dead_frames(scan: ModelledScan, share: float, seed: int = 0) -> tuple[ModelledScan, Callable[[Any], bool]]:
    """The same with a camera that now and then returns a black frame; also, what tells which."""
    dead = np.random.default_rng(seed).random(100_000) < share

    def is_dead(frame) -> bool:
        return bool(dead[serial(frame)])

    eyes = DeadFrames(scan.eyes.sharpness, is_dead, seed)
    return replace(scan, eyes=Eyes(eyes, eyes)), is_dead


@dataclass
class Outcome:
    """What a scan came to: every attempt, its last word on each field, and the true errors in µm of what was kept."""

    depth_um: float
    attempts: list[FieldRecord] = field(default_factory=list)
    frames: dict[int, Any] = field(default_factory=dict)
    error_um: dict[int, float] = field(default_factory=dict)
    in_doubt: set[int] = field(default_factory=set)
    rescanned: list[int] = field(default_factory=list)
    stopped: str | None = None
    took_s: float = 0.0

    @property
    def last(self) -> dict[int, FieldRecord]:
        return {record.index: record for record in self.attempts}

    @property
    def verdicts(self) -> Counter:
        return Counter(record.verdict for record in self.last.values())

    @property
    def images_per_field(self) -> float:
        return sum(record.images for record in self.attempts) / len(self.last)

    @property
    def in_focus(self) -> set[int]:
        """Fields whose kept frame is truly within half the depth of field, and called focused."""
        half_um = self.depth_um / 2
        return {
            index
            for index, record in self.last.items()
            if record.verdict == "focused" and abs(self.error_um[index]) <= half_um
        }

    @property
    def unnoticed(self) -> set[int]:
        """Fields called focused whose frame is out of focus, and not in doubt."""
        focused = {index for index, record in self.last.items() if record.verdict == "focused"}
        return focused - self.in_focus - self.in_doubt

    @property
    def share_in_focus(self) -> float:
        return len(self.in_focus) / len(self.last)


def run(
    scan: ModelledScan,
    side: int = 6,
    rows: int | None = None,
    settings: ScanSettings | None = None,
    before_field: Callable[[int], None] = lambda done: None,
) -> Outcome:
    """Scan all fields; an error of the instrument ends it and is written down. `before_field` gets the fields done."""
    plan, microscope = square_plan(side, rows), scan.microscope
    outcome = Outcome(microscope.depth_of_field_um)
    began_s = microscope.clock.now_s
    scanning = ScanRun(microscope, settings or paper_settings(), scan.eyes, plan, scan.truth)
    first = next(iter(plan))
    scanning.begin_at(first, scan.known_um(first))
    before_field(0)
    try:
        with lamp_lit(microscope.lamp):
            for record, frame in scanning.fields():
                x_um, y_um, z_um = record.true_stage_um
                outcome.attempts.append(record)
                outcome.frames[record.index] = frame
                outcome.error_um[record.index] = z_um - scan.truth.best_focus_um(x_um, y_um)
                before_field(len(outcome.attempts))
    except InstrumentError as error:
        outcome.stopped = str(error)
    outcome.in_doubt = set(scanning.in_doubt)
    outcome.rescanned = list(scanning.rescanned)
    outcome.took_s = microscope.clock.now_s - began_s
    return outcome
