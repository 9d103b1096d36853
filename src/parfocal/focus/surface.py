"""The one owner of where the focus is on this slide: a Gaussian process over the fields that were measured.

The relief is a tilt and a bow, plus a smooth part (waves of the glass), plus a rough part (the tissue itself). How
large the parts are is not known beforehand: a few dozen candidates each predict every measurement before it is added,
and count by how well they did (prequential weights). So the standard deviation is that of predictions of this very
slide.

All of it may drift, as instruments do that warm up: steadily, at a rate that the measurements tell.

Each prediction uses the nearest measurements and the latest ones only: the cost does not grow with the slide, but for
finding them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError

Array = NDArray[np.float64]

_NEIGHBOURS, _LATEST = 32, 8
_DRIFT_SD_UM_PER_MIN = 0.5
_FEWEST_TO_TELL_DRIFT, _MOST_TO_TELL_DRIFT = 8, 160
_TELLS_DRIFT, _LEAST_TOLD = 0.7, 0.05  # share of the variance beforehand that measurements take away
_LEVEL_SD_UM, _TILT_SD_UM_PER_MM, _BOW_SD_UM_PER_MM2 = 20.0, 4.0, 0.5
_SMOOTH_UM, _SMOOTH_PITCHES = (0.0, 1.0, 4.0, 12.0), (5.0, 12.0)
_ROUGH_UM, _ROUGH_PITCHES = (0.03, 0.1, 0.3, 1.0), 1.0
_UNKNOWN_SD_UM = 0.7
_LEAST_SD_UM = 0.02
_FORGET = 0.98
_LEAST_WEIGHT = 0.003  # of the best candidate's: others are not asked
_FREEDOM = 4.0  # of Student's t, by which a candidate's prediction is judged: one odd field decides nothing
# Errors are compared with expectations that say something; one odd field counts for little, and so do the first few.
_COMPARED_SD_UM, _MOST_SDS, _PRIOR_COUNT = 1.0, 2.5, 8.0
_LEAST_HONESTY, _MOST_HONESTY = 0.5, 2.0
_FEWEST_TO_SUSPECT = 4
_SUSPECT_SDS, _SUSPECT_UM = 5.0, 1.0
_WITNESS_PITCHES = 2.5


@dataclass(frozen=True)
class FocusPoint:
    """A field whose focus was measured.

    Attributes:
        x_um: stage x in µm.
        y_um: stage y in µm.
        z_um: its focus in µm.
        sd_um: standard deviation of the measurement in µm; None: unknown.
        time_s: when it was measured, by the instrument's clock.
        trusted: False while nothing around bears it out.
    """

    x_um: float
    y_um: float
    z_um: float
    sd_um: float | None = None
    time_s: float = 0.0
    trusted: bool = True

    @property
    def variance_um2(self) -> float:
        """Of the measurement, in µm²."""
        return (_UNKNOWN_SD_UM if self.sd_um is None else max(self.sd_um, _LEAST_SD_UM)) ** 2


@dataclass(frozen=True)
class Expectation:
    """Where the focus of a field is expected, and its standard deviation; in µm."""

    z_um: float
    sd_um: float


@dataclass(frozen=True)
class FocusDrift:
    """How fast the focus moves everywhere at once, up where positive, and the standard deviation of that."""

    um_per_min: float
    sd_um_per_min: float


class FocusSurface:
    """Focus over the slide, learnt from fields that were measured.

    Args:
        initial_um: focus found by the first sweep, in µm: what is expected until a field was measured.
        pitch_um: distance of neighbouring fields in µm, the unit in which relief is thought of.
        initial_sd_um: standard deviation of `initial_um`, anywhere on the slide, in µm.
        largest_step_um: how far an expectation may lie from the nearest measurement, in µm for each pitch between them.

    Raises:
        SettingsError: if a value is out of range.
    """

    def __init__(
        self, initial_um: float, pitch_um: float = 300.0, initial_sd_um: float = 10.0, largest_step_um: float = 5.0
    ) -> None:
        if not math.isfinite(initial_um):
            raise SettingsError(f"initial focus {initial_um:g} µm is not a number")
        for name, value in (("pitch", pitch_um), ("initial sd", initial_sd_um), ("largest step", largest_step_um)):
            if not 0 < value < math.inf:
                raise SettingsError(f"{name} {value:g} µm is not above 0 µm")
        self._initial = Expectation(initial_um, initial_sd_um)
        self._pitch_um = pitch_um
        self._largest_step_um = largest_step_um
        self._candidates = _Candidates(pitch_um)
        self._count = 0
        self._values = np.zeros((64, 6))  # x, y, z, variance, time, sd (NaN: unknown); grows by doubling
        self._trusted = np.zeros(64, dtype=bool)
        self._squares = np.array([_PRIOR_COUNT, _PRIOR_COUNT])  # how many compared, sum of squared errors in deviations

    @property
    def points(self) -> tuple[FocusPoint, ...]:
        """The fields measured, in the order in which they were added."""
        return tuple(
            FocusPoint(x_um, y_um, z_um, None if math.isnan(sd_um) else sd_um, time_s, trusted)
            for (x_um, y_um, z_um, _, time_s, sd_um), trusted in zip(
                self._values[: self._count].tolist(), self._trusted[: self._count].tolist(), strict=True
            )
        )

    @property
    def last_um(self) -> float:
        """Focus of the field measured last, in µm: the paper's pivot (section 4.3.2)."""
        return float(self._values[self._count - 1, 2]) if self._count else self._initial.z_um

    def add(
        self,
        x_um: float,
        y_um: float,
        z_um: float,
        sd_um: float | None = None,
        *,
        time_s: float = 0.0,
        hearsay: bool = False,
    ) -> None:
        """Learn the focus of a field. Fields that are empty, unsure or failed have nothing to tell and stay out.

        A measurement that lies far from what all others say is kept apart until one nearby bears it out: a field
        focused on dust stays alone, a step of the slide does not.

        Args:
            x_um: stage x in µm.
            y_um: stage y in µm.
            z_um: focus in µm.
            sd_um: standard deviation of the measurement in µm; None where unknown.
            time_s: when it was measured, by the instrument's clock.
            hearsay: whether what the surface expected went into it: it then does not count for or against a candidate.

        Raises:
            SettingsError: if a position is no number, or the deviation is negative.
        """
        if not all(map(math.isfinite, (x_um, y_um, z_um))):
            raise SettingsError(f"focus {z_um:g} µm at ({x_um:g}, {y_um:g}) µm is not a point")
        if sd_um is not None and not 0 <= sd_um < math.inf:
            raise SettingsError(f"sd {sd_um:g} µm of a focus is not 0 µm or more")
        point = FocusPoint(x_um, y_um, z_um, sd_um, time_s)
        if self._trusted.sum() >= _FEWEST_TO_SUSPECT:
            expected = self._mixture(x_um, y_um, time_s)
            off_um = abs(z_um - expected.z_um)
            limit_um = max(_SUSPECT_UM, _SUSPECT_SDS * math.hypot(expected.sd_um, math.sqrt(point.variance_um2)))
            point = replace(point, trusted=off_um <= limit_um or self._borne_out(point))
            if not hearsay:
                self._compare(off_um, expected.sd_um, math.sqrt(point.variance_um2))
                means_um, variances_um2 = self._candidates.predict(*self._chosen(x_um, y_um, time_s))
                self._candidates.judge(z_um - means_um, variances_um2 + point.variance_um2)
        self._append(point)

    def expect(self, x_um: float, y_um: float, time_s: float = 0.0) -> Expectation:
        """Where the focus is expected at stage (x_um, y_um), at a time of the instrument's clock.

        It never lies farther from the nearest trusted measurement than `largest_step_um` for each pitch, or part of
        one, between them; where it is held back the deviation grows by as much.
        """
        if not self._count:
            return self._initial
        expected = self._mixture(x_um, y_um, time_s)
        rows = self._rows
        away_um = np.hypot(rows[:, 0] - x_um, rows[:, 1] - y_um)
        nearest = int(np.argmin(away_um))
        reach_um = self._largest_step_um * max(1.0, float(away_um[nearest]) / self._pitch_um)
        bounded_um = min(max(expected.z_um, rows[nearest, 2] - reach_um), rows[nearest, 2] + reach_um)
        sd_um = self._honesty * expected.sd_um
        return Expectation(float(bounded_um), math.hypot(sd_um, bounded_um - expected.z_um))

    @property
    def between_sd_um(self) -> float:
        """Standard deviation of the focus halfway between two neighbouring fields whose own is known, in µm."""
        return math.sqrt(float(self._candidates.weights @ self._candidates.between_um2))

    def drift(self) -> FocusDrift | None:
        """The steady drift that the measurements tell of, by themselves: what is thought of it beforehand is taken out.

        None where they tell little: relief and drift look alike where each place is measured once, in a short time.
        """
        rows = self._rows
        if len(rows) < _FEWEST_TO_TELL_DRIFT:
            return None
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST_TO_TELL_DRIFT)).astype(int))]
        weights = self._candidates.weights
        counts = np.flatnonzero(weights > _LEAST_WEIGHT * weights.max())
        shares = weights[counts] / weights[counts].sum()
        place = rows[:, [0, 1, 4]] - rows[:, [0, 1, 4]].mean(axis=0)
        means, variances = self._candidates.drift(place, rows[:, 2], rows[:, 3], counts)
        told = np.maximum(1 - variances / _DRIFT_SD_UM_PER_MIN**2, _LEAST_TOLD)
        if shares @ told < _TELLS_DRIFT:
            return None
        mean = float(shares @ (means / told))
        return FocusDrift(mean, math.sqrt(float(shares @ (variances / told + (means / told - mean) ** 2))))

    @property
    def _rows(self) -> Array:
        """(N, 5) x, y, z, variance, time of the trusted points, in the order in which they were added."""
        values, trusted = self._values[: self._count, :5], self._trusted[: self._count]
        return values if trusted.all() else values[trusted]

    def _compare(self, off_um: float, expected_sd_um: float, own_sd_um: float) -> None:
        """Learn how large errors are beside what was expected of them, from fields that were not far from others."""
        if expected_sd_um > _COMPARED_SD_UM:
            return
        sds = min(off_um / math.hypot(expected_sd_um, own_sd_um), _MOST_SDS)
        self._squares = np.array([1.0, sds**2]) + _FORGET * self._squares

    @property
    def _honesty(self) -> float:
        """By what the candidates' deviations are to be multiplied on this slide, as its measurements say."""
        count, squares = self._squares
        return min(max(math.sqrt(float(squares / count)), _LEAST_HONESTY), _MOST_HONESTY)

    def _append(self, point: FocusPoint) -> None:
        count = self._count
        if count == len(self._values):
            self._values = np.concatenate([self._values, np.zeros_like(self._values)])
            self._trusted = np.concatenate([self._trusted, np.zeros_like(self._trusted)])
        sd_um = math.nan if point.sd_um is None else point.sd_um
        self._values[count] = (point.x_um, point.y_um, point.z_um, point.variance_um2, point.time_s, sd_um)
        self._trusted[count] = point.trusted
        self._count += 1

    def _borne_out(self, point: FocusPoint) -> bool:
        """Whether a suspected point nearby agrees with this one; then that one is trusted too."""
        x_um, y_um, z_um, variance_um2, *_ = self._values[: self._count].T
        away_um = np.hypot(x_um - point.x_um, y_um - point.y_um)
        reach_um = 3 * np.sqrt(variance_um2 + point.variance_um2) + _SUSPECT_UM * away_um / self._pitch_um
        is_near = ~self._trusted[: self._count] & (away_um <= _WITNESS_PITCHES * self._pitch_um)
        agrees = is_near & (np.abs(z_um - point.z_um) <= reach_um)
        if agrees.any():
            self._trusted[np.argmax(agrees)] = True
        return bool(agrees.any())

    def _chosen(self, x_um: float, y_um: float, time_s: float) -> tuple[Array, Array, Array]:
        """The trusted points nearest to a place, and the latest: (x, y) in µm and time in s from there and then (N, 3),
        focus (N,) in µm, variance (N,) in µm²."""
        rows = self._rows
        if len(rows) > _NEIGHBOURS + _LATEST:
            latest, others = rows[-_LATEST:], rows[:-_LATEST]
            away = np.hypot(others[:, 0] - x_um, others[:, 1] - y_um)
            rows = np.concatenate([others[np.argpartition(away, _NEIGHBOURS)[:_NEIGHBOURS]], latest])
        return rows[:, [0, 1, 4]] - (x_um, y_um, time_s), rows[:, 2], rows[:, 3]

    def _mixture(self, x_um: float, y_um: float, time_s: float) -> Expectation:
        """What the candidates that count say together."""
        weights = self._candidates.weights
        counts = np.flatnonzero(weights > _LEAST_WEIGHT * weights.max())
        means_um, variances_um2 = self._candidates.predict(*self._chosen(x_um, y_um, time_s), counts)
        shares = weights[counts] / weights[counts].sum()
        mean_um = float(shares @ means_um)
        variance_um2 = float(shares @ (variances_um2 + (means_um - mean_um) ** 2))
        return Expectation(mean_um, math.sqrt(variance_um2))


