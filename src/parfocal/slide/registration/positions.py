"""All positions at once from the seams and the stage, by robust least squares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from parfocal.slide.registration.seams import SAME, Registration, RegistrationSettings, Seam, StageMatrix

_SEAM_SIGMA_PX = 0.1
_ROBUST_PX = 0.5  # residual at which a seam's weight has halved
_ROBUST_ITERATIONS = 12
_FEWEST_SEAMS = 8
_SURE = 4.0  # standard errors from which the stage's matrix counts as another


def solve_positions(
    stage_xy_px: NDArray[np.float64],
    seams: list[Seam],
    pixel_um: float,
    settings: RegistrationSettings | None = None,
) -> Registration:
    """Solve all positions from seams and stage positions.

    Accepted seams bind to a tenth of a px. Seams that were not accepted, and the stage's own positions, are weak
    springs: they place what no picture ties, and bend nothing that pictures tie. Seams that contradict the rest are
    set aside, worst first.

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
        touched: set[int] = set()
        for i in sorted(wrong, key=residual.__getitem__, reverse=True):
            if not {seams[i].a, seams[i].b} & touched:  # beside a worse one it may be innocent
                shift = stage_xy_px[seams[i].b] - stage_xy_px[seams[i].a]
                seams[i] = replace(
                    seams[i], dx=float(shift[0]), dy=float(shift[1]), accepted=False, reason="contradicted"
                )
            touched |= {seams[i].a, seams[i].b}
    solved = tuple(replace(s, residual_px=r) for s, r in zip(seams, residual, strict=True))
    return Registration(xy - xy.min(axis=0), solved, _components(len(xy), seams))


def _least_squares(
    stage_xy_px: NDArray[np.float64], seams: list[Seam], pixel_um: float, settings: RegistrationSettings
) -> NDArray[np.float64]:
    count = len(stage_xy_px)
    a = np.array([s.a for s in seams], int)
    b = np.array([s.b for s in seams], int)
    accepted = np.array([s.accepted for s in seams], bool)
    shift = np.array([(s.dx, s.dy) for s in seams]).reshape(-1, 2) - (stage_xy_px[b] - stage_xy_px[a])
    rows = np.arange(len(seams))
    signs = np.concatenate([-np.ones(len(seams)), np.ones(len(seams))])
    incidence = coo_array(
        (signs, (np.concatenate([rows, rows]), np.concatenate([a, b]))), shape=(len(seams), count)
    ).tocsr()
    spring = np.where(accepted, 1 / _SEAM_SIGMA_PX, pixel_um / settings.neighbour_sigma_um)
    prior = diags_array(np.full(count, (pixel_um / settings.stage_sigma_um) ** 2))
    offset = np.zeros_like(stage_xy_px)  # solved as a correction to the stage, which conditions it well
    for _ in range(_ROBUST_ITERATIONS):
        wrong = shift - incidence @ offset
        robust = np.where(accepted, 1 / (1 + (wrong**2).sum(axis=1) / _ROBUST_PX**2), 1.0)
        weighted = incidence.T @ diags_array(spring**2 * robust)
        previous = offset
        offset = np.asarray(splu((weighted @ incidence + prior).tocsc()).solve(weighted @ shift), np.float64)
        if np.abs(offset - previous).max(initial=0) < 1e-3:
            break
    return np.asarray(stage_xy_px + offset, np.float64)


def _components(count: int, seams: list[Seam]) -> NDArray[np.int32]:
    tied = [(s.a, s.b) for s in seams if s.accepted]
    a, b = np.array(tied, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(tied)), (a, b)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def stage_matrix(stage_xy_px: NDArray[np.float64], seams: list[Seam]) -> StageMatrix:
    """Scale, rotation and shear of the stage against the camera, from the accepted seams.

    Args:
        stage_xy_px: (N, 2) stage positions in px.
        seams: measured shifts.

    Returns:
        The matrix; the identity where the seams are too few, lie all in one direction, or do not contradict it.
    """
    used = [s for s in seams if s.accepted]
    if len(used) < _FEWEST_SEAMS:
        return SAME
    by_stage = np.array([stage_xy_px[s.b] - stage_xy_px[s.a] for s in used])
    measured = np.array([(s.dx, s.dy) for s in used])
    if np.linalg.cond(by_stage) > 10:
        return SAME
    weight = np.ones(len(used))
    for _ in range(_ROBUST_ITERATIONS):
        weighted = by_stage * weight[:, None]
        inverse = np.linalg.inv(weighted.T @ by_stage)
        matrix = (inverse @ (weighted.T @ measured)).T
        error = measured - by_stage @ matrix.T
        sigma = 1.4826 * np.median(np.abs(error)) + 1e-3
        weight = 1 / (1 + (error**2).sum(axis=1) / (2 * sigma) ** 2)
    deviation = np.sqrt(np.diag(inverse))[None, :] * sigma  # of each column; the rows are alike
    if (np.abs(matrix - np.eye(2)) < _SURE * deviation).all():
        return SAME
    return (float(matrix[0, 0]), float(matrix[0, 1])), (float(matrix[1, 0]), float(matrix[1, 1]))


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


def tied_errors(
    registration: Registration, true_xy_um: NDArray[np.float64], pixel_size_um: float
) -> tuple[float, float]:
    """Root mean square and largest distance in px to the true positions, of all fields that a seam ties to another.

    Each island is judged after removing its own translation: between islands there is no picture to go by.

    Args:
        registration: what was found.
        true_xy_um: (N, 2) true stage positions in µm, in the order of the records.
        pixel_size_um: size of a pixel in µm.
    """
    islands = registration.islands
    squares = [0.0]
    for island in np.flatnonzero(np.bincount(islands) > 1):
        chosen = islands == island
        difference = registration.mosaic_xy_px[chosen] - true_xy_um[chosen] / pixel_size_um
        squares.extend(((difference - difference.mean(axis=0)) ** 2).sum(axis=1).tolist())
    tied = squares[1:] or squares
    return float(np.sqrt(np.mean(tied))), float(np.sqrt(max(tied)))
