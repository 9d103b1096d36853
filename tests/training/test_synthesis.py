"""Training pairs are rendered from the same light, and prepared by the same code, as those that a scan sees."""

from pathlib import Path

import numpy as np
import pytest

from parfocal.focus.difference import difference, standardise
from parfocal.training import synthesis
from parfocal.training.synthesis import PAIRS_PER_SPECIMEN, PATCH_PX, Pairs, read_pairs, synthesise


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs")
    for shard in range(2):
        synthesise(path, shard, 2, seed=5)
    return path


@pytest.fixture(scope="module")
def pairs(folder: Path) -> Pairs:
    return read_pairs(folder / "pairs-0000.npy")


def test_a_shard_holds_chains_of_pairs_with_their_labels(pairs: Pairs):
    assert 0 < len(pairs) <= 2 * PAIRS_PER_SPECIMEN
    assert pairs.difference.shape == (len(pairs), PATCH_PX, PATCH_PX, 3)
    assert pairs.difference.dtype == np.int8
    assert pairs.sd.shape == pairs.defocus_u.shape == (len(pairs),)
    assert np.all(pairs.sd >= synthesis._MIN_SD)
    assert np.isfinite(pairs.defocus_u).all()


def test_neighbours_in_a_chain_are_one_delta_apart(pairs: Pairs):
    steps = np.diff(pairs.defocus_u)
    inside = steps[(steps > 0) & (steps < 6)]
    assert len(inside) >= len(pairs) // 2
    assert np.all((inside > 1.2) & (inside < 3.9))  # Δ of 2.2 to 2.9 u, and the stage's error twice


def test_the_same_seed_and_shard_give_the_same_pairs(tmp_path: Path, pairs: Pairs, folder: Path):
    again = read_pairs(synthesise(tmp_path, 0, 2, seed=5))
    np.testing.assert_array_equal(again.difference, pairs.difference)
    np.testing.assert_array_equal(again.defocus_u, pairs.defocus_u)
    other = read_pairs(folder / "pairs-0001.npy")
    assert other.defocus_u[0] != pairs.defocus_u[0]


def test_a_shard_that_is_there_is_left_alone(folder: Path):
    path = folder / "pairs-0000.npy"
    before = path.stat().st_mtime_ns
    assert synthesise(folder, 0, 2, seed=99) == path
    assert path.stat().st_mtime_ns == before


def test_training_prepares_its_patches_as_the_predictor_does(pairs: Pairs):
    assert synthesis.difference is difference
    train = pytest.importorskip("parfocal.training.train", reason="training needs torch (the train extra)")
    assert train.standardise is standardise
    straight = np.sort(standardise(pairs.difference[0]), axis=None)
    crops = [train._augment(pairs.difference[0], PATCH_PX, np.random.default_rng(seed)) for seed in range(8)]
    coloured = [crop for crop in crops if np.ptp(crop, axis=0).max() > 1e-5]
    assert len(coloured) >= 4  # a few are made grey on purpose
    for crop in coloured:
        assert crop.dtype == np.float32
        assert crop.shape == (3, PATCH_PX, PATCH_PX)
        # A turned and flipped difference has the values of the predictor's input, in other places.
        np.testing.assert_allclose(np.sort(crop, axis=None), straight, atol=1e-4)
