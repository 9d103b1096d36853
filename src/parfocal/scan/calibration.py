"""What an instrument can tell about itself before a scan."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.approach import GuardedZ
from parfocal.devices.microscope import Microscope
from parfocal.errors import SettingsError
from parfocal.focus.predictor import FocusPrediction, PairContrast, Predictor
from parfocal.focus.search import SweepResult
from parfocal.merit import MERITS, tenengrad

MAX_EXCESS_UM = 0.75
"""Slack beyond the configured backlash from which a scan is refused; the stage's own error is about a third of it."""

CHECK_IMAGES = 3
_FLANK_UM = (2.0, 10.0)
_LEAST_SLOPE = 0.1

_OFFSET_PLANES_PER_DELTA = 4
_OFFSET_DELTAS = (2.5, 1.5)  # how far below and above the sweep's peak, in units of Δ
_OFFSET_PAIRS_DELTAS = (-1.1, -0.4)  # where the second images of the pairs lie, likewise: where a scan takes them
_PEAK_DELTAS = 0.8  # half width of the stretch that the parabola is fitted to, likewise
_FOCUS_PX = 448  # side of the square on which best focus is defined, in canonical pixels


@dataclass(frozen=True)
class CorrectedPredictor:
    """A predictor whose mean error on this slide was measured and is taken out.

    Attributes:
        predictor: the network.
        offset_um: what is added to every predicted defocus, in µm.
    """

    predictor: Predictor
    offset_um: float

    def measure(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> PairContrast:
        """Contrast of a pair of frames uint8 (Y, X, 3)."""
        return self.predictor.measure(first, second)

    def predict(self, first: NDArray[np.uint8], second: NDArray[np.uint8], delta_um: float) -> FocusPrediction:
        """Corrected defocus of the second of two frames uint8 (Y, X, 3), `delta_um` apart."""
        prediction = self.predictor.predict(first, second, delta_um)
        return replace(
            prediction,
            defocus_um=prediction.defocus_um + self.offset_um,
            patch_defocus_um=tuple(patch_um + self.offset_um for patch_um in prediction.patch_defocus_um),
        )


@dataclass(frozen=True)
class OffsetMeasurement:
    """The network's mean error on one field, and the exposures that it took.

    Attributes:
        offset_um: what has to be added to a predicted defocus, in µm; None where the focus curve has no clear peak.
        images: exposures.
    """

    offset_um: float | None
    images: int


def measure_offset(microscope: Microscope, z: GuardedZ, predictor: Predictor, pivot_um: float) -> OffsetMeasurement:
    """The network against the focus curve of the field under the lens.

    Planes a quarter of Δ apart are taken upward through the focus. Their Tenengrad gives the focus, and the network is
    asked about all pairs among them whose second image lies where a scan takes it. What a stain or a focal shift does
    to the prediction is the same all over a slide; it is measured here once.

    Args:
        microscope: its camera is used; the lamp is lit.
        z: the guard over its z stage; it is not held to the budgets of a field.
        predictor: the network.
        pivot_um: focus as far as the sweep knows it, in µm.
    """
    delta_um = z.approach.delta_um
    step_um = delta_um / _OFFSET_PLANES_PER_DELTA
    count = round(sum(_OFFSET_DELTAS) * _OFFSET_PLANES_PER_DELTA) + 1
    lowest_um = pivot_um - _OFFSET_DELTAS[0] * delta_um
    planes_um = np.array([lowest_um + step_um * index for index in range(count)])
    z.start_field(travel_budget_um=math.inf, time_budget_s=math.inf)
    side_px = round(_FOCUS_PX * microscope.objective.canonical_pixel_um / microscope.camera.pixel_size_um)
    frames: list[NDArray[np.uint8]] = []
    predicted_focus_um: dict[float, float] = {}
    for plane_um in planes_um.tolist():
        z.approach_from_below(plane_um)
        frames.append(microscope.camera.snap())
        if len(frames) > _OFFSET_PLANES_PER_DELTA:
            first = frames[-1 - _OFFSET_PLANES_PER_DELTA]
            predicted_focus_um[plane_um] = plane_um - predictor.predict(first, frames[-1], delta_um).defocus_um
    scores = np.array([tenengrad(_centre(frame, side_px)) for frame in frames])
    peak_um = _fitted_peak(planes_um, scores, delta_um)
    if peak_um is None:
        return OffsetMeasurement(None, count)
    lowest_um, highest_um = (peak_um + deltas * delta_um for deltas in _OFFSET_PAIRS_DELTAS)
    errors_um = [
        focus_um - peak_um for plane_um, focus_um in predicted_focus_um.items() if lowest_um <= plane_um <= highest_um
    ]
    return OffsetMeasurement(float(np.median(errors_um)) if errors_um else None, count)


def _fitted_peak(z_um: NDArray[np.float64], merit: NDArray[np.float64], delta_um: float) -> float | None:
    """Peak in µm of a parabola through the planes near the best one: steadier than three on a stage with errors."""
    best = int(np.argmax(merit))
    near = np.abs(z_um - z_um[best]) <= _PEAK_DELTAS * delta_um
    if best in (0, len(merit) - 1) or near.sum() < 5:
        return None
    curvature, slope, _ = np.polyfit(z_um[near] - z_um[best], merit[near], 2)
    shift_um = -slope / (2 * curvature) if curvature < 0 else math.inf
    return float(z_um[best] + shift_um) if abs(shift_um) <= delta_um else None


def _centre(frame: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    top, left = (max(0, (n - side_px) // 2) for n in frame.shape[:2])
    return frame[top : top + side_px, left : left + side_px]


def check_backlash(microscope: Microscope, z: GuardedZ, sweep: SweepResult, merit: str = "tenengrad") -> float | None:
    """Test that the configured backlash closes the slack, against the sweep that was just made.

    The stage goes down by the configured backlash only and up again, to a plane on the rising flank of the focus curve.
    Where the slack is larger, the slide stays too high by the difference, and the picture is as sharp as one higher up.
    Call it right after the sweep, which leaves the stage above.

    Args:
        microscope: its camera is used; the lamp is lit.
        z: the guard over its z stage.
        sweep: found there, with the slack closed throughout.
        merit: figure of merit of the sweep.

    Returns:
        Measured slack beyond the configured backlash in µm; None where the curve is too flat to tell. It takes
        `CHECK_IMAGES` exposures, none where the curve is too flat.

    Raises:
        SettingsError: if the slack is larger than configured by more than 0.75 µm.
    """
    flank = _steepest(np.array(sweep.curve_z_um), np.array(sweep.curve_merit))
    if flank is None:
        return None
    curve_z_um, curve_log, plane_um = flank
    apparent_um = []
    for _ in range(CHECK_IMAGES):
        z.move_to(plane_um - z.approach.backlash_um)
        z.move_to(plane_um)
        score = MERITS[merit](microscope.camera.snap())
        apparent_um.append(float(np.interp(np.log(score), curve_log, curve_z_um)))
    excess_um = float(np.mean(apparent_um)) - plane_um
    if excess_um > MAX_EXCESS_UM:
        raise SettingsError(
            f"z backlash is about {z.approach.backlash_um + excess_um:.1f} µm, more than the "
            f"{z.approach.backlash_um:g} µm that {microscope.name} is set up for: raise backlash_um and take_up_um"
        )
    return excess_um


def _steepest(
    z_um: NDArray[np.float64], merit: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float] | None:
    """The rising flank below the peak as (z in µm, ln merit), and its plane from which the curve rises most."""
    peak = int(np.argmax(merit))
    first = peak
    while first > 0 and merit[first - 1] < merit[first]:
        first -= 1
    flank_z_um, flank_log = z_um[first : peak + 1], np.log(np.maximum(merit[first : peak + 1], 1e-12))
    below_um = z_um[peak] - flank_z_um[:-1]
    rise = np.diff(flank_log)
    rise[(below_um < _FLANK_UM[0]) | (below_um > _FLANK_UM[1])] = 0.0
    if rise.size == 0 or rise.max() < _LEAST_SLOPE:
        return None
    return flank_z_um, flank_log, float(flank_z_um[int(np.argmax(rise))])
