"""A quick instrument with real pictures: painted texture instead of optics, blurred away from the focus.

Stages, lamp, sensor, control code, folder and stitching are the program's own. A frame costs a few ms, so that hundreds
of scans can be broken off and gone on with.
"""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal import __version__
from parfocal.devices.approach import ApproachSettings, GuardLimits
from parfocal.devices.base import Frame, Truth
from parfocal.devices.microscope import Microscope
from parfocal.devices.simulated import CameraSettings, SimulatedSettings, XYSettings, ZSettings, simulated_microscope
from parfocal.focus.decision import FocusSettings
from parfocal.focus.predictor import FocusPrediction, PairContrast
from parfocal.focus.search import SweepSettings
from parfocal.optics.sensor import Sensor
from parfocal.scan.plan import ScanPlan, plan_scan
from parfocal.scan.settings import ScanSettings
from parfocal.slide.fields.records import FieldsHeader

FRAME_SHAPE = (240, 320)
PIXEL_UM = 0.345
NEIGHBOUR_ERROR_UM = 4.0

_TEXTURE_PX = 2048
_BLUR_PX_PER_UM = 0.9
_TILT_UM_PER_MM = (2.0, -1.5)
_BASE_UM = 3.0
_ERROR_UM = 0.1
_XY_BACKLASH_UM = 20.0


@dataclass(frozen=True)
class PaintedScan:
    """What a scan of the painted slide needs."""

    microscope: Microscope
    truth: Truth
    settings: ScanSettings
    plan: ScanPlan
    predictor: PaintedPredictor


def painted_scan(side_mm: float, seed: int = 0, lamp_file: Path | None = None, *, homes: bool = False) -> PaintedScan:
    """An instrument over a painted slide, and a plan of a square in its middle.

    Args:
        side_mm: of the square.
        seed: of the stages' errors and the noise; the slide is always the same.
        lamp_file: where its lamp keeps its state; None to keep it in memory.
        homes: whether its stages can find their zero again.
    """
    simulated = SimulatedSettings(
        name="painted",
        camera=CameraSettings(frame_shape=FRAME_SHAPE, pixel_size_um=PIXEL_UM),
        xy=XYSettings(backlash_um=_XY_BACKLASH_UM, screw_um=0.0, homes=homes),
        z=ZSettings(homes=homes),
        lamp_file=lamp_file,
    )
    microscope, truth = simulated_microscope(PaintedSlide(), Sensor(), simulated, surface_um, seed)
    known = PaintedTruth(truth)
    settings = painted_settings()
    plan = plan_scan(
        (side_mm, side_mm), FRAME_SHAPE, PIXEL_UM, NEIGHBOUR_ERROR_UM, ((-12_000.0, 12_000.0), (-12_000.0, 12_000.0))
    )
    return PaintedScan(microscope, known, settings, plan, PaintedPredictor(known, seed))


def painted_header(scan: PaintedScan, seed: int = 0) -> FieldsHeader:
    """What a fields folder says of such a scan."""
    microscope, plan = scan.microscope, scan.plan
    return FieldsHeader(
        version=__version__,
        seed=seed,
        microscope=microscope.name,
        specimen="painted texture",
        pixel_size_um=PIXEL_UM,
        frame_shape=FRAME_SHAPE,
        magnification=microscope.objective.magnification,
        na=microscope.objective.na,
        immersion_index=microscope.objective.immersion_index,
        depth_of_field_um=microscope.depth_of_field_um,
        rows=plan.rows,
        columns=plan.columns,
        overlap=plan.overlap,
        settings=scan.settings.to_json(),
        scan_id=uuid.uuid4().hex,
        started_at=datetime.datetime.now(datetime.UTC),
    )


def painted_settings() -> ScanSettings:
    """How the painted instrument scans: as a small `simulated-20x`."""
    return ScanSettings(
        approach=ApproachSettings(backlash_um=20.0, take_up_um=22.0, start_below_um=6.0, delta_um=2.0),
        limits=GuardLimits(lowest_um=-120.0, highest_um=120.0),
        focus=FocusSettings(),
        sweep=SweepSettings(lowest_um=-20.0, highest_um=20.0, step_um=4.0),
        xy_backlash_um=(_XY_BACKLASH_UM, _XY_BACKLASH_UM),
        neighbour_error_um=NEIGHBOUR_ERROR_UM,
    )


def surface_um(x_um: float, y_um: float) -> float:
    """Where the painted slide is in focus, in µm."""
    return _BASE_UM + (_TILT_UM_PER_MM[0] * x_um + _TILT_UM_PER_MM[1] * y_um) / 1000


