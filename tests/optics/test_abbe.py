"""The slow light (`optics.abbe`) against the independent Abbe sum of `abbe`, against the fast light, and physics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from abbe import abbe_image

from parfocal.optics.abbe import AbbeLight, AbbeOptics, Exposure
from parfocal.optics.arrays import NUMPY, Arrays
from parfocal.optics.imaging import FieldLight, SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.samples import Appearance, make_sample
from parfocal.optics.specimen import Layers, Topography
from parfocal.optics.transfer import RGB_WAVELENGTHS_UM, Illumination, TransferFunction

LENS = Objective(20, 0.75)
PIXEL_UM = 0.345
GREEN = 1
FINE = 128


def smooth_texture(seed: int, size_px: float) -> np.ndarray:
    """Random smooth periodic texture of unit variance, (FINE, FINE)."""
    frequency = np.fft.fftfreq(FINE)
    low_pass = np.exp(-2 * (math.pi * size_px) ** 2 * (frequency[:, None] ** 2 + frequency[None, :] ** 2))
    drawn = np.fft.ifft2(np.fft.fft2(np.random.default_rng(seed).standard_normal((FINE, FINE))) * low_pass).real
    return drawn / drawn.std()


def layers_of(absorbance: list[np.ndarray], phase: list[np.ndarray], focus_z_um: list[float]) -> Layers:
    return Layers(
        focus_z_um=np.array(focus_z_um),
        density=np.stack(absorbance)[:, None].astype(np.float32) / np.float32(math.log(10)),
        phase=np.stack(phase).astype(np.float32),
        absorption=np.ones((1, 3), np.float32),
    )


def slow(layers: Layers, illumination: Illumination, points: int = 200, arrays: Arrays = NUMPY) -> AbbeLight:
    return AbbeLight(layers, illumination, (FINE // 2,) * 2, PIXEL_UM, arrays, points)


@pytest.mark.parametrize("z_um", [-5.0, -1.0, 0.0, 3.0])
def test_one_layer_gives_what_an_independent_abbe_sum_gives(z_um: float):
    absorbance, phase = 0.5 + 0.15 * smooth_texture(1, 3), 0.4 * smooth_texture(2, 3)
    shift_um, layer_z_um = 0.2, 0.8
    lit = Illumination(LENS, 0.7, focal_shift_um=(0.0, shift_um, 0.0))
    defocus_um = z_um - layer_z_um - shift_um
    points = max(200, math.ceil(100 * abs(defocus_um)))  # as many as the other takes
    points = round(points / 2.5) if abs(z_um - layer_z_um) > 4 else points
    mine = slow(layers_of([absorbance], [phase], [layer_z_um]), lit, points).plane(z_um, (GREEN,))[..., 0]
    wavelength_um = RGB_WAVELENGTHS_UM[GREEN]
    other = abbe_image(
        absorbance,
        phase * 0.55 / wavelength_um,
        pixel_um=PIXEL_UM,
        wavelength_um=wavelength_um,
        na=LENS.na,
        condenser_ratio=0.7,
        defocus_um=defocus_um,
    )
    np.testing.assert_allclose(mine, other, atol=1e-3 * other.std())


@pytest.mark.slow
def test_for_a_weak_specimen_in_two_layers_with_aberration_it_agrees_with_the_fast_light():
    absorbance = [0.02 * (3 + smooth_texture(3, 4)), 0.02 * (3 + smooth_texture(4, 4))]
    phase = [0.02 * smooth_texture(5, 4), 0.02 * smooth_texture(6, 4)]
    focus_z_um = [-1.62, 0.81]
    lit = Illumination(LENS, 0.7, spherical_waves=0.1, focal_shift_um=(0.3, 0.0, -0.2))
    half = np.exp(1j * math.pi * (np.fft.fftfreq(FINE)[:, None] + np.fft.fftfreq(FINE)[None, :]))
    coarse = [[np.fft.ifft2(np.fft.fft2(a) * half).real[::2, ::2] for a in each] for each in (absorbance, phase)]
    transfer = tuple(TransferFunction(lit, wavelength) for wavelength in RGB_WAVELENGTHS_UM)
    fast = FieldLight(layers_of(*coarse, focus_z_um), transfer, lit.focal_shift_um, (FINE // 2,) * 2, PIXEL_UM)
    reference = slow(layers_of(absorbance, phase, focus_z_um), lit)
    for z_um in (-3.0, -1.0, 0.5, 3.0):
        quick, right = fast.plane(z_um), reference.plane(z_um)
        for channel in range(3):
            assert np.std((quick - right)[..., channel]) < 0.06 * np.std(right[..., channel])


def test_light_meets_first_the_layer_that_needs_the_highest_stage():
    """One axial source point through a phase grating, 8 µm of way, and a stop over half the field; written out here."""
    grating = 0.8 * np.sign(np.sin(2 * math.pi * np.arange(FINE) / 16))[None, :] * np.ones((FINE, 1))
    stop = np.where(np.arange(FINE) < FINE // 2, 3.0, 0.0)[None, :] * np.ones((FINE, 1))
    nothing, way_um, wavelength_um = np.zeros((FINE, FINE)), 8.0, RGB_WAVELENGTHS_UM[GREEN]
    layers = layers_of([stop, nothing], [nothing, grating], [0.0, way_um])
    light = slow(layers, Illumination(LENS, 1e-6), 1)
    frequency = np.fft.fftfreq(FINE, PIXEL_UM / 2)
    squared = frequency[:, None] ** 2 + frequency[None, :] ** 2
    axial = np.sqrt(np.maximum(wavelength_um**-2 - squared, 0))
    propagated = np.exp(2j * math.pi * way_um * axial) * (squared < wavelength_um**-2)
    wave = np.exp(1j * grating * 0.55 / wavelength_um)
    wave = np.fft.ifft2(np.fft.fft2(wave) * propagated) * np.exp(-stop / 2)
    focused = np.fft.ifft2(np.fft.fft2(wave) * (squared <= (LENS.na / wavelength_um) ** 2))
    expected = (np.abs(focused) ** 2).reshape(FINE // 2, 2, FINE // 2, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(light.plane(0.0, (GREEN,))[..., 0], expected, atol=1e-3)


def test_empty_glass_is_one_and_a_slab_obeys_beer_and_lambert():
    slab = np.full((FINE, FINE), 0.7 * math.log(10))
    light = slow(layers_of([slab], [np.zeros_like(slab)], [0.0]), Illumination(LENS, 0.7), 20)
    np.testing.assert_allclose(light.plane(2.0), 10**-0.7, rtol=1e-4)


def test_phase_takes_no_light():
    light = slow(layers_of([np.zeros((FINE, FINE))], [0.2 * smooth_texture(7, 4)], [0.0]), Illumination(LENS, 0.7), 60)
    np.testing.assert_allclose(light.plane(-2.0).mean(axis=(0, 1)), 1.0, atol=3e-3)


def test_a_moved_picture_is_the_picture_moved():
    layers = layers_of([0.3 + 0.1 * smooth_texture(8, 3)], [0.1 * smooth_texture(9, 3)], [0.0])
    light = slow(layers, Illumination(LENS, 0.7), 20)
    still, moved = light.stack([Exposure(1.0), Exposure(1.0, (3.0, -5.0))], (GREEN,))
    np.testing.assert_allclose(moved, np.roll(still, (3, -5), axis=(0, 1)), atol=1e-3)


@pytest.mark.slow
def test_the_ghosts_of_the_source_points_stay_faint():
    """Measured on blood-smear, the sharper of the two: 0.7 % of the contrast at 0, 2.4 % at -3, 5.5 % at 10 µm."""
    specimen = make_sample("blood-smear", 4, Topography(), Appearance(cover=0.99, thickness_um=1.0, dust_per_mm2=0))
    lit = Illumination(LENS, 0.7)
    few, many = (AbbeOptics(specimen, lit, source_points=n).field(0, 0, (64, 64), PIXEL_UM) for n in (40, 160))
    for z_um, limit in ((0.0, 0.02), (10.0, 0.12)):
        right = many.plane(z_um, (GREEN,))
        assert np.std(few.plane(z_um, (GREEN,)) - right) < limit * np.std(right)


@pytest.mark.train
@pytest.mark.parametrize("optics", [SlideOptics, AbbeOptics], ids=["fast", "abbe"])
def test_the_same_code_gives_the_same_light_on_torch(optics: type[SlideOptics] | type[AbbeOptics]):
    torch = pytest.importorskip("torch")
    import array_api_compat.torch as torch_namespace

    specimen = make_sample("he-tissue", 3, Topography(), Appearance(cover=0.99))
    lit = Illumination(LENS, 0.7, 0.05, (0.3, 0.0, -0.2))
    numpy_light = optics(specimen, lit).field(0, 0, (64, 80), PIXEL_UM)
    torch_light = optics(specimen, lit, Arrays(torch_namespace, torch.device("cpu"))).field(0, 0, (64, 80), PIXEL_UM)
    for shift_px in ((0.0, 0.0), (0.4, -0.2)):
        expected = numpy_light.plane(-2.0, shift_px=shift_px)
        result = np.asarray(torch_light.plane(-2.0, shift_px=shift_px))
        assert result.shape == (64, 80, 3)
        np.testing.assert_allclose(result, expected, atol=2e-4)
