"""Pairs drawn without a picture say what rendered pictures say."""

from pathlib import Path

import numpy as np
import pytest

from parfocal.focus.bands import BANDS, ROWS, WINDOW, band_means, bands, features_of
from parfocal.optics.imaging import SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.samples import Appearance, make_sample
from parfocal.optics.specimen import Topography
from parfocal.optics.texture import Window
from parfocal.optics.transfer import Illumination
from parfocal.training import band_pairs, band_specimens
from parfocal.training.band_light import draw_light
from parfocal.training.band_pairs import bands_of_chains, draw_band_pairs, read_band_pairs
from parfocal.training.synthesis import DELTA_U, FRAMES_PER_SPECIMEN, read_chains, synthesise

LENS, PIXEL_UM, SIDE_PX = Objective(20, 0.75), 0.345, 224
UNIT_UM = LENS.canonical_z_um
ABSORPTION = np.array([[0.7, 0.6, 0.3], [0.1, 0.8, 0.2]])


@pytest.fixture(scope="module")
def scene():
    """A specimen of several layers under one light, as matrices and as the light that renders it: (scene, field)."""
    light_of_test = pytest.MonkeyPatch()
    illumination = Illumination(LENS, 0.7, 0.05, (0.3, 0.0, -0.4))
    from parfocal.training import band_light

    light_of_test.setattr(band_light, "random_illumination", lambda rng, objective: illumination)
    light_of_test.setattr(band_light, "random_objective", lambda rng, objectives: LENS)
    light = draw_light(_Middle(), ())
    light_of_test.undo()
    look = Appearance(stains=tuple(map(tuple, ABSORPTION.tolist())), thickness_um=3.0, dust_per_mm2=0.0)
    sample = make_sample("blood-smear", 3, Topography(), look)
    layers = sample.layers(Window.centred(100.0, 50.0, (SIDE_PX, SIDE_PX), PIXEL_UM), UNIT_UM)
    specimen = band_specimens._in_bands(layers, UNIT_UM, False, 0.8)
    field = SlideOptics(sample, illumination).field(100.0, 50.0, (SIDE_PX, SIDE_PX), PIXEL_UM)
    return band_pairs._Scene(specimen, light, layers.absorption.astype(float), phase=1.0, stretch=1.0), field


class _Middle:
    """A generator whose uniform numbers are 1: the canonical pixel itself."""

    @staticmethod
    def uniform(low: float, high: float) -> float:
        return 1.0


@pytest.mark.parametrize("z_u", [-6.0, -2.0, -0.5, 1.0, 4.0])
def test_power_in_bands_is_that_of_the_rendered_light(scene, z_u: float):
    drawn, field = scene
    same, _ = drawn.powers(np.array([z_u, z_u]))
    logarithm = np.log(np.asarray(field.plane(z_u * UNIT_UM))).transpose(2, 0, 1)
    logarithm -= logarithm.mean(axis=(1, 2), keepdims=True)
    spectra = np.fft.rfft2(logarithm * WINDOW) / SIDE_PX
    rendered = band_means((np.abs(spectra) ** 2).astype(np.float32))
    for channel in range(3):
        power = same[:, 0, channel, channel]
        told = power > 1e-4 * power.max()
        told[:2] = False  # a few modes, which the window mixes with the mean
        np.testing.assert_allclose(np.log(power[told]), np.log(rendered[channel][told]), atol=0.7)
        assert np.abs(np.log(power[told] / rendered[channel][told])).mean() < 0.2


def test_pairs_around_the_focus_agree_with_those_of_pictures(scene):
    drawn, field = scene
    focus_u = drawn.focus_u()
    z_u = np.array([focus_u - 3.0, focus_u - 0.5])
    same, both = drawn.powers(z_u)
    quiet = np.stack(
        [
            np.einsum("bcc->bc", same[:, 0]).T,
            np.einsum("bcc->bc", same[:, 1]).T,
            both[:, 0].T,
            *(np.stack([plane[:, a, b] for a, b in ((0, 1), (1, 2), (0, 2))]) for plane in (same[:, 0], same[:, 1])),
        ]
    )
    frames = [np.clip(200 * np.asarray(field.plane(float(z) * UNIT_UM)), 0, 255).round().astype(np.uint8) for z in z_u]
    rendered = bands(frames[0], frames[1], 2.5)
    np.testing.assert_allclose(features_of(quiet, 2.5)[:3, 4:14], rendered[:3, 4:14], atol=0.4)
    np.testing.assert_allclose(features_of(quiet, 2.5)[3:6, 4:14], rendered[3:6, 4:14], atol=0.25)