class PaintedSlide:
    """A texture that repeats itself every 0.7 mm (`devices.simulated.Optics`)."""

    def field(self, x_um: float, y_um: float, shape: tuple[int, int], pixel_um: float, /) -> PaintedField:
        """The field of this shape (Y, X) in pixels, centred at true (x_um, y_um)."""
        return PaintedField((x_um, y_um), shape, pixel_um)


class PaintedField:
    """One field of it."""

    def __init__(self, centre_um: tuple[float, float], shape: tuple[int, int], pixel_um: float) -> None:
        self._centre_um = centre_um
        self._shape = shape
        self._pixel_um = pixel_um

    def plane(
        self, z_um: float, channels: tuple[int, ...] = (0, 1, 2), shift_px: tuple[float, float] = (0.0, 0.0)
    ) -> NDArray[np.float32]:
        """Light float32 (Y, X, channels) at true stage z_um; 1.0 is empty glass."""
        x_um, y_um = self._centre_um
        left = x_um / self._pixel_um - self._shape[1] / 2 - shift_px[1]
        top = y_um / self._pixel_um - self._shape[0] / 2 - shift_px[0]
        light: NDArray[Any] = _cut(left, top, self._shape)
        sigma_px = _BLUR_PX_PER_UM * abs(z_um - surface_um(x_um, y_um))
        if sigma_px > 0.1:
            light = cv2.GaussianBlur(light, (0, 0), sigma_px)
        return np.asarray(light[..., list(channels)], dtype=np.float32)


def _cut(left: float, top: float, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Part of the repeating texture, its corner at fractions of a pixel."""
    whole_left, whole_top = int(np.floor(left)), int(np.floor(top))
    rows = np.arange(whole_top, whole_top + shape[0] + 1) % _TEXTURE_PX
    columns = np.arange(whole_left, whole_left + shape[1] + 1) % _TEXTURE_PX
    block = _texture()[rows[:, None], columns[None, :]]
    moved = np.array([[1, 0, whole_left - left], [0, 1, whole_top - top]], dtype=np.float64)
    size = (shape[1], shape[0])
    cut = cv2.warpAffine(block, moved, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, dtype=np.float32)


@lru_cache(maxsize=1)
def _texture() -> NDArray[np.float32]:
    """Stain of several sizes, light float32 (Y, X, 3), repeating."""
    rng = np.random.default_rng(20)
    stain = np.zeros((_TEXTURE_PX, _TEXTURE_PX), dtype=np.float32)
    for sigma_px in (1.5, 4.0, 12.0):
        noise = rng.standard_normal((_TEXTURE_PX, _TEXTURE_PX)).astype(np.float32)
        margin = int(4 * sigma_px)
        smooth = cv2.GaussianBlur(np.pad(noise, margin, mode="wrap"), (0, 0), sigma_px)[margin:-margin, margin:-margin]
        stain += smooth / smooth.std()
    density = np.clip(0.25 + 0.1 * stain, 0.0, 1.0)
    return np.asarray(10 ** -(density[..., None] * np.array([0.6, 1.0, 0.5], dtype=np.float32)), dtype=np.float32)


class PaintedTruth:
    """What is true of it (`devices.base.Truth`)."""

    def __init__(self, simulated: Truth) -> None:
        self._simulated = simulated

    @property
    def stage_position_um(self) -> tuple[float, float, float]:
        """True (x, y, z) of the stage in µm."""
        return self._simulated.stage_position_um

    def best_focus_um(self, x_um: float, y_um: float) -> float:
        """Best focus of the field there, in µm."""
        return surface_um(x_um, y_um)

    def is_tissue(self, x_um: float, y_um: float) -> bool:  # noqa: ARG002
        """The texture is everywhere."""
        return True


class PaintedPredictor:
    """A network that knows the truth, and errs by a tenth of a µm. Contrast is that of the frames."""

    def __init__(self, truth: Truth, seed: int) -> None:
        self._truth = truth
        self._rng = np.random.default_rng((seed, 1))

    def measure(self, first: Frame, second: Frame) -> PairContrast:
        """See `focus.predictor.Predictor`."""
        change = second.astype(np.int16) - first
        return PairContrast(image_sd=float(first.std()), difference_sd=float(change.std()))

    def predict(self, first: Frame, second: Frame, delta_um: float) -> FocusPrediction:  # noqa: ARG002
        """See `focus.predictor.Predictor`."""
        x_um, y_um, z_um = self._truth.stage_position_um
        defocus_um = z_um - surface_um(x_um, y_um) + float(self._rng.normal(0.0, _ERROR_UM))
        contrast = self.measure(first, second)
        patches = (defocus_um - 0.1, defocus_um + 0.1)
        return FocusPrediction(defocus_um, 0.1, patches, (1.0, 1.0), contrast.image_sd, contrast.difference_sd)
