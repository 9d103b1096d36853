"""How far a scan is, and what a finished one says about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from parfocal.focus.kept import Judgement
from parfocal.focus.search import SweepResult
from parfocal.focus.surface import FocusDrift
from parfocal.slide.fields.records import FieldRecord

CHANGES_NOTE = "changes accepted"
"""What the journal calls it where a scan was gone on with although something was another than when it began."""


@dataclass(frozen=True)
class ScanProgress:
    """How far a scan is.

    Attributes:
        fields_done: fields with a verdict.
        fields: fields worth a visit, as far as is known; they may become more.
        images: exposures so far, sweeps included.
        in_doubt: fields so far that are unsure or failed.
    """

    fields_done: int
    fields: int
    images: int
    in_doubt: int


OnField = Callable[[FieldRecord, ScanProgress], None]
"""Called after each field."""


@dataclass(frozen=True)
class ScanSummary:
    """What a finished scan says about itself.

    Attributes:
        images: all exposures.
        modelled_time_s: instrument time from the first move to the last frame.
        sweep: how the initial focal plane was found.
        policy: how fields were focused.
        rescanned: fields that were taken again at the end.
        judgements: by field index, what is believed about the frame that was kept; none where nothing was asked.
        in_doubt: fields that are unsure, failed or probably out of focus after all.
        focus_drift: of the focus everywhere, by the focal surface; None where that does not tell.
    """

    images: int
    modelled_time_s: float
    sweep: SweepResult
    policy: str
    rescanned: tuple[int, ...]
    judgements: dict[int, Judgement]
    in_doubt: tuple[int, ...]
    focus_drift: FocusDrift | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values, without the sweep's frame."""
        judgements = {str(index): asdict(judged) for index, judged in self.judgements.items()}
        values = {name: getattr(self, name) for name in ("images", "modelled_time_s", "policy")}
        lists = {"rescanned": list(self.rescanned), "in_doubt": list(self.in_doubt)}
        drift = None if self.focus_drift is None else asdict(self.focus_drift)
        return {**values, **lists, "sweep": self.sweep.to_json(), "judgements": judgements, "focus_drift": drift}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ScanSummary:
        """What `to_json` gave. Raises KeyError, TypeError or ValueError where it is something else."""
        drift = values.get("focus_drift")  # older versions did not tell
        return cls(
            images=int(values["images"]),
            modelled_time_s=float(values["modelled_time_s"]),
            sweep=sweep_from_json(values["sweep"]),
            policy=str(values["policy"]),
            rescanned=tuple(int(index) for index in values["rescanned"]),
            judgements={int(index): Judgement(**judged) for index, judged in values["judgements"].items()},
            in_doubt=tuple(int(index) for index in values["in_doubt"]),
            focus_drift=None
            if drift is None
            else FocusDrift(float(drift["um_per_min"]), float(drift["sd_um_per_min"])),
        )


def sweep_from_json(values: dict[str, Any]) -> SweepResult:
    """A sweep without its frame. Raises KeyError, TypeError or ValueError where the values are none."""
    return SweepResult(
        verdict=values["verdict"],
        z_um=float(values["z_um"]),
        frame=np.zeros((0, 0, 3), np.uint8),
        curve_z_um=tuple(map(float, values["curve_z_um"])),
        curve_merit=tuple(map(float, values["curve_merit"])),
        reason=str(values["reason"]),
    )
