"""A scan of very many fields: does memory stay, and is the folder consistent? And what durability costs a field."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal import __version__
from parfocal.benchmark.fault_outcome import damaged
from parfocal.benchmark.painted import PIXEL_UM, painted_settings
from parfocal.devices.base import Clock, Frame, Lamp
from parfocal.devices.microscope import Microscope
from parfocal.devices.simulated import (
    CameraSettings,
    SimulatedLamp,
    SimulatedSettings,
    SimulatedXYStage,
    SimulatedZStage,
    VirtualClock,
    XYSettings,
    ZSettings,
)
from parfocal.devices.watched import watched
from parfocal.focus.predictor import FocusPrediction, PairContrast
from parfocal.scan.plan import ScanPlan
from parfocal.scan.progress import ScanProgress
from parfocal.scan.scanner import scan_fields
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter

POOL = (5, 10)
"""Rows and columns of the pictures that repeat over the slide: 50 of them."""

SETTLED_AT = 5000
"""Field at which memory counts as settled."""

_SHAPE = (120, 160)
_STEP_PX = (96, 128)
_FOCUS_UM = 3.0
_BLUR_STEP_UM = 0.5
_NOISE_SD = 1.5
_LARGE_SHAPE = (1024, 1224)
_AS_THE_WRITER = [
    cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
]  # fmt: skip

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Endured:
    """A long scan.

    Attributes:
        fields: that were scanned.
        settled_mib: resident memory at field 5,000, or half way where there are fewer, in MiB.
        end_mib: at the last field.
        damaged: fields that are not there byte for byte.
        journal_lines: of the journal, all of them readable.
        seconds: that it took.
    """

    fields: int
    settled_mib: float
    end_mib: float
    damaged: int
    journal_lines: int
    seconds: float

    @property
    def grown_mib(self) -> float:
        """Memory at the end beyond what had settled, in MiB."""
        return self.end_mib - self.settled_mib

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"grown_mib": self.grown_mib}


def endure(fields: int, folder: Path, progress: Progress) -> Endured:
    """Scan at least so many fields of a slide that repeats itself.

    Args:
        fields: how many.
        folder: for them, 10 to 20 kB each; not there yet.
        progress: called with what, how many are done, how many there are.
    """
    began_s = time.monotonic()
    columns = max(2, int(np.sqrt(fields)))
    step_um = (_STEP_PX[1] * PIXEL_UM, _STEP_PX[0] * PIXEL_UM)
    plan = ScanPlan((0.0, 0.0), -(-fields // columns), columns, step_um, 0.2)
    microscope, predictor = _pooled_microscope(plan)
    settings = replace(painted_settings(), xy_backlash_um=(0.0, 0.0), neighbour_error_um=0.0)
    settled_at, memory = min(SETTLED_AT, len(plan) // 2), [0.0, 0.0]

    def on_field(_: FieldRecord, done: ScanProgress) -> None:
        if done.fields_done == settled_at:
            memory[0] = _resident_mib()
        memory[1] = _resident_mib() if done.fields_done == len(plan) else memory[1]
        progress("scanning", done.fields_done, len(plan))

    with FieldsWriter(folder, _header(microscope, plan, _SHAPE)) as writer:
        scan_fields(watched(microscope), settings, predictor, plan, writer, on_field)
    lines = 0
    with (folder / "journal.jsonl").open(encoding="utf-8") as journal:
        for line in journal:
            json.loads(line)
            lines += 1
    lost = damaged(folder, len(plan))
    return Endured(len(plan), memory[0], memory[1], lost, lines, time.monotonic() - began_s)


@dataclass(frozen=True)
class Durability:
    """What it costs to have a field of 1,224 × 1,024 px on disk, medians in ms.

    Attributes:
        writer_ms: of the writer's thread, for a field: encoded, written, synchronised, its record too.
        encode_ms: of that, the JPEG alone.
        control_ms: of the thread that controls the instrument.
    """

    writer_ms: float
    encode_ms: float
    control_ms: float


def durability(folder: Path, fields: int = 60) -> Durability:
    """Write fields as a scan does, and take the time of each.

    Args:
        folder: for them; not there yet.
        fields: how many.
    """
    frame = _large_frame()
    plan = ScanPlan((0.0, 0.0), 1, fields, (100.0, 100.0), 0.1)
    microscope, _ = _pooled_microscope(plan)
    control_s, encode_s = [], []
    with _TimedWriter(folder, _header(microscope, plan, _LARGE_SHAPE)) as writer:
        for planned in plan:
            record = FieldRecord(
                planned.index, planned.row, planned.column, planned.x_um, planned.y_um, 0.0, "focused", 1
            )
            began_s = time.perf_counter()
            writer.put(record, frame)
            control_s.append(time.perf_counter() - began_s)
            writer.sync()
        spent_s = list(writer.spent_s)
    for _ in range(fields // 3):
        began_s = time.perf_counter()
        cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), _AS_THE_WRITER)
        encode_s.append(time.perf_counter() - began_s)
    return Durability(*(1000 * statistics.median(times) for times in (spent_s, encode_s, control_s)))


class _TimedWriter(FieldsWriter):
    """Takes the time of every field's way to the disk."""

    def __init__(self, path: Path, header: FieldsHeader) -> None:
        self.spent_s: list[float] = []
        super().__init__(path, header)

    def _write(self, file: str, frame: Frame, body: str) -> None:
        began_s = time.perf_counter()
        super()._write(file, frame, body)
        self.spent_s.append(time.perf_counter() - began_s)