def test_the_sharpest_z_of_the_matrices_is_that_of_the_pictures(scene):
    from parfocal.merit import find_best_focus

    drawn, field = scene
    rendered_um = find_best_focus(lambda z: np.asarray(field.plane(z, (1,))[..., 0]), 0.0, 6.0, 0.3)
    assert drawn.focus_u() * UNIT_UM == pytest.approx(rendered_um, abs=0.2)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as fewer:
        fewer.setattr(band_pairs, "_SPECIMENS", 3)
        fewer.setattr(band_pairs, "_LIGHTS", 1)
        fewer.setattr(band_pairs, "_SCENES", 12)
        return draw_band_pairs(tmp_path_factory.mktemp("drawn"), 0, seed=5)


def test_a_shard_holds_finite_values_within_their_ranges(shard: Path):
    pairs = read_band_pairs(shard)
    assert pairs.values.shape == (len(pairs), ROWS, BANDS)
    assert len(pairs) >= 6 * band_pairs.PAIRS_OF_SCENE
    assert np.isfinite(pairs.values).all()
    for agreement in (pairs.values[:, 3:6], pairs.values[:, 9:15]):
        assert np.abs(agreement).max() <= 1
    assert np.all((pairs.values[:, 15] >= DELTA_U[0]) & (pairs.values[:, 15] <= DELTA_U[1]))
    assert np.abs(pairs.defocus_u).max() <= 24


def test_pairs_of_a_recipe_that_says_no_delta_stay_what_they_are(shard: Path):
    """Shards that were made before Δ could be chosen are still those of their recipe."""
    pairs = read_band_pairs(shard)
    np.testing.assert_allclose(pairs.values[:25:8, 15, 0], [3.1544409, 2.2200921, 2.6233170, 2.6814914], rtol=1e-6)
    np.testing.assert_allclose(pairs.defocus_u[:4], [-11.2578592, -10.4115973, -8.7531853, 1.9660072], rtol=1e-6)


def test_a_drawn_shard_holds_the_delta_that_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, few in (("_SPECIMENS", 2), ("_LIGHTS", 1), ("_SCENES", 6)):
        monkeypatch.setattr(band_pairs, name, few)
    pairs = read_band_pairs(draw_band_pairs(tmp_path, 0, seed=5, delta_u=(4.0, 4.4)))
    assert np.all((pairs.values[:, 15] >= 4.0) & (pairs.values[:, 15] <= 4.4))


def test_power_rises_towards_the_focus(shard: Path):
    pairs = read_band_pairs(shard)
    below, above = pairs.defocus_u < -1, pairs.defocus_u > 4
    ratio = pairs.values[:, 1, 8:16].mean(axis=1)
    assert ratio[below].mean() > 0 > ratio[above].mean()


def test_a_shard_that_is_there_is_left_alone(shard: Path):
    before = shard.stat().st_mtime_ns
    assert draw_band_pairs(shard.parent, 0, seed=99) == shard
    assert shard.stat().st_mtime_ns == before


def test_bands_of_a_rendered_shard_are_those_that_the_predictor_sees(tmp_path: Path):
    path = synthesise(tmp_path, 0, 2, seed=7)
    chains, pairs = read_chains(path), read_band_pairs(bands_of_chains(path))
    assert len(pairs) == 2 * (FRAMES_PER_SPECIMEN - 1)
    np.testing.assert_array_equal(pairs.defocus_u, chains.defocus_u[:, 1:].ravel())
    seen = [bands(chains.frames[1, k], chains.frames[1, k + 1], float(chains.delta_u[1])) for k in range(8)]
    coloured = np.ptp(pairs.values[8:, :3], axis=1).max() > 1e-6
    assert coloured
    np.testing.assert_allclose(pairs.values[8:], np.stack(seen), atol=1e-5)
