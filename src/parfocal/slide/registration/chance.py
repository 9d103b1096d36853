"""Which agreement of two fields is more than chance: learnt from fields that cannot overlap.

Two fields far apart are compared exactly as neighbours are, in strips of the same shape and over the same reach.
Whatever they score is chance, in this specimen, under this noise. The best of many trials follows a Gumbel
distribution; the score that it exceeds with the wanted probability is the threshold of the scan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from parfocal.slide.registration.translation import View, compare_views

FEWEST, MOST = 32, 256
"""Pairs that are compared to learn what chance reaches."""

LEAST_SCORE = 0.3
"""No threshold lies below this: an overlap of 100 × 100 px that correlates by 0.3."""

_EULER = 0.5772
_Shift = tuple[float, float]


def chance_scores(
    views: Sequence[View],
    stage_xy_px: NDArray[np.float64],
    shifts: Sequence[_Shift],
    search_px: float,
    min_overlap_px: int,
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Scores of pairs that show no common place where they are compared.

    Args:
        views: fields of the scan, one or more; the half with more structure is used.
        stage_xy_px: (N, 2) their stage positions in px.
        shifts: of neighbours in this scan, in px, one or more.
        search_px: reach of the comparison.
        min_overlap_px: likewise.
        count: how many pairs.
        rng: which.

    Returns:
        (count,), or fewer where a shift leaves no overlap.
    """
    structure = np.array([view.coarse.std() for view in views])
    chosen = np.flatnonzero(structure >= np.median(structure))
    if len(chosen) < 2:
        chosen = np.arange(len(views))
    pairs = list(permutations(chosen.tolist(), 2)) or [(0, 0)]
    scores = []
    for _ in range(count):
        a, b = pairs[int(rng.integers(len(pairs)))]
        shift = shifts[int(rng.integers(len(shifts)))]
        way = np.abs(stage_xy_px[b] - stage_xy_px[a] - shift).max()
        # where the two may really meet, one of them is turned over: the same structure, at no place of the other's
        other = views[b] if way > 2.5 * search_px and a != b else _turned_over(views[b], int(rng.integers(3)))
        found = compare_views(views[a], other, shift, search_px, min_overlap_px)
        if found is not None:
            scores.append(found.score)
    return np.array(scores)


def _turned_over(view: View, way: int) -> View:
    flips = (slice(None, None, -1 if way != 0 else 1), slice(None, None, -1 if way != 1 else 1))
    return View(np.ascontiguousarray(view.grey[flips]), np.ascontiguousarray(view.coarse[flips]))


def least_score(scores: NDArray[np.float64], chance: float) -> float:
    """The score that pairs which show no common place reach with the probability `chance`.

    Args:
        scores: of such pairs.
        chance: probability, above 0 and below 1.
    """
    if len(scores) < 2:
        return 10 * LEAST_SCORE
    scale = float(scores.std(ddof=1)) * math.sqrt(6) / math.pi
    middle = float(scores.mean()) - _EULER * scale
    uncertain = 1 + 1 / math.sqrt(len(scores))  # of the scale, by a standard error and a bit
    return max(LEAST_SCORE, float(scores.max()), middle - scale * uncertain * math.log(-math.log1p(-chance)))