class _Candidates:
    """Gaussian processes with different relief, H of them, and how much each is believed."""

    def __init__(self, pitch_um: float) -> None:
        smooth = [(0.0, _SMOOTH_PITCHES[0]), *itertools.product(_SMOOTH_UM[1:], _SMOOTH_PITCHES)]
        relief = np.array([(*part, rough) for part, rough in itertools.product(smooth, _ROUGH_UM)])
        self._smooth_um2, self._rough_um2 = relief[:, 0] ** 2, relief[:, 2] ** 2
        self._cell = np.searchsorted(_SMOOTH_PITCHES, relief[:, 1])
        self._pitch_um = pitch_um
        self._score = np.zeros(len(relief))
        self.between_um2 = self._between_um2()
        """(H,) variance halfway between two neighbours whose focus is known, in µm²."""

    @property
    def weights(self) -> Array:
        """(H,) they sum to 1."""
        weights = np.exp(self._score - self._score.max())
        return np.asarray(weights / weights.sum())

    def judge(self, residual_um: Array, variance_um2: Array) -> None:
        """Count a prediction: residual (H,) in µm, predicted variance (H,) with the measurement's own, in µm²."""
        log_density = -0.5 * np.log(variance_um2) - (_FREEDOM + 1) / 2 * np.log1p(
            residual_um**2 / variance_um2 / _FREEDOM
        )
        self._score = _FORGET * self._score + log_density

    def predict(
        self, place: Array, z_um: Array, variance_um2: Array, which: NDArray[np.int64] | slice = slice(None)
    ) -> tuple[Array, Array]:
        """Mean (H,) in µm and variance (H,) in µm² here and now, from measurements (N,) at `place`: x, y in µm and time
        in s from here and now, (N, 3)."""
        level_um = float(np.median(z_um))
        places = np.vstack([place, np.zeros((1, 3))])
        covariance = self._covariance(places, which)
        known, across, own = covariance[:, :-1, :-1], covariance[:, :-1, -1], covariance[:, -1, -1]
        mean_um, variance = _told(known + np.diag(variance_um2), z_um - level_um, across, own)
        return level_um + mean_um, np.maximum(variance, _LEAST_SD_UM**2)

    def drift(self, place: Array, z_um: Array, variance_um2: Array, which: NDArray[np.int64]) -> tuple[Array, Array]:
        """Mean (H,) in µm a minute and variance (H,) of the steady drift, from measurements (N,) as for `predict`."""
        known = self._covariance(place, which) + np.diag(variance_um2)
        across = np.broadcast_to(_DRIFT_SD_UM_PER_MIN**2 * place[:, 2] / 60, known.shape[:2])
        return _told(known, z_um - float(np.median(z_um)), across, np.full(len(known), _DRIFT_SD_UM_PER_MIN**2))

    def _between_um2(self) -> Array:
        half_um = self._pitch_um / 2
        ends = np.array([[-half_um, 0.0, 0.0], [half_um, 0.0, 0.0]])
        _, variance_um2 = self.predict(ends, np.zeros(2), np.full(2, _LEAST_SD_UM**2))
        return variance_um2

    def _covariance(self, place: Array, which: NDArray[np.int64] | slice) -> Array:
        """(H, N, N) covariance of focus between places and times (N, 3), in µm²."""
        place_um, time_min = place[:, :2], place[:, 2] / 60
        apart = np.hypot(*(place_um[:, None] - place_um[None]).transpose(2, 0, 1)) / self._pitch_um
        squared_mm2 = np.sum(place_um**2, axis=1) / 1e6
        tilt = (_TILT_SD_UM_PER_MM / 1000) ** 2 * (place_um @ place_um.T)
        bow = _BOW_SD_UM_PER_MM2**2 * np.outer(squared_mm2, squared_mm2)
        smooth = np.stack([_matern(apart / cell) for cell in _SMOOTH_PITCHES])[self._cell[which]]
        rough = np.exp(-apart / _ROUGH_PITCHES)
        parts = self._smooth_um2[which, None, None] * smooth + self._rough_um2[which, None, None] * rough
        drift = _DRIFT_SD_UM_PER_MIN**2 * np.outer(time_min, time_min)
        return np.asarray(_LEVEL_SD_UM**2 + tilt + bow + drift + parts)


def _told(known: Array, values: Array, across: Array, own: Array) -> tuple[Array, Array]:
    """What values (N,) of covariance (H, N, N) tell of one more: its covariance with them (H, N), its variance (H,)."""
    told = np.broadcast_to(values[None, :, None], (*known.shape[:2], 1))
    solved = np.linalg.solve(known, np.concatenate([told, across[..., None]], axis=-1))
    mean, less = (np.einsum("hn,hn->h", across, solved[..., column]) for column in (0, 1))
    return mean, own - less


def _matern(distance: Array) -> Array:
    """Matérn covariance of smoothness 7/2 over distance in its own length."""
    scaled = math.sqrt(7) * distance
    return np.asarray((1 + scaled + 2 * scaled**2 / 5 + scaled**3 / 15) * np.exp(-scaled))
