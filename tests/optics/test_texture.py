"""Random structure is a function of place: any window of it, on any pixels, is cut from the same field."""

import numpy as np
import pytest

from parfocal.optics.texture import Window, fractal, generator, noise, noise_at

WINDOW = Window(left_um=-37.2, top_um=1203.5, shape=(120, 150), pixel_um=0.7)


def test_a_centred_window_has_its_pixels_around_the_centre():
    window = Window.centred(10.0, -20.0, (4, 6), 0.5)
    assert window.x_um.mean() == pytest.approx(10.0)
    assert window.y_um.mean() == pytest.approx(-20.0)
    assert (len(window.y_um), len(window.x_um)) == (4, 6)
    assert np.diff(window.x_um) == pytest.approx(0.5)


@pytest.mark.parametrize("cell_um", [0.9, 5.0, 80.0])
def test_a_window_and_single_points_read_the_same_field(cell_um):
    x, y = np.meshgrid(WINDOW.x_um, WINDOW.y_um)
    np.testing.assert_allclose(noise(7, WINDOW, cell_um), noise_at(7, x, y, cell_um), atol=1e-4)


def test_noise_has_about_zero_mean_and_unit_variance():
    wide = Window(0.0, 0.0, (400, 400), 1.0)
    plane = noise(3, wide, 4.0)
    assert plane.mean() == pytest.approx(0, abs=0.05)
    assert 0.5 < plane.var() < 1.2
    assert 0.5 < fractal(3, wide, 16.0, 2.0, 0.7).var() < 1.2


def test_overlapping_windows_agree_whatever_their_grid():
    coarse = Window(WINDOW.left_um, WINDOW.top_um, (40, 50), 2.1)  # each pixel's centre is that of 3 × 3 of WINDOW's
    for drawn in (lambda w: noise(5, w, 12.0), lambda w: fractal(5, w, 40.0, 3.0, 0.6)):
        np.testing.assert_allclose(drawn(coarse), drawn(WINDOW)[1::3, 1::3], atol=1e-4)


def test_another_seed_is_another_field():
    same, other = noise(1, WINDOW, 3.0), noise(2, WINDOW, 3.0)
    np.testing.assert_array_equal(same, noise(1, WINDOW, 3.0))
    assert abs(np.corrcoef(same.ravel(), other.ravel())[0, 1]) < 0.1


def test_stretch_draws_the_structure_out_along_x():
    plane = noise(4, Window(0.0, 0.0, (200, 200), 1.0), 4.0, stretch=5.0)
    assert np.abs(np.diff(plane, axis=0)).mean() > 3 * np.abs(np.diff(plane, axis=1)).mean()


def test_cells_that_touch_the_grown_window_are_listed():
    window = Window(left_um=5.0, top_um=-5.0, shape=(10, 10), pixel_um=1.0)
    assert set(window.cells(10.0, 0.0)) == {(0, -1), (0, 0), (1, -1), (1, 0)}
    assert (2, 0) in window.cells(10.0, 6.0)


def test_a_cell_has_its_own_random_numbers_also_at_negative_indices():
    assert generator(1, -3, 5).random() == generator(1, -3, 5).random()
    assert generator(1, -3, 5).random() != generator(1, 3, 5).random()
