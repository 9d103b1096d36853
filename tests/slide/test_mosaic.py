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


def test_memory_for_few_frames_changes_nothing(scan, mosaic):
    small = Mosaic(scan.folder, np.ones((256, 320, 3), np.float32), scan.texture_xy_px, cache_bytes=1)
    assert np.array_equal(small.block(100, 100, 400, 300), mosaic.block(100, 100, 400, 300))
