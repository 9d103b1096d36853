"""What registration knows: how it was asked to work, each seam, and where every field lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how many are done, how many there are)."""

StageMatrix = tuple[tuple[float, float], tuple[float, float]]
"""By rows, what a stage shift (x, y) becomes in the picture: scale, rotation and shear."""

Reason = Literal["", "no overlap", "chance", "turned", "contradicted"]

SAME: StageMatrix = ((1.0, 0.0), (0.0, 1.0))


@dataclass(frozen=True)
class RegistrationSettings:
    """How neighbours are compared and positions solved.

    Attributes:
        search_um: largest stage error between two neighbours that is looked for, in µm. None: six times the error that
            the scan says its stage has, and where that finds too little, the stage's whole backlash; 60 µm where the
            scan says nothing.
        min_overlap_px: neighbours whose stage positions leave less overlap than this, in px, are not compared.
        min_quality: correlation in the overlap below which no measured shift is accepted, whatever chance says.
        chance: probability that a seam is accepted which is none, from which the threshold of a scan follows.
        max_turn_px: a seam whose overlap's ends are turned off each other by more than this, in px, is not accepted.
        max_residual_px: a seam that contradicts the others by more than this, in px, is set aside.
        neighbour_sigma_um: how far a stage error may differ between neighbours, in µm; ties what no picture ties.
        stage_sigma_um: how far a stage position may be wrong, in µm.
        stage_matrix: of the stage against the camera, where it is known; estimated from the seams if None.
        distortion: whether to look for radial distortion of the lens.
        seed: of the pairs that are drawn to learn what chance reaches.
    """

    search_um: float | None = None
    min_overlap_px: int = 16
    min_quality: float = 0.05
    chance: float = 1e-6
    max_turn_px: float = 1.5
    max_residual_px: float = 3.0
    neighbour_sigma_um: float = 3.0
    stage_sigma_um: float = 30.0
    stage_matrix: StageMatrix | None = None
    distortion: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("search_um", "max_turn_px", "max_residual_px", "neighbour_sigma_um", "stage_sigma_um"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"{name} {value:g} is not above 0")
        if self.min_overlap_px < 8:
            raise SettingsError(f"min_overlap_px {self.min_overlap_px} is below 8 px")
        for name in ("min_quality", "chance"):
            if not 0 < getattr(self, name) < 1:
                raise SettingsError(f"{name} {getattr(self, name):g} is not between 0 and 1")


@dataclass(frozen=True)
class Seam:
    """Two overlapping neighbours.

    Attributes:
        a: one field, as a position in the folder's records.
        b: the other.
        dx: x of b minus x of a in px, measured; from the stage if not accepted.
        dy: y of b minus y of a in px, likewise.
        quality: correlation of the two pictures in their overlap, -1 to 1; 0 if none was found.
        accepted: whether the measurement takes part in the solution.
        residual_px: distance in px between (dx, dy) and the solved positions.
        score: of the comparison (`translation.Translation`); accepted from the scan's `least_score`.
        reason: why it was not accepted: "no overlap", "chance", "turned" or "contradicted"; empty if it was.
    """

    a: int
    b: int
    dx: float
    dy: float
    quality: float
    accepted: bool
    residual_px: float = 0.0
    score: float = 0.0
    reason: Reason = ""


@dataclass(frozen=True)
class Registration:
    """Positions of all fields.

    Attributes:
        mosaic_xy_px: float64 (N, 2), x and y of each field's top left corner in mosaic px, in the order of the
            folder's records; the smallest x and y are 0.
        seams: every pair that was compared.
        component: int (N,), fields with the same number are tied by accepted seams.
        least_score: from which a seam was accepted in this scan.
        stage_matrix: of the stage against the camera, as it was given or found.
        distortion: radial distortion of the lens, as `distortion.undistort` takes it; 0 where none was found.
    """

    mosaic_xy_px: NDArray[np.float64]
    seams: tuple[Seam, ...]
    component: NDArray[np.int32]
    least_score: float = 0.0
    stage_matrix: StageMatrix = SAME
    distortion: float = 0.0

    @property
    def islands(self) -> NDArray[np.int32]:
        """int (N,): the number of each field's piece, 0 the one with the most fields; of equals, the earlier."""
        names, first, sizes = np.unique(self.component, return_index=True, return_counts=True)
        rank = np.empty(len(names), np.int32)
        rank[np.lexsort((first, -sizes))] = np.arange(len(names))
        return np.asarray(rank[np.searchsorted(names, self.component)], np.int32)

    @property
    def largest(self) -> NDArray[np.bool_]:
        """bool (N,): the fields of the largest part that is tied together by accepted seams."""
        return np.asarray(self.islands == 0, np.bool_)
