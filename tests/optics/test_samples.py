"""Every drawn specimen is a function of (seed, place): neighbouring fields agree in their overlap."""

import cv2
import numpy as np
import pytest

from parfocal.errors import SettingsError
from parfocal.optics.samples import SAMPLES, Appearance, make_sample
from parfocal.optics.specimen import Topography
from parfocal.optics.texture import Window

PIXEL_UM = 0.5
PITCH_UM = 0.81
RELIEF = Topography(seed=3, tilt_um_per_mm=(3.0, -2.0), roughness_um=0.3)
DUSTY = Appearance(cover=0.99, dust_per_mm2=60.0)
RED, GREEN = 0, 1


def drawn(kind: str, window: Window, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(optical density (Y, X, 3), density-weighted mean depth of the green channel (Y, X) in µm)."""
    layers = make_sample(kind, seed, RELIEF, DUSTY).layers(window, PITCH_UM)
    density = np.einsum("lsyx,sc->lyxc", layers.density, layers.absorption)
    total = density.sum(axis=0)
    depth = np.einsum("l,lyx->yx", layers.focus_z_um, density[..., GREEN]) / np.maximum(total[..., GREEN], 1e-3)
    return total, depth


def window_at(left_um: float, top_um: float, shape: tuple[int, int] = (180, 220)) -> Window:
    return Window(left_um, top_um, shape, PIXEL_UM)


@pytest.mark.parametrize("kind", SAMPLES)
def test_two_windows_agree_in_their_overlap(kind: str):
    right, down = 70, 45
    here, here_depth = drawn(kind, window_at(-1210.3, 777.7))
    there, there_depth = drawn(kind, window_at(-1210.3 + right * PIXEL_UM, 777.7 + down * PIXEL_UM))
    ours, theirs = here[down:, right:], there[: 180 - down, : 220 - right]
    assert ours[..., GREEN].std() > 0.01, "the overlap shows nothing"
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    dense = ours[..., GREEN] > 0.05
    # The relief is interpolated from a grid of each window's own: a few hundredths of a µm.
    np.testing.assert_allclose(
        here_depth[down:, right:][dense], there_depth[: 180 - down, : 220 - right][dense], atol=0.05
    )


@pytest.mark.parametrize("kind", SAMPLES)
def test_two_windows_half_a_pixel_apart_show_the_same_things(kind: str):
    here, _ = drawn(kind, window_at(-1210.3, 777.7))
    between, _ = drawn(kind, window_at(-1210.3 + PIXEL_UM / 2, 777.7))
    interpolated = (here[:, 1:] + here[:, :-1])[..., GREEN] / 2
    assert np.corrcoef(interpolated.ravel(), between[:, :-1, GREEN].ravel())[0, 1] > 0.97


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_seed_is_a_specimen(kind: str):
    window = window_at(100.0, 200.0)
    first, again, other = (drawn(kind, window, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.mean(np.abs(first - other) > 0.01) > 0.02


def test_he_tissue_has_empty_areas_and_the_cover_that_was_asked_for():
    def share_with_tissue(cover: float) -> float:
        sample = make_sample("he-tissue", 0, appearance=Appearance(cover=cover, dust_per_mm2=0.0))
        places = [(x, y) for x in range(-6000, 6001, 1500) for y in range(-6000, 6001, 1500)]
        windows = (Window.centred(x, y, (32, 32), 1.5) for x, y in places)
        densest = [sample.layers(window, PITCH_UM).density.sum(axis=(0, 1)).mean() for window in windows]
        return float(np.mean(np.array(densest) > 0.05))

    assert 0.5 < share_with_tissue(0.75) < 0.95
    assert share_with_tissue(0.3) < 0.5


def small_things(mask: np.ndarray) -> np.ndarray:
    """Areas in µm² of the connected pieces of a mask no larger than a bacterium or two that touch."""
    areas = cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA] * PIXEL_UM**2
    return areas[(areas >= 0.5) & (areas <= 5.0)]


def test_a_gram_smear_holds_violet_cocci_and_pink_bacilli_among_pink_cells():
    window = Window.centred(0.0, 0.0, (900, 900), PIXEL_UM)
    layers = make_sample("gram-smear", 1, appearance=Appearance(dust_per_mm2=0.0)).layers(window, PITCH_UM)
    density = np.einsum("lsyx,sc->cyx", layers.density, layers.absorption)
    stained = density[GREEN] > 0.2
    violet = stained & (density[RED] > 0.6 * density[GREEN])
    pink = stained & (density[RED] < 0.4 * density[GREEN])
    assert len(small_things(violet)) >= 20
    assert len(small_things(pink)) >= 50
    # What takes the violet is small: pus and epithelial cells, up to 50 µm wide, are pink.
    assert pink.sum() > 5 * violet.sum()
    assert np.median(small_things(violet)) < np.median(small_things(pink))  # 1 µm rounds, 2.4 × 0.8 µm rods


def test_appearance_scales_what_it_says():
    window = window_at(0.0, 0.0)

    def total(appearance: Appearance) -> float:
        layers = make_sample("blood-smear", 2, appearance=appearance).layers(window, PITCH_UM)
        return float(np.einsum("lsyx,sc->", layers.density, layers.absorption))

    standard = total(Appearance())
    assert total(Appearance(strength=2.0)) == pytest.approx(2 * standard, rel=1e-4)
    assert total(Appearance(density=2.0)) > 1.3 * standard


def test_an_unknown_specimen_is_refused_with_the_choice():
    with pytest.raises(SettingsError, match=r"unknown specimen 'cheese'.*he-tissue.*image:PATH"):
        make_sample("cheese", 1)
