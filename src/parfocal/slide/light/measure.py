"""How the light of a scan is evened out: vignetting, white balance, and exposures that differ from field to field.

Where two neighbours overlap they show the same specimen, so what differs there is the light. From all overlaps
together, by robust least squares: a polynomial flat field, near the one that the fields themselves suggest, and a gain
for each field. Gains are applied only where chance does not explain them. A lamp that fades evenly from row to row
leaves steps like those of uneven light, and is taken for it: the steps go all the same.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from parfocal.durable import written_aside
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import LIGHT_FILE
from parfocal.slide.fields.records import Frame
from parfocal.slide.light.fading import BRIGHTEST, DARKEST, UNKNOWN_FADING, Fading, measure_fading
from parfocal.slide.light.flatfield import FlatField, log_polynomial, polynomial_flat, polynomial_terms
from parfocal.slide.light.overlaps import Cells, overlap_cells
from parfocal.slide.light.white import NO_WHITE, White, look_for_background, measure_white
from parfocal.slide.registration.register import Progress, Registration

Array = NDArray[np.float64]

_FLAT_SD = 0.05  # of a term of the first estimate's logarithm
_GAIN_SD = 0.02  # of ln exposure
_CELL_SD = 0.01  # of the ratio of two cells that show the same
_ITERATIONS = 6
_OUTLIER_SDS = 3.0
_CHANCE = 1e-3
_LEAST_GAIN = 0.002  # half a grey level of glass: less does not show


@dataclass(frozen=True)
class Drift:
    """Exposures along the scan.

    Attributes:
        sd: standard deviation of the fields' exposures, as a fraction, in the worst channel.
        largest: the largest deviation from their mean, likewise.
        chance: probability that equal exposures would look like this; None with too few seams to tell.
        corrected: whether each field is given its own gain.
    """

    sd: float
    largest: float
    chance: float | None
    corrected: bool


NO_DRIFT = Drift(0.0, 0.0, None, corrected=False)
"""Nothing is known about exposures."""


@dataclass(frozen=True)
class Light:
    """What the frames of a scan are corrected by, and what is left.

    Attributes:
        flat: float32 (Y, X, 3) relative illumination.
        white: the background, and the gain of each channel.
        gains: float32 (N, 3), of each field, in the order of the folder's records; ones unless the drift is corrected.
        drift: of the exposures.
        steps: float64 (S, 3), grey levels of b minus those of a that are left in each overlap, in the order of the
            registration's seams; NaN where they were not measured.
        fading: of the background, through the scan.
    """

    flat: FlatField
    white: White
    gains: NDArray[np.float32]
    drift: Drift
    steps: Array
    fading: Fading = UNKNOWN_FADING

    @staticmethod
    def of(flat: FlatField) -> Light:
        """A flat field and nothing else."""
        return Light(flat, NO_WHITE, np.ones((0, 3), np.float32), NO_DRIFT, np.zeros((0, 3)))

    @cached_property
    def _gain(self) -> NDArray[np.float32]:
        return np.asarray(np.asarray(self.white.gains, np.float32) / self.flat, np.float32)

    def correct(self, frame: Frame, index: int) -> Frame:
        """A kept frame, evened out.

        Args:
            frame: uint8 (Y, X, 3) RGB.
            index: of its field in the folder's records.

        Returns:
            uint8 (Y, X, 3), rounded and limited to 0…255.
        """
        gain = self._gain * self.gains[index] if self.drift.corrected else self._gain
        return np.asarray(cv2.multiply(frame, gain, dtype=cv2.CV_8U), np.uint8)


def measure_light(
    folder: FieldsFolder, flat: FlatField, registration: Registration, progress: Progress | None = None
) -> Light:
    """Refine a flat field by the overlaps, find the white balance, and check the exposures.

    Args:
        folder: the scan.
        flat: a first estimate, float32 (Y, X, 3).
        registration: of its fields.
        progress: told about each seam.

    Raises:
        FileError: if a frame cannot be read.
    """
    cells = _telling(overlap_cells(folder, registration, progress))
    count = len(folder.records)
    solved = [_solve(cells, channel, log_polynomial(flat, channel), count) for channel in range(3)]
    drift = _drift(cells, solved)
    gains = np.ones((count, 3))
    if drift.corrected:
        gains = np.exp(-np.stack([one.gain for one in solved], axis=1))
    terms = np.stack([one.terms if drift.corrected else one.terms_alone for one in solved], axis=1)
    refined = polynomial_flat(terms, folder.header.frame_shape)
    background = look_for_background(folder, refined)
    white = measure_white(background)
    steps = _steps(cells, terms, gains, white, len(registration.seams), refined)
    fading = measure_fading(folder.records, background)
    return Light(refined, white, gains.astype(np.float32), drift, steps, fading)


def write_light(folder: Path, light: Light) -> None:
    """Record in `light.json` what a slide's colours were corrected by.

    Raises:
        FileError: if the file cannot be written.
    """
    steps = light.steps[~np.isnan(light.steps).any(axis=1)]
    values = {
        "white": asdict(light.white),
        "drift": asdict(light.drift),
        "fading": asdict(light.fading),
        "field_gains": light.gains.round(5).tolist() if light.drift.corrected else None,
        "corner_illumination": [float(light.flat[0, 0].mean()), float(light.flat[-1, -1].mean())],
        "step_rms_grey": np.sqrt((steps**2).mean(axis=0)).tolist() if len(steps) else None,
        "step_max_grey": np.abs(steps).max(axis=0).tolist() if len(steps) else None,
    }
    with written_aside(folder / LIGHT_FILE) as part:
        part.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Solved:
    """One channel: ln of the flat field's terms, of each field's exposure, and what is left of each cell."""

    terms: Array
    gain: Array
    left: Array
    terms_alone: Array  # with equal exposures
    left_alone: Array


def _telling(cells: Cells) -> Cells:
    """Without cells that are saturated or nearly black."""
    both = np.stack([cells.level_a, cells.level_b])
    good = ((both > DARKEST) & (both < BRIGHTEST)).all(axis=(0, 2))
    return Cells(*(getattr(cells, name)[good] for name in Cells.__dataclass_fields__))


def _solve(cells: Cells, channel: int, first: Array, count: int) -> _Solved:
    ratio = np.log(cells.level_a[:, channel] / cells.level_b[:, channel])
    flat = sparse.csr_array(polynomial_terms(cells.at_a) - polynomial_terms(cells.at_b))
    rows = np.arange(len(ratio))
    ones = np.ones(len(ratio))
    fields = sparse.csr_array(
        (np.concatenate([ones, -ones]), (np.tile(rows, 2), np.concatenate([cells.a, cells.b]))), (len(ratio), count)
    )
    both = sparse.hstack([flat, fields], format="csr")
    found, left = _robust(both, ratio, np.concatenate([first, np.zeros(count)]), len(first))
    alone, left_alone = _robust(flat, ratio, first, len(first))
    gain = found[len(first) :]
    return _Solved(found[: len(first)], gain - gain.mean(), left, alone, left_alone)


def _robust(design: sparse.csr_array, values: Array, prior: Array, terms: int) -> tuple[Array, Array]:
    """Least squares near a prior, cells that contradict the rest weighing less; the solution and what it leaves."""
    stiffness = np.where(np.arange(len(prior)) < terms, _FLAT_SD, _GAIN_SD) ** -2.0
    found, left = prior, values - design @ prior
    for _ in range(_ITERATIONS):
        weight = _CELL_SD**-2 / (1 + (left / _CELL_SD) ** 2)
        normal = (design.T @ (design * weight[:, None]) + sparse.diags_array(stiffness)).tocsc()
        found = np.atleast_1d(spsolve(normal, design.T @ (weight * values) + stiffness * prior))
        left = values - design @ found
    return found, left


def _drift(cells: Cells, solved: list[_Solved]) -> Drift:
    """Whether exposures differ by more than chance: an F test on the mean of each seam, in the worst channel."""
    gains = np.stack([one.gain for one in solved], axis=1)
    if not len(cells.seam):
        return NO_DRIFT
    sd, largest = float(gains.std(axis=0).max()), float(np.abs(gains).max())
    chances = [_chance(cells.seam, one, len(gains)) for one in solved]
    known = [chance for chance in chances if chance is not None]
    chance = min(1.0, 3 * min(known)) if known else None
    return Drift(sd, largest, chance, corrected=chance is not None and chance < _CHANCE and largest > _LEAST_GAIN)


def _chance(seam: NDArray[np.int_], one: _Solved, fields: int) -> float | None:
    numbers, which = np.unique(seam, return_inverse=True)
    freedom = len(numbers) - fields
    if freedom < 1:
        return None
    alone, left = (np.bincount(which, part) / np.bincount(which) for part in (one.left_alone, one.left))
    sum_alone, sum_left = _robust_sum(alone), _robust_sum(left)
    gained = max(sum_alone - sum_left, 0.0) / (fields - 1) if fields > 1 else 0.0
    from scipy import stats  # here, as it takes a second that a server would start later by

    return float(stats.f.sf(gained / max(sum_left / freedom, 1e-12), fields - 1, freedom)) if fields > 1 else None


def _robust_sum(left: Array) -> float:
    """Sum of squares, each limited to that of three standard deviations."""
    limit = _OUTLIER_SDS * 1.4826 * float(np.median(np.abs(left)))
    return float((np.minimum(np.abs(left), limit) ** 2).sum())


def _steps(cells: Cells, terms: Array, gains: Array, white: White, seams: int, flat: FlatField) -> Array:
    """Median over the cells of each seam of the difference that is left, in grey levels."""
    scale = np.asarray(white.gains) * _mean_level(terms, flat)
    shown_a = cells.level_a / np.exp(polynomial_terms(cells.at_a) @ terms) * scale * gains[cells.a]
    shown_b = cells.level_b / np.exp(polynomial_terms(cells.at_b) @ terms) * scale * gains[cells.b]
    steps = np.full((seams, 3), np.nan)
    if not len(cells.seam):
        return steps
    order = np.argsort(cells.seam, kind="stable")
    numbers, begins = np.unique(cells.seam[order], return_index=True)
    for number, chosen in zip(numbers, np.split(order, begins[1:]), strict=True):
        steps[number] = np.median(shown_b[chosen] - shown_a[chosen], axis=0)
    return steps


def _mean_level(terms: Array, flat: FlatField) -> Array:
    """What `polynomial_flat` divided the polynomial by, for each channel."""
    height, width = flat.shape[:2]
    middle = np.exp(polynomial_terms(np.zeros((1, 2))) @ terms)[0]
    return np.asarray(middle / flat[height // 2, width // 2], np.float64)
