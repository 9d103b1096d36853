"""The mosaic shows the specimen once, evenly lit, and white where nobody looked."""

from __future__ import annotations

import numpy as np
import pytest

from parfocal.slide.mosaic import FEATHER_PX, Mosaic


@pytest.fixture(scope="module")
def scan(synthetic_scan):
    return synthetic_scan(3, 3, noise=0.0, vignetting=0.0, missing=(8,), seed=5)


@pytest.fixture(scope="module")
def mosaic(scan):
    return Mosaic(scan.folder, np.ones((256, 320, 3), np.float32), scan.texture_xy_px)


def test_it_is_as_large_as_its_fields_reach(scan, mosaic):
    corners = np.round(scan.texture_xy_px - scan.texture_xy_px.min(axis=0))
    width, height = corners.max(axis=0) + np.array([320, 256])
    assert mosaic.shape == (height, width)


def test_it_is_the_texture_that_the_fields_were_cut_from(scan, mosaic):
    x, y = np.round(scan.texture_xy_px.min(axis=0)).astype(int)
    block = mosaic.block(20, 20, 500, 400)
    truth = scan.texture[y + 20 : y + 420, x + 20 : x + 520]
    assert np.abs(block.astype(int) - truth).mean() < 6  # placed to the nearest pixel: half a pixel off at most


def test_where_no_field_lies_it_is_white(mosaic):
    height, width = mosaic.shape
    assert mosaic.block(width - 100, height - 100, 100, 100) is None  # field 8 is missing
    edge = mosaic.block(width - 400, height - 200, 400, 200)
    assert (edge[:, :20] < 255).any()
    assert (edge[:, -100:] == 255).all()
    assert mosaic.block(width + 5, 0, 256, 256) is None
    assert mosaic.block(0, -300, 256, 256) is None


def test_blocks_fit_together(mosaic):
    whole = mosaic.block(100, 100, 300, 200)
    left, right = mosaic.block(100, 100, 150, 200), mosaic.block(250, 100, 150, 200)
    assert np.array_equal(whole, np.hstack([left, right]))


def test_every_pixel_comes_from_one_field_but_in_a_narrow_feather(synthetic_scan):
    scan = synthetic_scan(1, 2, stage_error_um=0.0)
    frames = {0: np.full((256, 320, 3), 100, np.uint8), 1: np.full((256, 320, 3), 200, np.uint8)}

    class TwoGreys:
        header, records = scan.folder.header, scan.folder.records

        def frame(self, record):
            return frames[record.index]

    mosaic = Mosaic(TwoGreys(), np.ones((256, 320, 3), np.float32), np.array([[0.0, 0.0], [256.0, 0.0]]))
    row = mosaic.block(0, 100, 576, 1)[0, :, 0].astype(int)
    mixed = np.flatnonzero((row > 100) & (row < 200))
    assert 0 < len(mixed) <= FEATHER_PX
    assert mixed.mean() == pytest.approx((256 + 320 - 1) / 2, abs=1)  # the middle of the overlap
    assert (np.diff(row) >= 0).all()


@pytest.fixture(scope="module")
def misplaced(synthetic_scan):
    """Two fields of black dots on white, the second placed 3 px beside where it belongs."""
    texture = np.full((700, 900, 3), 240, np.uint8)
    for x in range(10, 900, 12):
        for y in range(10, 700, 30):
            texture[y - 2 : y + 2, x - 2 : x + 2] = 20
    scan = synthetic_scan(1, 2, stage_error_um=0.0, vignetting=0.0, noise=0.0, texture=texture)
    mosaic_xy = scan.texture_xy_px - scan.texture_xy_px.min(axis=0)
    mosaic_xy[1] += (3, 0)
    return scan, Mosaic(scan.folder, np.ones((256, 320, 3), np.float32), mosaic_xy)


def test_of_two_misplaced_copies_of_a_cell_one_is_shown_but_in_the_feather(misplaced):
    scan, mosaic = misplaced
    shown = mosaic.block(0, 0, mosaic.shape[1], mosaic.shape[0]).astype(int)
    frames = [scan.folder.frame(record).astype(int) for record in scan.folder.records]
    begins = mosaic.shape[1] - 320
    as_first = np.full(mosaic.shape, False)
    as_first[:, :320] = (np.abs(shown[:, :320] - frames[0]) <= 1).all(axis=2)
    as_second = np.full(mosaic.shape, False)
    as_second[:, begins:] = (np.abs(shown[:, begins:] - frames[1]) <= 1).all(axis=2)
    neither = ~(as_first | as_second)
    assert neither.any()  # the fields do contradict each other
    columns = np.flatnonzero(neither.any(axis=0))
    assert columns.max() - columns.min() < FEATHER_PX
    assert abs(columns.mean() - (begins + 320) / 2) < FEATHER_PX / 2


@pytest.mark.parametrize("beside_px", [(0, 0), (1, 0)])
def test_of_two_fields_on_one_place_one_is_shown(misplaced, beside_px):
    scan, _ = misplaced
    mosaic = Mosaic(scan.folder, np.ones((256, 320, 3), np.float32), np.array([(0, 0), beside_px], float))
    shown = mosaic.block(0, 0, 320, 256)[:, 40:120]
    assert np.array_equal(shown, scan.folder.frame(scan.folder.records[0])[:, 40:120])


@pytest.mark.parametrize("seed", range(8))
def test_a_block_is_what_the_whole_shows_there(mosaic, seed):
    rng = np.random.default_rng(seed)
    height, width = mosaic.shape
    whole = mosaic.block(0, 0, width, height)
    x, y = rng.integers(0, (width - 40, height - 40))
    w, h = rng.integers(1, (width - x, height - y))
    block = mosaic.block(int(x), int(y), int(w), int(h))
    there = whole[y : y + h, x : x + w]
    assert (there == 255).all() if block is None else np.array_equal(block, there)


def test_memory_for_few_frames_changes_nothing(scan, mosaic):
    small = Mosaic(scan.folder, np.ones((256, 320, 3), np.float32), scan.texture_xy_px, cache_bytes=1)
    assert np.array_equal(small.block(100, 100, 400, 300), mosaic.block(100, 100, 400, 300))
