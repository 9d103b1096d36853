"""What focusing one field came to: the same value for the log, the report and the viewer."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from parfocal.devices.base import Frame
from parfocal.focus.decision import Move
from parfocal.focus.predictor import FocusPrediction

Verdict = Literal["focused", "empty", "unsure", "failed"]
Purpose = Literal["first", "second", "third", "flank", "plane", "single", "kept"]


@dataclass(frozen=True)
class FocusStep:
    """One exposure of a field, and what was made of it.

    Attributes:
        purpose: "first" or "second" of a pair, "third" after a pair without difference, the frame to be "kept", or a
            "flank" beside it that tells whether it is the sharpest; a "plane" of a stack or sweep; a "single" one where
            the focus is expected.
        target_z_um: where it was wanted, in µm.
        z_um: where the stage says it was taken, in µm.
        prediction: of the pair that it completed; None where it completed none or the network was not asked.
        move: what was decided then.
        note: what a reader should know, such as a target beyond a record.
    """

    purpose: Purpose
    target_z_um: float
    z_um: float
    prediction: FocusPrediction | None = None
    move: Move | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values; what is not a number becomes None."""
        return {
            "purpose": self.purpose,
            "target_z_um": self.target_z_um,
            "z_um": self.z_um,
            "prediction": None if self.prediction is None else _json_values(asdict(self.prediction)),
            "move": None if self.move is None else {"kind": _kind(self.move), **_json_values(asdict(self.move))},
            "note": self.note,
        }


@dataclass(frozen=True)
class FocusResult:
    """What focusing one field came to.

    Attributes:
        verdict: "focused"; "empty": nothing there, taken at the pivot's z; "unsure": not settled within the budget, the
            best-scored frame is kept; "failed": a limit stood in the way, the best-scored frame is kept.
        z_um: where the stage says the kept frame was taken, in µm.
        frame: the kept frame, uint8 (Y, X, 3).
        images: exposures from arrival to verdict, the kept frame's own included.
        trace: every exposure in order.
        reason: why this verdict.
        focus_um: where the focus is in µm, by sharpness where that was checked, else as predicted; None unless focused.
            It may differ from z_um by `peak_tolerance_um` or `keep_within_um`.
        spread_um: standard deviation of the patch predictions behind it in µm; None where unknown.
        focus_sd_um: standard deviation of focus_um in µm, the stage's own error not counted; None where it was not
            measured.
        bend_per_um2: by how much ln sharpness falls at 1 µm from there; None where that was not measured.
    """

    verdict: Verdict
    z_um: float
    frame: Frame = field(repr=False, compare=False)
    images: int
    trace: tuple[FocusStep, ...]
    reason: str
    focus_um: float | None = None
    spread_um: float | None = None
    focus_sd_um: float | None = None
    bend_per_um2: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values, without the frame."""
        return {
            "verdict": self.verdict,
            "z_um": self.z_um,
            "images": self.images,
            "reason": self.reason,
            "focus_um": self.focus_um,
            "spread_um": self.spread_um,
            "focus_sd_um": self.focus_sd_um,
            "bend_per_um2": self.bend_per_um2,
            "trace": [step.to_json() for step in self.trace],
        }


def _kind(move: Move) -> str:
    """HalfStep → half-step."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(move).__name__).lower()


def _json_values(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
