"""Before each scan: does the configured backlash close the slack?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.approach import GuardedZ
from parfocal.devices.microscope import Microscope
from parfocal.errors import SettingsError
from parfocal.focus.search import SweepResult
from parfocal.merit import MERITS

MAX_EXCESS_UM = 0.75
"""Slack beyond the configured backlash from which a scan is refused; the stage's own error is about a third of it."""

FAR_EXCESS_UM = 2 * MAX_EXCESS_UM
"""Excess at one plane alone from which a scan is refused: the other plane may be beyond the focus."""

CHECK_IMAGES = 4
_PLANES = 2
_FLANK_UM = (2.0, 12.0)
_LEAST_SLOPE = 0.1


def check_backlash(microscope: Microscope, z: GuardedZ, sweep: SweepResult, merit: str = "tenengrad") -> float | None:
    """Test that the configured backlash closes the slack, against the sweep that was just made.

    The stage goes down by the configured backlash only and up again, to two planes on the rising flank of the focus
    curve, the upper one first. Where the slack is larger, the slide stays too high by the difference, and the picture
    is as sharp as one higher up, or, beyond the focus, as one lower down: one plane alone can be as far above the focus
    as it should be below, two cannot. A small excess shows at both planes, a large one at one of them at least.

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
    if sweep.z_um is None:
        return None
    flank = _rising_flank(np.array(sweep.curve_z_um), np.array(sweep.curve_merit), sweep.z_um)
    if flank is None:
        return None
    curve_z_um, curve_log, planes_um = flank
    excesses_um = np.zeros((_PLANES, CHECK_IMAGES // _PLANES))
    for plane, turn in np.ndindex(excesses_um.shape):
        aim_um = planes_um[plane]
        z.move_to(aim_um - z.approach.backlash_um)
        z.move_to(aim_um)
        score = MERITS[merit](microscope.camera.snap())
        excesses_um[plane, turn] = np.interp(np.log(score), curve_log, curve_z_um) - aim_um
    excess_um = excesses_um.mean(axis=1)
    if excess_um.mean() > MAX_EXCESS_UM or np.abs(excess_um).max() > FAR_EXCESS_UM:
        agree = bool(np.ptp(excess_um) < MAX_EXCESS_UM and excess_um.min() > 0)
        about = f"about {z.approach.backlash_um + excess_um.mean():.1f} µm, " if agree else ""
        raise SettingsError(
            f"z backlash is {about}more than the {z.approach.backlash_um:g} µm that {microscope.name} is set up for: "
            "raise backlash_um and take_up_um"
        )
    return float(excess_um.mean())


def _rising_flank(
    z_um: NDArray[np.float64], merit: NDArray[np.float64], focus_um: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]] | None:
    """The rising flank below the focus as (z in µm, ln merit), and its two planes that rise most.

    A sampled peak beyond the focus is no part of it: the curve turns between there and the plane before.
    """
    peak = int(np.argmax(np.where(z_um <= focus_um, merit, -np.inf)))
    first = peak
    while first > 0 and merit[first - 1] < merit[first]:
        first -= 1
    flank_z_um, flank_log = z_um[first : peak + 1], np.log(np.maximum(merit[first : peak + 1], 1e-12))
    below_um = focus_um - flank_z_um[:-1]
    rise = np.diff(flank_log)
    rise[(below_um < _FLANK_UM[0]) | (below_um > _FLANK_UM[1])] = 0.0
    weaker = np.minimum(rise[:-1], rise[1:])  # of the rises from a plane and from the next
    if weaker.size == 0 or weaker.max() < _LEAST_SLOPE:
        return None
    lower = int(np.argmax(weaker))
    return flank_z_um, flank_log, (float(flank_z_um[lower + 1]), float(flank_z_um[lower]))
