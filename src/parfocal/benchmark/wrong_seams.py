"""How often registration believes a seam that is none, over thousands of seams in every kind of specimen.

Large pictures are rendered once; scans are cut from them at places below a pixel, turned and mirrored anew each time,
with the stage's errors, the sensor's noise, and now and then a field that comes from another place altogether.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.benchmark.tiles import FAINT, NEIGHBOUR_ERROR_UM, OBJECTIVE, PIXEL_UM, header_of, visit
from parfocal.optics.imaging import SlideOptics
from parfocal.optics.samples import Appearance, make_sample
from parfocal.optics.sensor import Sensor
from parfocal.optics.specimen import Topography
from parfocal.optics.transfer import Illumination
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord, FieldsHeader, Frame
from parfocal.slide.registration.register import register

SPECIMENS = ("he-tissue", "blood-smear", "gram-smear", "body-fluid", "faint-tissue", "blank")
WRONG_PX = 2.0
"""A seam whose shift is farther than this from the truth is wrong."""

_CANVAS_PX = (2300, 2600)
_GRID = 6
_FRAME = (384, 448)
_FOREIGN = 0.05  # of the fields show another place
_SENSOR = Sensor(vignetting=0.0)

Light = NDArray[np.float32]


@dataclass(frozen=True)
class SeamCount:
    """What registration made of many seams.

    Attributes:
        specimen: of which.
        seams: pairs that were compared.
        true_seams: of these, the ones that do show a common place.
        accepted: that were used.
        wrong: that were used, and lie more than 2 px from the truth.
    """

    specimen: str
    seams: int
    true_seams: int
    accepted: int
    wrong: int


class InMemoryFields(FieldsFolder):
    """A scan that lies on no disk: header, records, and the frame of each."""

    def __init__(self, header: FieldsHeader, records: list[FieldRecord], frames: list[Frame]) -> None:
        self.header = header
        self.records = self.attempts = records
        self._frames = {record.index: frame for record, frame in zip(records, frames, strict=True)}

    def frame(self, record: FieldRecord) -> Frame:
        """The frame of a field: uint8 (Y, X, 3), RGB."""
        return self._frames[record.index]


def count_wrong_seams(
    seams: int, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
) -> list[SeamCount]:
    """Register scans of every specimen until so many seams were compared in all.

    Args:
        seams: how many, at least.
        seed: of specimens, places and noise.
        progress: told about each scan.
    """
    each = -(-seams // len(SPECIMENS))
    counts = []
    for number, specimen in enumerate(SPECIMENS):
        canvas = _canvas(specimen, seed + number)
        count = SeamCount(specimen, 0, 0, 0, 0)
        rng = np.random.default_rng((seed, number))
        while count.seams < each:
            count = _add(count, *_judge(canvas, rng))
            if progress:
                progress("seams", min(number * each + count.seams, seams), seams)
        counts.append(count)
    return counts


def _add(count: SeamCount, seams: int, true_seams: int, accepted: int, wrong: int) -> SeamCount:
    return replace(
        count,
        seams=count.seams + seams,
        true_seams=count.true_seams + true_seams,
        accepted=count.accepted + accepted,
        wrong=count.wrong + wrong,
    )


def _canvas(specimen: str, seed: int) -> Light:
    """A large picture of a specimen, float32 (Y, X, 3), 1 is empty glass."""
    if specimen == "blank":
        return np.ones((*_CANVAS_PX, 3), np.float32)
    kind = "he-tissue" if specimen == "faint-tissue" else specimen
    sample = make_sample(kind, seed, Topography(), Appearance(cover=1.0, thickness_um=0.0))
    light = SlideOptics(sample, Illumination(OBJECTIVE)).field(0.0, 0.0, _CANVAS_PX, PIXEL_UM).plane(0.0)
    return np.asarray(light ** np.float32(FAINT if specimen == "faint-tissue" else 1.0), np.float32)


def _judge(canvas: Light, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Seams, true seams, accepted and wrong ones of one scan cut from a canvas."""
    tiles = visit(_GRID, _GRID, _FRAME, int(rng.integers(2**31)))
    corners = tiles.true_xy_um / PIXEL_UM
    room = np.array(_CANVAS_PX[::-1]) - (np.ptp(corners, axis=0) + _FRAME[::-1]) - 2
    corners = corners - corners.min(axis=0) + rng.uniform(1, np.maximum(room, 2))
    foreign = rng.random(len(corners)) < _FOREIGN
    limit = np.array(_CANVAS_PX[::-1]) - _FRAME[::-1] - 2
    corners[foreign] = rng.uniform(1, limit, (int(foreign.sum()), 2))
    turned = np.ascontiguousarray(np.rot90(canvas, 2) if rng.random() < 0.5 else canvas[:, ::-1])
    frames = [_cut(turned, corner, rng) for corner in corners]
    records = [
        FieldRecord(
            index=field.index,
            row=field.row,
            column=field.column,
            stage_x_um=field.x_um,
            stage_y_um=field.y_um,
            stage_z_um=0.0,
            verdict="focused",
            images=1,
            file=str(field.index),
        )
        for field in tiles.plan
    ]
    folder = InMemoryFields(header_of(tiles, "mixed", 0), records, frames)
    found = register(folder, np.ones((*_FRAME, 3), np.float32))
    reach_px = 6 * NEIGHBOUR_ERROR_UM / PIXEL_UM
    stage = tiles.true_xy_um / PIXEL_UM
    true_seams = accepted = wrong = 0
    for seam in found.seams:
        shift = corners[seam.b] - corners[seam.a]
        true_seams += bool(np.abs(shift - (stage[seam.b] - stage[seam.a])).max() < reach_px)
        accepted += seam.accepted
        wrong += seam.accepted and bool(np.hypot(*(shift - (seam.dx, seam.dy))) > WRONG_PX)
    return len(found.seams), true_seams, accepted, wrong


def _cut(canvas: Light, corner: NDArray[np.float64], rng: np.random.Generator) -> Frame:
    """A frame of the canvas whose top left corner lies at (x, y)."""
    move = np.array([[1.0, 0, corner[0]], [0, 1, corner[1]]])
    light = cv2.warpAffine(canvas, move, _FRAME[::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    return _SENSOR.expose(np.asarray(light, np.float32), rng)