def _pooled_microscope(plan: ScanPlan) -> tuple[Microscope, _PooledPredictor]:
    clock, lamp = VirtualClock(), SimulatedLamp()
    xy_rng, z_rng = np.random.default_rng(1).spawn(2)
    reach_um = 1000.0 + max(plan.step_um[0] * plan.columns, plan.step_um[1] * plan.rows)
    limits_um = ((-reach_um, reach_um), (-reach_um, reach_um))
    xy = SimulatedXYStage(XYSettings(limits_um=limits_um, backlash_um=0.0, screw_um=0.0, error_um=0.0), clock, xy_rng)
    z = SimulatedZStage(ZSettings(error_um=0.05), clock, z_rng)
    camera = _PooledCamera(xy, z, clock, lamp)
    optics = SimulatedSettings()
    microscope = Microscope("pooled", camera, xy, z, lamp, clock, optics.objective, optics.sensor_pixel_um)
    return microscope, _PooledPredictor(z)


class _PooledCamera:
    """Shows one of fifty pictures, as blurred as z is off, and noise."""

    def __init__(self, xy: SimulatedXYStage, z: SimulatedZStage, clock: Clock, lamp: Lamp) -> None:
        self._xy, self._z, self._clock, self._lamp = xy, z, clock, lamp
        self._rng = np.random.default_rng(2)
        self._noise = (_NOISE_SD * self._rng.standard_normal((2 * _SHAPE[0], 2 * _SHAPE[1], 3))).astype(np.int16)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return _SHAPE

    @property
    def pixel_size_um(self) -> float:
        """Size of a pixel in µm."""
        return PIXEL_UM

    def snap(self) -> Frame:
        """The picture of the field under the lens, uint8 (Y, X, 3)."""
        self._clock.spend(CameraSettings().frame_s)
        x_um, y_um = self._xy.true_um
        corner = (round(y_um / PIXEL_UM) % (POOL[0] * _STEP_PX[0]), round(x_um / PIXEL_UM) % (POOL[1] * _STEP_PX[1]))
        blur = min(40, round(abs(self._z.true_um - _FOCUS_UM) / _BLUR_STEP_UM))
        y, x = self._rng.integers(0, _SHAPE[0]), self._rng.integers(0, _SHAPE[1])
        noise = self._noise[y : y + _SHAPE[0], x : x + _SHAPE[1]]
        return np.asarray(np.clip(_picture(corner, blur) + noise, 1, 254), dtype=np.uint8)


@lru_cache(maxsize=400)
def _picture(corner: tuple[int, int], blur: int) -> NDArray[np.int16]:
    rows = np.arange(corner[0], corner[0] + _SHAPE[0]) % (POOL[0] * _STEP_PX[0])
    columns = np.arange(corner[1], corner[1] + _SHAPE[1]) % (POOL[1] * _STEP_PX[1])
    picture = _torus()[rows[:, None], columns[None, :]]
    return picture if blur == 0 else np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.5 * blur), dtype=np.int16)


@lru_cache(maxsize=1)
def _torus() -> NDArray[np.int16]:
    """Pictures of all fields in one, int16 (Y, X, 3), repeating."""
    shape = (POOL[0] * _STEP_PX[0], POOL[1] * _STEP_PX[1])
    noise = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    smooth: NDArray[Any] = cv2.GaussianBlur(np.pad(noise, 8, mode="wrap"), (0, 0), 1.5)[8:-8, 8:-8]
    grey = np.clip(150 + 40 * smooth / smooth.std(), 20, 235)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.int16)


@dataclass
class _PooledPredictor:
    """A network that knows where z is."""

    z: SimulatedZStage
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(4))

    def measure(self, first: Frame, second: Frame) -> PairContrast:
        """See `focus.predictor.Predictor`."""
        change = second.astype(np.int16) - first
        return PairContrast(float(first.std()), float(change.std()))

    def predict(self, first: Frame, second: Frame, delta_um: float) -> FocusPrediction:  # noqa: ARG002
        """See `focus.predictor.Predictor`."""
        defocus_um = self.z.true_um - _FOCUS_UM + float(self.rng.normal(0.0, 0.1))
        seen = self.measure(first, second)
        patches = (defocus_um - 0.1, defocus_um + 0.1)
        return FocusPrediction(defocus_um, 0.1, patches, (1.0, 1.0), seen.image_sd, seen.difference_sd)


@lru_cache(maxsize=1)
def _large_frame() -> Frame:
    rng = np.random.default_rng(5)
    stain: NDArray[Any] = cv2.GaussianBlur(rng.standard_normal((*_LARGE_SHAPE, 3)).astype(np.float32), (0, 0), 2.0)
    grey = 170 + 40 * stain / stain.std() + rng.normal(0, _NOISE_SD, stain.shape)
    return np.asarray(np.clip(grey, 0, 255), dtype=np.uint8)


def _header(microscope: Microscope, plan: ScanPlan, frame_shape: tuple[int, int]) -> FieldsHeader:
    return FieldsHeader(
        version=__version__,
        seed=0,
        microscope=microscope.name,
        specimen="fifty pictures",
        pixel_size_um=PIXEL_UM,
        frame_shape=frame_shape,
        magnification=microscope.objective.magnification,
        na=microscope.objective.na,
        immersion_index=microscope.objective.immersion_index,
        depth_of_field_um=microscope.depth_of_field_um,
        rows=plan.rows,
        columns=plan.columns,
        overlap=plan.overlap,
    )


def _resident_mib() -> float:
    """Memory that this process holds now; where the system does not tell, the most that it ever held."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
