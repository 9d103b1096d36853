"""Training pairs are rendered from the same light, and prepared by the same code, as those that a scan sees."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError
from parfocal.focus.difference import PREPARATIONS
from parfocal.merit import tenengrad
from parfocal.training import synthesis
from parfocal.training.synthesis import (
    DELTA_U,
    FRAMES_PER_SPECIMEN,
    PATCH_PX,
    Chains,
    Textures,
    read_chains,
    synthesise,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs")
    for shard in range(2):
        synthesise(path, shard, 2, seed=5)
    return path


@pytest.fixture(scope="module")
def chains(folder: Path) -> Chains:
    return read_chains(folder / "chains-0000.npy")


def test_a_shard_holds_chains_of_frames_with_their_labels(chains: Chains):
    assert len(chains) == 2
    assert chains.frames.shape == (2, FRAMES_PER_SPECIMEN, PATCH_PX, PATCH_PX, 3)
    assert chains.frames.dtype == np.uint8
    assert np.isfinite(chains.defocus_u).all()
    assert np.all(chains.frames.std(axis=(2, 3)).mean(axis=(1, 2)) >= synthesis._MIN_SD)


def test_neighbours_in_a_chain_are_one_delta_apart_but_for_the_stage(chains: Chains):
    assert np.all((chains.delta_u >= DELTA_U[0]) & (chains.delta_u <= DELTA_U[1]))
    error_u = np.diff(chains.defocus_u, axis=1) - chains.delta_u[:, None]
    assert 0 < np.abs(error_u).max() <= 1.2  # two arrivals of ±0.5 µm at 20X/0.75


def test_pairs_of_a_recipe_that_says_no_delta_stay_what_they_are(chains: Chains):
    """Shards that were made before Δ could be chosen are still those of their recipe."""
    np.testing.assert_allclose(chains.delta_u, [2.2834330, 2.7752206], rtol=1e-6)
    np.testing.assert_allclose(chains.defocus_u[:, 0], [-8.9547768, -8.3283863], rtol=1e-6)


def test_a_shard_holds_the_delta_that_it_is_asked_for(tmp_path: Path):
    made = read_chains(synthesise(tmp_path, 0, 1, seed=5, delta_u=(4.0, 4.4)))
    assert 4.0 <= made.delta_u[0] <= 4.4
    assert np.diff(made.defocus_u[0]).mean() == pytest.approx(made.delta_u[0], abs=0.2)


def test_the_sharpest_frame_is_the_one_that_the_labels_call_nearest(chains: Chains):
    for frames, defocus_u in zip(chains.frames, chains.defocus_u, strict=True):
        sharpness = [tenengrad(frame) for frame in frames]
        assert abs(int(np.argmax(sharpness)) - int(np.argmin(np.abs(defocus_u)))) <= 1


def test_the_same_seed_and_shard_give_the_same_frames(tmp_path: Path, chains: Chains, folder: Path):
    again = read_chains(synthesise(tmp_path, 0, 2, seed=5))
    np.testing.assert_array_equal(again.frames, chains.frames)
    np.testing.assert_array_equal(again.defocus_u, chains.defocus_u)
    other = read_chains(folder / "chains-0001.npy")
    assert other.defocus_u[0, 0] != chains.defocus_u[0, 0]


def test_a_shard_that_is_there_is_left_alone(folder: Path):
    path = folder / "chains-0000.npy"
    before = path.stat().st_mtime_ns
    assert synthesise(folder, 0, 2, seed=99) == path
    assert path.stat().st_mtime_ns == before


def test_specimens_can_be_made_from_real_images(tmp_path: Path):
    image = np.random.default_rng(0).integers(60, 250, (300, 400, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "tissue.png"), cv2.GaussianBlur(image, (0, 0), 2))
    made = read_chains(synthesise(tmp_path, 0, 2, 5, Textures((tmp_path / "tissue.png",), 1.0)))
    assert made.frames.std() > synthesis._MIN_SD


def test_a_texture_that_is_missing_is_named(tmp_path: Path):
    with pytest.raises(FileError, match=r"gone\.png is missing"):
        synthesise(tmp_path, 0, 1, 5, Textures((tmp_path / "gone.png",), 1.0))


@pytest.mark.train
@pytest.mark.parametrize("name", PREPARATIONS)
def test_training_prepares_its_patches_as_the_predictor_does(chains: Chains, name: str):
    train = pytest.importorskip("parfocal.training.train", reason="training needs torch (the train extra)")
    assert train.PREPARATIONS is PREPARATIONS
    pair, delta_u = chains.frames[0, 3:5], float(chains.delta_u[0])
    straight = np.sort(PREPARATIONS[name](pair[0], pair[1], delta_u), axis=None)
    crops = [train._crop(pair, PATCH_PX, np.random.default_rng(seed)) for seed in range(8)]
    coloured = [crop for crop in crops if np.ptp(crop, axis=-1).max() > 0]
    assert len(coloured) >= 4  # a few are made grey on purpose
    for crop in coloured:
        turned = PREPARATIONS[name](crop[0], crop[1], delta_u)
        # A turned and flipped pair has the values of the predictor's input, in other places.
        np.testing.assert_allclose(np.sort(turned, axis=None), straight, atol=2e-3)
