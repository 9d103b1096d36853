"""Figures of merit against their formulas written with scipy, and where a focus curve peaks."""

import math

import numpy as np
import pytest
import scipy.ndimage

from parfocal.errors import SettingsError
from parfocal.merit import (
    MERITS,
    best_focus,
    brenner,
    find_best_focus,
    normalised_variance,
    tenengrad,
    variance_of_laplacian,
    vollath_f4,
)

RGB = np.random.default_rng(5).integers(0, 256, (47, 61, 3), dtype=np.uint8)
GREEN = RGB[..., 1].astype(np.float64)


def scipy_tenengrad(plane: np.ndarray) -> float:
    smooth = scipy.ndimage.gaussian_filter(plane, 1.0, mode="mirror")
    gradients = (scipy.ndimage.sobel(smooth, axis=axis, mode="mirror") for axis in (0, 1))
    return float(np.mean(sum(gradient**2 for gradient in gradients)))


def scipy_vollath(plane: np.ndarray) -> float:
    columns = plane.shape[1] - 2
    one, two = ((plane[:, :columns] * plane[:, lag : lag + columns]).mean() for lag in (1, 2))
    return float(one - two)


REFERENCES = {
    "tenengrad": scipy_tenengrad,
    "brenner": lambda plane: float(np.mean(scipy.ndimage.correlate1d(plane, [-1, 0, 1], axis=1)[:, 1:-1] ** 2)),
    "variance-of-laplacian": lambda plane: float(np.var(scipy.ndimage.laplace(plane, mode="mirror"))),
    "vollath-f4": scipy_vollath,
    "normalised-variance": lambda plane: float(np.var(plane) / np.mean(plane)),
}


def test_every_merit_has_a_reference():
    assert set(REFERENCES) == set(MERITS)


@pytest.mark.parametrize("name", MERITS)
def test_a_merit_is_its_formula_on_the_green_channel(name: str):
    # Tenengrad's Gaussian is cut off at another radius by OpenCV than by scipy.
    tolerance = 5e-3 if name == "tenengrad" else 1e-4
    assert MERITS[name](RGB) == pytest.approx(REFERENCES[name](GREEN), rel=tolerance)
    assert MERITS[name](RGB[..., 1]) == pytest.approx(MERITS[name](RGB), rel=1e-6)


@pytest.mark.parametrize("name", MERITS)
def test_every_merit_falls_with_blur(name: str):
    texture = scipy.ndimage.gaussian_filter(GREEN, 0.7)
    scores = [MERITS[name](scipy.ndimage.gaussian_filter(texture, sigma)) for sigma in (0.5, 1.5, 3.0)]
    assert scores[0] > scores[1] > scores[2]


@pytest.mark.parametrize("merit", [tenengrad, brenner, variance_of_laplacian, vollath_f4, normalised_variance])
def test_a_flat_and_a_black_image_score_nothing(merit):
    for level in (0, 128):
        assert merit(np.full((20, 20, 3), level, np.uint8)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "z_um",
    [np.arange(-4.0, 5.0), np.array([-5.0, -3.1, -0.4, 0.3, 2.9, 3.0, 7.0])],
    ids=["even spacing", "uneven spacing"],
)
def test_the_peak_of_a_parabola_is_found_whatever_the_spacing(z_um):
    assert best_focus(z_um, 7 - 0.3 * (z_um - 0.37) ** 2) == pytest.approx(0.37, abs=1e-9)


def test_the_parabola_goes_through_the_best_three_only():
    z_um = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert best_focus(z_um, np.array([0.0, 0.0, 4.0, 3.0, 3.9])) == pytest.approx(2.3)


@pytest.mark.parametrize(("curve", "expected"), [([3, 2, 1], 0.0), ([1, 2, 3], 2.0), ([5], 0.0), ([1, 1, 1], 0.0)])
def test_a_curve_that_still_rises_at_its_end_peaks_there(curve, expected):
    z_um = np.arange(len(curve), dtype=float)
    assert best_focus(z_um, np.array(curve, dtype=float)) == expected


@pytest.mark.parametrize(
    ("z_um", "merit", "named"),
    [([], [], "0 and 0"), ([1, 2, 3], [1, 2], "3 and 2"), ([1, 3, 2], [1, 2, 1], "rise"), ([1, 1], [1, 2], "rise")],
)
def test_what_is_no_curve_is_refused(z_um, merit, named):
    with pytest.raises(SettingsError, match=named):
        best_focus(np.array(z_um, dtype=float), np.array(merit, dtype=float))


class Curve:
    """Planes that hold nothing but their own score."""

    def __init__(self, peak_um: float, width_um: float = 3.0) -> None:
        self.peak_um, self.width_um = peak_um, width_um
        self.asked: list[float] = []

    def plane(self, z_um: float) -> np.ndarray:
        self.asked.append(z_um)
        return np.array([[math.exp(-(((z_um - self.peak_um) / self.width_um) ** 2))]])


def score(image: np.ndarray) -> float:
    return float(image[0, 0])


@pytest.mark.parametrize("peak_um", [-6.2, -0.11, 0.0, 2.345, 7.1])
def test_the_search_finds_the_peak_to_a_fraction_of_its_step(peak_um: float):
    curve = Curve(peak_um)
    found_um = find_best_focus(curve.plane, 0.0, 8.0, 0.3, score)
    assert found_um == pytest.approx(peak_um, abs=0.02)
    assert len(curve.asked) == len(set(curve.asked)), "a plane was rendered twice"
    assert len(curve.asked) < 8.0 / 0.3 * 2 * 0.7, "coarse to fine looks at fewer planes than all"


def test_the_search_starts_at_its_centre():
    assert find_best_focus(Curve(101.5).plane, 100.0, 5.0, 0.25, score) == pytest.approx(101.5, abs=0.01)


@pytest.mark.parametrize("peak_um", [-20.0, 9.0, 30.0])
def test_the_search_finds_nothing_where_the_merit_still_rises_at_the_reach(peak_um: float):
    curve = Curve(peak_um, width_um=15.0)
    assert find_best_focus(curve.plane, 0.0, 8.0, 0.3, score) is None
    assert max(abs(z_um) for z_um in curve.asked) <= 8.0
