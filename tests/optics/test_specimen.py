"""Layers and topography of a specimen."""

import numpy as np
import pytest

from parfocal.optics.specimen import LayerCanvas, Topography, ellipse
from parfocal.optics.texture import Window

WINDOW = Window.centred(300.0, -200.0, (128, 160), 0.5)
ONE_STAIN = np.ones((1, 3), np.float32)


def focus_at_pixels(topography: Topography, window: Window) -> np.ndarray:
    x, y = np.meshgrid(window.x_um, window.y_um)
    return topography.focus_z_um(x, y)


def test_tilt_and_bow_are_in_um_per_mm():
    relief = Topography(base_um=3.0, tilt_um_per_mm=(2.0, -1.0), bow_um_per_mm2=0.5)
    assert relief.focus_z_um(np.array([0.0, 1000.0]), np.array([0.0, 2000.0])) == pytest.approx([3.0, 3 + 2 - 2 + 2.5])


def test_a_step_is_where_it_is_said_to_be():
    relief = Topography(step_um=5.0, step_at_um=100.0)
    assert relief.focus_z_um(np.array([99.9, 100.1]), np.zeros(2)) == pytest.approx([0.0, 5.0])


def test_roughness_has_its_standard_deviation_and_is_a_function_of_place():
    relief = Topography(seed=2, roughness_um=1.5, roughness_cell_um=100.0)
    x, y = np.meshgrid(np.arange(0, 6000.0, 40), np.arange(0, 6000.0, 40))
    z = relief.focus_z_um(x, y)
    assert z.std() == pytest.approx(1.5, rel=0.3)
    np.testing.assert_array_equal(z[3:5, 7], relief.focus_z_um(x[3:5, 7], y[3:5, 7]))


@pytest.mark.parametrize("shape", [(20, 20), (128, 160), (131, 160), (1024, 1224)])
def test_the_surface_over_a_window_is_the_focus_at_its_pixels(shape):
    relief = Topography(
        seed=1, base_um=1.0, tilt_um_per_mm=(6.0, -4.0), bow_um_per_mm2=0.3, roughness_um=0.8, roughness_cell_um=300.0
    )
    window = Window.centred(300.0, -200.0, shape, 0.345)
    np.testing.assert_allclose(relief.over(window), focus_at_pixels(relief, window), atol=0.02)


def test_the_surface_over_a_window_keeps_a_step_sharp():
    relief = Topography(step_um=5.0, step_at_um=WINDOW.left_um + 30.0, tilt_um_per_mm=(2.0, 1.0))
    error = np.abs(relief.over(WINDOW) - focus_at_pixels(relief, WINDOW))
    assert np.mean(error > 0.05) < 0.03  # the step itself may be a coarse pixel off
    assert relief.over(WINDOW).std() > 2


@pytest.mark.parametrize("depth_um", [-0.81, 0.0, 0.3, 0.405, 0.808, 1.0, -2.2])
def test_an_object_is_shared_between_the_two_layers_nearest_to_it(depth_um):
    pitch_um = 0.81
    canvas = LayerCanvas(WINDOW, pitch_um, ONE_STAIN)
    place = (slice(10, 14), slice(20, 26))
    canvas.add_object(place, depth_um, {0: np.full((4, 6), 0.5, np.float32)}, np.full((4, 6), 0.2, np.float32))
    layers = canvas.layers()
    assert 1 <= len(layers.focus_z_um) <= 2
    assert np.all(np.abs(layers.focus_z_um - depth_um) <= pitch_um)
    np.testing.assert_allclose(layers.density[:, 0, 10:14, 20:26].sum(axis=0), 0.5, rtol=1e-5)
    np.testing.assert_allclose(layers.phase[:, 10:14, 20:26].sum(axis=0), 0.2, rtol=1e-5)
    assert layers.density.sum() == pytest.approx(0.5 * 24, rel=1e-5)
    weights = layers.density[:, 0, 12, 22] / 0.5
    assert weights @ layers.focus_z_um == pytest.approx(depth_um, abs=0.02 * pitch_um)


def test_a_sloping_sheet_keeps_its_density_and_its_depth():
    canvas = LayerCanvas(WINDOW, 0.81, ONE_STAIN)
    depth = Topography(tilt_um_per_mm=(30.0, 10.0)).over(WINDOW)
    canvas.add_sheet(depth, {0: np.full(WINDOW.shape, 0.3, np.float32)}, np.full(WINDOW.shape, 0.1, np.float32))
    layers = canvas.layers()
    np.testing.assert_allclose(layers.density[:, 0].sum(axis=0), 0.3, rtol=1e-5)
    np.testing.assert_allclose(layers.phase.sum(axis=0), 0.1, rtol=1e-5)
    mean_depth = np.einsum("l,lyx->yx", layers.focus_z_um, layers.density[:, 0]) / 0.3
    np.testing.assert_allclose(mean_depth, depth, atol=1e-3)


def test_an_empty_canvas_is_one_empty_layer():
    layers = LayerCanvas(WINDOW, 0.81, ONE_STAIN).layers()
    assert layers.density.shape == (1, 1, *WINDOW.shape)
    assert not layers.density.any()


def test_an_ellipse_has_its_area_and_is_cut_by_the_window():
    place, cover, squared = ellipse(WINDOW, 300.0, -200.0, (6.0, 3.0), 0.4, 0.5)
    assert cover.sum() * WINDOW.pixel_um**2 == pytest.approx(np.pi * 6 * 3, rel=0.02)
    assert squared.shape == cover.shape == (place[0].stop - place[0].start, place[1].stop - place[1].start)
    cut = ellipse(WINDOW, WINDOW.left_um, -200.0, (6.0, 6.0), 0.0, 0.5)
    assert cut[0][1].start == 0
    assert cut[1].sum() * WINDOW.pixel_um**2 == pytest.approx(np.pi * 18, rel=0.05)
    assert ellipse(WINDOW, WINDOW.left_um - 20, -200.0, (6.0, 6.0), 0.0, 0.5) is None
