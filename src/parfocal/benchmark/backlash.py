"""The distance that a pair of images really has, over the stage's backlash (design: the paper's constants break it)."""

from __future__ import annotations

from typing import Any

import numpy as np

from parfocal.devices.approach import ApproachSettings, GuardedZ, GuardLimits
from parfocal.devices.simulated import SimulatedZStage, VirtualClock, ZSettings

BACKLASHES_UM = tuple(float(b) for b in range(26))
CONFIGURED_UM = 20.0
_LIMITS = GuardLimits(lowest_um=-200.0, highest_um=200.0)
_PRINTED = ApproachSettings(
    backlash_um=CONFIGURED_UM, margin_um=0.0, start_below_um=8.0, take_up_um=14.0, delta_um=3.0, enforce=False
)
_PIVOT_UM = 50.0


def achieved_deltas() -> list[dict[str, Any]]:
    """One row for each backlash from 0 to 25 µm.

    Returns:
        Rows of backlash_um; corrected_um, the Δ that our approach achieves when it is set for that backlash;
        configured_um, the same with the instrument's own setting of 20 µm; as_printed_um, with the paper's z0 and z1
        (22 and 8 µm below the pivot). 3 µm are commanded. The stage has no error but its backlash.
    """
    rows = []
    for backlash_um in BACKLASHES_UM:
        fitted = ApproachSettings(
            backlash_um=backlash_um, start_below_um=8.0, take_up_um=backlash_um + 1.0, delta_um=3.0
        )
        configured = ApproachSettings(
            backlash_um=CONFIGURED_UM, start_below_um=8.0, take_up_um=CONFIGURED_UM + 1.0, delta_um=3.0
        )
        rows.append(
            {
                "backlash_um": backlash_um,
                "corrected_um": _achieved_um(backlash_um, fitted),
                "configured_um": _achieved_um(backlash_um, configured),
                "as_printed_um": _achieved_um(backlash_um, _PRINTED),
            }
        )
    return rows


def _achieved_um(backlash_um: float, approach: ApproachSettings) -> float:
    """True distance of a pair taken after the stage came down from a field above."""
    clock = VirtualClock()
    stage = SimulatedZStage(
        ZSettings(backlash_um=backlash_um, error_um=0.0, start_um=0.0), clock, np.random.default_rng(0)
    )
    z = GuardedZ(stage, clock, approach, _LIMITS)
    stage.move_to(_PIVOT_UM)
    first_um = _PIVOT_UM - approach.start_below_um
    z.move_to(first_um - approach.take_up_um)
    z.move_to(first_um)
    before_um = stage.true_um
    z.move_to(first_um + approach.delta_um)
    return round(stage.true_um - before_um, 9)
