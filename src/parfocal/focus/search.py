"""Where the focus is before anything is known: an upward sweep from below (paper, section 4.3.1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from parfocal.devices.approach import GuardedZ
from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.errors import InstrumentError, SettingsError
from parfocal.merit import best_focus, tenengrad, variance_of_laplacian

SweepMerit = Literal["tenengrad", "variance-of-laplacian"]
SweepVerdict = Literal["found", "edge", "flat"]

_MERITS: dict[SweepMerit, Callable[[Frame], float]] = {
    "tenengrad": tenengrad,
    "variance-of-laplacian": variance_of_laplacian,
}
_FEWEST_PLANES = 3


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """An upward sweep.

    Attributes:
        lowest_um: where it begins: surely below the focus, in µm.
        highest_um: where it ends at the latest, in µm.
        step_um: distance of its planes in µm.
        merit: "tenengrad", or the paper's "variance-of-laplacian", whose peak is less reliable on smears.
        least_rise: by which fraction of the curve's median its peak must stand out; below it there is no specimen.

    Raises:
        SettingsError: if the sweep holds fewer than three planes or a value is out of range.
    """

    lowest_um: float
    highest_um: float
    step_um: float = 2.0
    merit: SweepMerit = "tenengrad"
    least_rise: float = 0.1

    def __post_init__(self) -> None:
        if not self.step_um > 0:
            raise SettingsError(f"sweep step {self.step_um:g} µm is not above 0 µm")
        if not self.highest_um - self.lowest_um >= (_FEWEST_PLANES - 1) * self.step_um:
            raise SettingsError(
                f"sweep from {self.lowest_um:g} to {self.highest_um:g} µm in steps of {self.step_um:g} µm "
                f"has fewer than {_FEWEST_PLANES} planes"
            )
        if self.merit not in _MERITS:
            raise SettingsError(f"figure of merit {self.merit!r} is none of {', '.join(_MERITS)}")
        if not self.least_rise >= 0:
            raise SettingsError(f"least_rise {self.least_rise:g} is not 0 or more")


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        verdict: "found"; "edge": the curve peaks at an end of the sweep, the focus lies beyond it; "flat": no specimen
            here.
        z_um: position of the peak in µm; for "edge" that end, for "flat" not to be used.
        frame: the sharpest frame, uint8 (Y, X, 3).
        curve_z_um: positions of the planes in µm.
        curve_merit: their scores.
        reason: why this verdict.
    """

    verdict: SweepVerdict
    z_um: float
    frame: Frame = field(repr=False, compare=False)
    curve_z_um: tuple[float, ...]
    curve_merit: tuple[float, ...]
    reason: str

    @property
    def images(self) -> int:
        """Exposures taken."""
        return len(self.curve_z_um)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, without the frame."""
        values = asdict(self)
        del values["frame"]
        return {**values, "images": self.images}


def initial_focus(microscope: Microscope, z: GuardedZ, settings: SweepSettings) -> SweepResult:
    """Sweep upward and find the peak of the figure of merit (paper, section 4.3.1). The caller lights the lamp.

    The stage reaches the lowest plane from below and only rises after it; it stays at the last plane. The sweep is not
    held to the budgets of a field.

    Args:
        microscope: its camera is used.
        z: the guard over its z stage.
        settings: range, step and figure of merit.

    Raises:
        LimitError: if the sweep would leave the limits; nothing has moved.
        InstrumentError: if the lamp is off, or a device fails.
    """
    if not microscope.lamp.is_on:
        raise InstrumentError("the lamp is off: a sweep would find nothing")
    z.start_field(travel_budget_um=math.inf, time_budget_s=math.inf)
    planes = math.floor((settings.highest_um - settings.lowest_um) / settings.step_um + 1e-9) + 1
    targets_um = [settings.lowest_um + index * settings.step_um for index in range(planes)]
    z.check_reach(targets_um[-1])
    curve_z_um: list[float] = []
    curve_merit: list[float] = []
    sharpest: Frame
    for target_um in targets_um:
        z.approach_from_below(target_um)
        frame = microscope.camera.snap()
        score = _MERITS[settings.merit](frame)
        if not curve_merit or score > max(curve_merit):
            sharpest = frame
        curve_z_um.append(z.position_um)
        curve_merit.append(score)
    verdict, reason = _judge(curve_z_um, curve_merit, settings)
    peak_um = best_focus(np.array(curve_z_um), np.array(curve_merit))
    return SweepResult(verdict, peak_um, sharpest, tuple(curve_z_um), tuple(curve_merit), reason)


def _judge(z_um: list[float], merit: list[float], settings: SweepSettings) -> tuple[SweepVerdict, str]:
    peak, median = max(merit), float(np.median(merit))
    if not peak > (1 + settings.least_rise) * median:
        return "flat", (
            f"the best {settings.merit}, {peak:.4g}, is not {settings.least_rise:.0%} above the median, {median:.4g}: "
            f"no specimen here"
        )
    best = merit.index(peak)
    if best in (0, len(merit) - 1):
        end, direction = ("lower", "below") if best == 0 else ("upper", "above")
        place = f"the sweep's {end} end, {z_um[best]:.1f} µm"
        return "edge", f"{settings.merit} peaks at {place}: the focus lies {direction}"
    return "found", f"{settings.merit} peaks {peak / median - 1:.0%} above its median" if median > 0 else "single peak"
