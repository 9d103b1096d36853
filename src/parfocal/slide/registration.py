"""Where each field lies in the mosaic: overlapping neighbours are compared, then all positions solved at once.

Stage positions say which fields overlap, and where to look; the pictures say by how much the stage was wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import lsqr

from parfocal.errors import SettingsError
from parfocal.slide.fields import FieldsFolder
from parfocal.slide.flatfield import FlatField
from parfocal.slide.flatfield import apply as apply_flatfield
from parfocal.slide.translation import measure_translation

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how many are done, how many there are)."""

_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class RegistrationSettings:
    """How neighbours are compared and positions solved.

    Attributes:
        search_um: largest stage error between two neighbours that is looked for, in µm.
        min_overlap_px: neighbours whose stage positions leave less overlap than this, in px, are not compared.
        min_quality: correlation in the overlap from which a measured shift is accepted.
        max_residual_px: a seam that contradicts the others by more than this, in px, is set aside.
        neighbour_sigma_um: how far a stage error may differ between neighbours, in µm; ties what no picture ties.
        stage_sigma_um: how far a stage position may be wrong, in µm.
    """

    search_um: float = 60.0
    min_overlap_px: int = 16
    min_quality: float = 0.25
    max_residual_px: float = 3.0
    neighbour_sigma_um: float = 3.0
    stage_sigma_um: float = 30.0

    def __post_init__(self) -> None:
        for name in ("search_um", "max_residual_px", "neighbour_sigma_um", "stage_sigma_um"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} {getattr(self, name):g} is not above 0")
        if self.min_overlap_px < 8:
            raise SettingsError(f"min_overlap_px {self.min_overlap_px} is below 8 px")
        if not 0 < self.min_quality < 1:
            raise SettingsError(f"min_quality {self.min_quality:g} is not between 0 and 1")


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
    """

    a: int
    b: int
    dx: float
    dy: float
    quality: float
    accepted: bool
    residual_px: float = 0.0


@dataclass(frozen=True)
class Registration:
    """Positions of all fields.

    Attributes:
        mosaic_xy_px: float64 (N, 2), x and y of each field's top left corner in mosaic px, in the order of the
            folder's records; the smallest x and y are 0.
        seams: every pair that was compared.
        component: int (N,), fields with the same number are tied by accepted seams.
    """

    mosaic_xy_px: NDArray[np.float64]
    seams: tuple[Seam, ...]
    component: NDArray[np.int32]

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


def register(
    folder: FieldsFolder,
    flat: FlatField,
    settings: RegistrationSettings | None = None,
    progress: Progress | None = None,
) -> Registration:
    """Register all fields of a scan.

    Args:
        folder: the scan, with at least one field.
        flat: float32 (Y, X, 3) relative illumination.
        settings: None for the defaults.
        progress: told about each pair.

    Raises:
        FileError: if a frame cannot be read.
    """
    settings = settings or RegistrationSettings()
    pixel_um = folder.header.pixel_size_um
    stage_xy = np.array([(r.stage_x_um, r.stage_y_um) for r in folder.records]).reshape(-1, 2) / pixel_um
    pairs = overlapping_pairs(stage_xy, folder.header.frame_shape, settings.min_overlap_px)

    def grey(index: int) -> NDArray[np.uint8]:
        frame = apply_flatfield(folder.frame(folder.records[index]), flat)
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)

    height, width = folder.header.frame_shape
    cached_grey = lru_cache(max(8, _CACHE_BYTES // (height * width)))(grey)
    seams = []
    for done, (a, b) in enumerate(pairs, 1):
        seams.append(_compare(cached_grey(a), cached_grey(b), a, b, stage_xy[b] - stage_xy[a], pixel_um, settings))
        if progress:
            progress("registration", done, len(pairs))
    return solve_positions(stage_xy, seams, pixel_um, settings)


def overlapping_pairs(
    stage_xy_px: NDArray[np.float64], frame_shape: tuple[int, int], min_overlap_px: int
) -> list[tuple[int, int]]:
    """Neighbours side by side: pairs (a, b), a < b, that share `min_overlap_px` px one way and half a frame the other.

    Args:
        stage_xy_px: (N, 2) stage positions in px.
        frame_shape: (Y, X) in px.
        min_overlap_px: least overlap in px.
    """
    size = np.array(frame_shape[::-1], float)
    pairs: list[tuple[int, int]] = []
    for b in range(len(stage_xy_px)):
        shared = size - np.abs(stage_xy_px[:b] - stage_xy_px[b])  # (b, 2), px along x and y
        beside = (shared >= min_overlap_px).all(axis=1) & (shared >= size / 2).any(axis=1)
        pairs.extend((int(a), b) for a in np.flatnonzero(beside))
    return pairs


def _compare(
    grey_a: NDArray[np.uint8],
    grey_b: NDArray[np.uint8],
    a: int,
    b: int,
    stage_shift: NDArray[np.float64],
    pixel_um: float,
    settings: RegistrationSettings,
) -> Seam:
    search_px = settings.search_um / pixel_um
    dx, dy = float(stage_shift[0]), float(stage_shift[1])
    found = measure_translation(grey_a, grey_b, (dx, dy), search_px, settings.min_overlap_px)
    if found is None:
        return Seam(a, b, dx, dy, 0.0, accepted=False)
    if found.quality < settings.min_quality:
        return Seam(a, b, dx, dy, found.quality, accepted=False)
    return Seam(a, b, found.dx, found.dy, found.quality, accepted=True)


def solve_positions(
    stage_xy_px: NDArray[np.float64],
    seams: list[Seam],
    pixel_um: float,
    settings: RegistrationSettings | None = None,
) -> Registration:
    """Solve all positions from seams and stage positions, by robust least squares.

    Accepted seams bind to a tenth of a px. Seams that were not accepted, and the stage's own positions, are weak
    springs: they place what no picture ties, and bend nothing that pictures tie. Seams that contradict the rest are
    set aside one after the other, worst first.

    Args:
        stage_xy_px: (N, 2) stage positions in px.
        seams: measured shifts.
        pixel_um: size of a pixel in µm.
        settings: None for the defaults.
    """
    settings = settings or RegistrationSettings()
    seams = list(seams)
    while True:
        xy = _least_squares(stage_xy_px, seams, pixel_um, settings)
        residual = [float(np.hypot(*(xy[s.b] - xy[s.a] - (s.dx, s.dy)))) for s in seams]
        wrong = [i for i, s in enumerate(seams) if s.accepted and residual[i] > settings.max_residual_px]
        if not wrong:
            break
        worst = max(wrong, key=residual.__getitem__)
        shift = stage_xy_px[seams[worst].b] - stage_xy_px[seams[worst].a]
        seams[worst] = replace(seams[worst], dx=float(shift[0]), dy=float(shift[1]), accepted=False)
    solved = tuple(replace(s, residual_px=r) for s, r in zip(seams, residual, strict=True))
    return Registration(xy - xy.min(axis=0), solved, _components(len(xy), seams))


_SEAM_SIGMA_PX = 0.1
_ROBUST_PX = 0.5  # residual at which a seam's weight has halved
_ROBUST_ITERATIONS = 12


def _least_squares(
    stage_xy_px: NDArray[np.float64], seams: list[Seam], pixel_um: float, settings: RegistrationSettings
) -> NDArray[np.float64]:
    count = len(stage_xy_px)
    a = np.array([s.a for s in seams], int)
    b = np.array([s.b for s in seams], int)
    accepted = np.array([s.accepted for s in seams], bool)
    shift = np.array([(s.dx, s.dy) for s in seams]).reshape(-1, 2)
    spring = np.where(accepted, 1 / _SEAM_SIGMA_PX, pixel_um / settings.neighbour_sigma_um)
    prior = np.full(count, pixel_um / settings.stage_sigma_um)
    offset = np.zeros_like(stage_xy_px)  # solved as a correction to the stage, which conditions it well
    for _ in range(_ROBUST_ITERATIONS):
        wrong = shift - ((stage_xy_px + offset)[b] - (stage_xy_px + offset)[a])
        robust = np.where(accepted, 1 / np.sqrt(1 + (wrong**2).sum(axis=1) / _ROBUST_PX**2), 1.0)
        weight = spring * robust
        rows = np.arange(len(seams))
        matrix = coo_array(
            (
                np.concatenate([-weight, weight, prior]),
                (
                    np.concatenate([rows, rows, len(seams) + np.arange(count)]),
                    np.concatenate([a, b, np.arange(count)]),
                ),
            ),
            shape=(len(seams) + count, count),
        ).tocsr()
        target = weight[:, None] * (shift - (stage_xy_px[b] - stage_xy_px[a]))
        target = np.concatenate([target, np.zeros((count, 2))])
        previous = offset
        offset = np.stack(
            [lsqr(matrix, target[:, k], atol=1e-12, btol=1e-12, iter_lim=20 * count + 200)[0] for k in (0, 1)],
            axis=1,
        )
        if np.abs(offset - previous).max(initial=0) < 1e-3:
            break
    return np.asarray(stage_xy_px + offset, np.float64)


def _components(count: int, seams: list[Seam]) -> NDArray[np.int32]:
    tied = [(s.a, s.b) for s in seams if s.accepted]
    a, b = np.array(tied, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(tied)), (a, b)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def position_errors(
    registration: Registration,
    true_xy_um: NDArray[np.float64],
    pixel_size_um: float,
    fields: NDArray[np.bool_] | None = None,
) -> tuple[float, float]:
    """Root mean square and largest distance in px to the true positions, after removing one global translation.

    Args:
        registration: what was found.
        true_xy_um: (N, 2) true stage positions in µm, in the order of the records.
        pixel_size_um: size of a pixel in µm.
        fields: bool (N,), the fields to judge; None for all.
    """
    chosen = np.ones(len(true_xy_um), bool) if fields is None else fields
    difference = (registration.mosaic_xy_px - true_xy_um / pixel_size_um)[chosen]
    distance = np.hypot(*(difference - difference.mean(axis=0)).T)
    return float(np.sqrt((distance**2).mean())), float(distance.max())
