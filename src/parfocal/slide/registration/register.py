"""Where each field lies in the mosaic: overlapping neighbours are compared, then all positions solved at once.

Stage positions say which fields overlap, and where to look; the pictures say by how much the stage was wrong. What
fields that cannot overlap reach by chance says which pictures to believe (`chance`).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Lock

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.light.flatfield import FlatField
from parfocal.slide.light.flatfield import apply as apply_flatfield
from parfocal.slide.registration.chance import FEWEST, MOST, chance_scores, least_score
from parfocal.slide.registration.distortion import Distortion, estimate_distortion, undistort
from parfocal.slide.registration.positions import position_errors, solve_positions, stage_matrix
from parfocal.slide.registration.seams import (
    SAME,
    Progress,
    Reason,
    Registration,
    RegistrationSettings,
    Seam,
    StageMatrix,
)
from parfocal.slide.registration.translation import Translation, View, compare_views

__all__ = [
    "Progress",
    "Registration",
    "RegistrationSettings",
    "Seam",
    "overlapping_pairs",
    "position_errors",
    "register",
    "solve_positions",
]

_CACHE_BYTES = 256 * 2**20
_WITNESSES = 32  # fields that stay in memory, to learn from them what chance reaches
_NEAR_UM, _FAR_UM = 20.0, 60.0  # least reach of the search where the scan says how good its stage is, and where not
_ERRORS = 6  # standard deviations of the stage's error that the search covers
_LENS_ROUNDS = 3  # an estimate of the distortion, then of what is left of it
_SURE_TURN = 4.0  # standard deviations from which a turn is believed
_EDGE = 0.8  # stage errors beyond this share of the reach suggest that it was too short

Pair = tuple[int, int]
Points = NDArray[np.float64]


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
    found, lens = _register(folder, flat, settings, 0.0, progress)
    k = 0.0
    for _ in range(_LENS_ROUNDS if settings.distortion else 0):
        if not lens.is_sure:
            break
        k += lens.k
        straight, left = _register(folder, flat, settings, k, progress)
        if left.bend_px >= lens.bend_px:
            break
        found, lens = straight, left
    return found


def _register(
    folder: FieldsFolder,
    flat: FlatField,
    settings: RegistrationSettings,
    distortion: float,
    progress: Progress | None,
) -> tuple[Registration, Distortion]:
    """Positions with this distortion taken out, and what then is left of it."""
    comparison = _Comparison(folder, flat, settings, distortion)
    stage_xy = comparison.stage_xy
    pairs = overlapping_pairs(stage_xy, folder.header.frame_shape, settings.min_overlap_px)
    near_px, far_px = (reach / folder.header.pixel_size_um for reach in _reaches(folder, settings))
    seams, least = comparison.seams(pairs, stage_xy, near_px, progress)
    matrix = settings.stage_matrix or stage_matrix(stage_xy, seams)
    prior_xy = _turned(stage_xy, matrix)
    if far_px > near_px and _too_near(folder, seams, prior_xy, near_px):
        again = [(s.a, s.b) for s in seams if not s.accepted]
        found, farther = comparison.seams(again, prior_xy, far_px, progress)
        seams, least = [s for s in seams if s.accepted] + found, max(least, farther)
        seams.sort(key=lambda s: (s.b, s.a))
        matrix = settings.stage_matrix or stage_matrix(stage_xy, seams)
        prior_xy = _turned(stage_xy, matrix)
    solved = solve_positions(prior_xy, _by_prior(seams, prior_xy), folder.header.pixel_size_um, settings)
    used = [comparison.found[s.a, s.b] for s in solved.seams if s.accepted]
    lens = estimate_distortion(used, folder.header.frame_shape)
    return replace(solved, least_score=least, stage_matrix=matrix, distortion=distortion), lens


def overlapping_pairs(stage_xy_px: Points, frame_shape: tuple[int, int], min_overlap_px: int) -> list[Pair]:
    """Neighbours side by side: pairs (a, b), a < b, that share `min_overlap_px` px one way and half a frame the other.

    Args:
        stage_xy_px: (N, 2) stage positions in px.
        frame_shape: (Y, X) in px.
        min_overlap_px: least overlap in px.
    """
    size = np.array(frame_shape[::-1], float)
    pairs: list[Pair] = []
    for b in range(len(stage_xy_px)):
        shared = size - np.abs(stage_xy_px[:b] - stage_xy_px[b])  # (b, 2), px along x and y
        beside = (shared >= min_overlap_px).all(axis=1) & (shared >= size / 2).any(axis=1)
        pairs.extend((int(a), b) for a in np.flatnonzero(beside))
    return pairs


class _Comparison:
    """Compares fields of one scan, each read once as long as its neighbours are compared.

    Attributes:
        stage_xy: (N, 2) stage positions in px.
        found: what the latest comparison of each pair found.
    """

    def __init__(
        self, folder: FieldsFolder, flat: FlatField, settings: RegistrationSettings, distortion: float = 0.0
    ) -> None:
        height, width = folder.header.frame_shape

        def view(index: int) -> View:
            frame = apply_flatfield(folder.frame(folder.records[index]), flat)
            grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
            return View.of(undistort(grey, distortion))

        count = len(folder.records)
        rng = np.random.default_rng(settings.seed)
        witnesses = sorted(rng.permutation(count)[:_WITNESSES].tolist())
        self.found: dict[Pair, Translation] = {}
        self._settings = settings
        self._witnesses = witnesses
        self._views = _Kept(view, max(8, _CACHE_BYTES // (2 * height * width)), witnesses)
        pixel_um = folder.header.pixel_size_um
        self.stage_xy = np.array([(r.stage_x_um, r.stage_y_um) for r in folder.records]).reshape(-1, 2) / pixel_um

    def seams(
        self, pairs: Sequence[Pair], expected_xy: Points, search_px: float, progress: Progress | None
    ) -> tuple[list[Seam], float]:
        """The seams of these pairs, and the score from which they were accepted."""
        if not pairs:
            return [], 0.0
        settings = self._settings

        def compare(pair: Pair) -> Translation | None:
            a, b = pair
            shift = expected_xy[b] - expected_xy[a]
            expected = (float(shift[0]), float(shift[1]))
            return compare_views(self._views(a), self._views(b), expected, search_px, settings.min_overlap_px)

        found = []
        threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="registration")
        try:
            for done, translation in enumerate(threads.map(compare, pairs), 1):
                found.append(translation)
                if translation is not None:
                    self.found[pairs[done - 1]] = translation
                if progress:
                    progress("registration", done, len(pairs))
        finally:
            threads.shutdown(cancel_futures=True)  # an interrupted scan waits for no more than what is under way
        least = self._least_score(pairs, expected_xy, search_px)
        return [
            _seam(pair, translation, expected_xy, least, settings)
            for pair, translation in zip(pairs, found, strict=True)
        ], least

    def _least_score(self, pairs: Sequence[Pair], expected_xy: Points, search_px: float) -> float:
        shifts = [(float(x), float(y)) for x, y in (expected_xy[b] - expected_xy[a] for a, b in pairs)]
        scores = chance_scores(
            [self._views(index) for index in self._witnesses],
            expected_xy[self._witnesses],
            shifts,
            search_px,
            self._settings.min_overlap_px,
            min(MOST, max(FEWEST, len(pairs) // 4)),
            np.random.default_rng((self._settings.seed, 1)),
        )
        return least_score(scores, self._settings.chance)


class _Kept:
    """The latest values of a function, each made by whichever thread asks first; some are never given up."""

    def __init__(self, make: Callable[[int], View], size: int, always: Iterable[int]) -> None:
        self._make = make
        self._size = size
        self._always = frozenset(always)
        self._kept: OrderedDict[int, Future[View]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, index: int) -> View:
        with self._lock:
            future = self._kept.get(index)
            if mine := future is None:
                future = self._kept[index] = Future()
                self._give_up()
            self._kept.move_to_end(index)
        if mine:
            try:
                future.set_result(self._make(index))
            except Exception as error:  # noqa: BLE001  # whoever waits for it gets it too
                future.set_exception(error)
        return future.result()

    def _give_up(self) -> None:
        spare = [index for index in self._kept if index not in self._always]
        for index in spare[: max(0, len(self._kept) - self._size)]:
            del self._kept[index]


def _seam(
    pair: Pair,
    found: Translation | None,
    expected_xy: Points,
    least: float,
    settings: RegistrationSettings,
) -> Seam:
    a, b = pair
    dx, dy = (float(value) for value in expected_xy[b] - expected_xy[a])
    if found is None:
        return Seam(a, b, dx, dy, 0.0, accepted=False, reason="no overlap")
    reason: Reason = ""
    if found.score < least or found.quality < settings.min_quality:
        reason = "chance"
    else:
        turn_px, deviation_px = found.turn_px
        if turn_px > max(settings.max_turn_px, _SURE_TURN * deviation_px):
            reason = "turned"
    if reason:
        return Seam(a, b, dx, dy, found.quality, accepted=False, score=found.score, reason=reason)
    return Seam(a, b, found.dx, found.dy, found.quality, accepted=True, score=found.score)


def _reaches(folder: FieldsFolder, settings: RegistrationSettings) -> tuple[float, float]:
    """How far to search at first, and where that finds too little, in µm."""
    if settings.search_um is not None:
        return settings.search_um, settings.search_um
    told = folder.header.settings
    backlash_um = max([0.0, *(float(value) for value in told.get("xy_backlash_um", ()))])
    far_um = max(_FAR_UM, 1.25 * backlash_um)
    error_um = float(told.get("neighbour_error_um", 0.0))
    return (max(_NEAR_UM, _ERRORS * error_um) if error_um > 0 else far_um), far_um


def _too_near(folder: FieldsFolder, seams: list[Seam], prior_xy: Points, reach_px: float) -> bool:
    """Whether a longer reach may find seams that this one did not."""
    full = [s for s in seams if "empty" not in (folder.records[s.a].verdict, folder.records[s.b].verdict)]
    used = [s for s in seams if s.accepted]
    farthest = max((np.abs(prior_xy[s.b] - prior_xy[s.a] - (s.dx, s.dy)).max() for s in used), default=0.0)
    return 2 * sum(s.accepted for s in full) < len(full) or (farthest > _EDGE * reach_px and len(used) < len(full))


def _turned(stage_xy: Points, matrix: StageMatrix) -> Points:
    """Stage positions as the camera sees them, about their middle."""
    if matrix == SAME:
        return stage_xy
    middle = stage_xy.mean(axis=0)
    return np.asarray(middle + (stage_xy - middle) @ np.array(matrix).T, np.float64)


def _by_prior(seams: list[Seam], prior_xy: Points) -> list[Seam]:
    """Seams that were not accepted, by the stage as it is now known."""
    moved = []
    for seam in seams:
        dx, dy = (float(value) for value in prior_xy[seam.b] - prior_xy[seam.a])
        moved.append(seam if seam.accepted else replace(seam, dx=dx, dy=dy))
    return moved
