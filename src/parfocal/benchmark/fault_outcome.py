"""What a fault came to, and how a scan with one is judged: by the truth, by the folder, by where it was sent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from parfocal.benchmark.painted import PaintedScan, surface_um
from parfocal.errors import ParfocalError
from parfocal.scan.progress import ScanSummary
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.stitch import stitch

Ending = Literal["recovered", "stopped", "unnoticed", "traceback"]
"""recovered: the result is as good as without the fault, or says which fields are in doubt. stopped: an error that says
what is wrong. unnoticed: the result is wrong and does not say so. traceback: an error that is none of ours."""

MISPLACED_PX = 2.0
_ARRIVAL_UM = 0.2  # the stage's own error, beyond half the depth of field


@dataclass(frozen=True)
class Fault:
    """One fault and what became of it.

    Attributes:
        device: camera, xy, z, lamp, disk or network.
        kind: what went wrong.
        outcome: how it ended.
        detail: the error, or what is known of the result.
        lost: fields that were handed over and on disk, and are not there any more.
        taken_away: the same where the fault is that somebody removes them: no program keeps those.
        out_of_limits: moves beyond the soft limits that were asked for.
        driven_out: moves that the fault itself would have carried beyond them, had there been no end stop.
        lamp_left_on: whether the lamp is lit afterwards, though it can be put out.
        failure: why a scan that a fault of the disk stopped cannot be gone on with once the disk is well; empty if it
            can, or there is nothing to go on with, and the resume says so.
    """

    device: str
    kind: str
    outcome: Ending
    detail: str = ""
    lost: int = 0
    taken_away: int = 0
    out_of_limits: int = 0
    driven_out: int = 0
    lamp_left_on: bool = False
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def ending(action: Callable[[], tuple[Ending, str]]) -> tuple[Ending, str]:
    """What an action came to, whatever it raised, and a remark."""
    try:
        return action()
    except ParfocalError as error:
        return ("stopped", str(error)) if str(error) else ("traceback", "an error without a word")
    except Exception as error:  # noqa: BLE001 - that any other error comes is what is counted here
        return "traceback", f"{type(error).__name__}: {error}"


def judge(folder: Path, scan: PaintedScan, summary: ScanSummary, *, places: bool) -> tuple[Ending, str]:
    """Compare a scan that came to its end with the truth.

    Args:
        folder: of the fields.
        scan: whose plan it was.
        summary: what the scan says about itself.
        places: whether the fields' places count too; that takes a stitching.
    """
    records = FieldsFolder(folder).records
    missing = len(scan.plan) - len(records)
    if missing:
        return "unnoticed", f"{missing} fields are missing"
    half_um = scan.microscope.depth_of_field_um / 2 + _ARRIVAL_UM
    blurred = []
    for record in records:
        x_um, y_um, z_um = record.true_stage_um or (0.0, 0.0, 0.0)
        if abs(z_um - surface_um(x_um, y_um)) > half_um and record.verdict == "focused":
            blurred.append(record.index)
    unsaid = sorted(set(blurred) - set(summary.in_doubt))
    if unsaid:
        return "unnoticed", f"fields {unsaid} are out of focus and called focused"
    if places:
        stitched = stitch(folder)
        error_px = stitched.rms_error_all_px or 0.0
        if error_px > MISPLACED_PX:
            return "unnoticed", f"fields lie {error_px:.1f} px rms from their places"
    return "recovered", f"{len(summary.in_doubt)} of {len(records)} fields in doubt"


def damaged(folder: Path, handed_over: int) -> int:
    """How many fields that are on disk, or were handed over, are not there byte for byte as they were written."""
    fields = FieldsFolder(folder)
    lost = max(0, handed_over - len(fields.attempts))
    for record in fields.attempts:
        path = folder / record.file
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != record.sha256:
            lost += 1
    return lost
