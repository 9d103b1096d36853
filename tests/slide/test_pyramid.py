"""The pyramid: one pass makes every level's tiles, whole and cropped, and shows them to whoever wants the pixels."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError, SettingsError
from parfocal.slide.pyramid import TILE_PX, Pyramid, encode_jpeg, level_shapes

SHAPE = (2216, 3112)  # a multiple of 8, so that level_shapes leaves it
SHAPES = level_shapes(SHAPE)


def picture(shape=SHAPE):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.stack([127 + 80 * np.sin(x / 40), 127 + 80 * np.cos(y / 55), 60 + x / 40], axis=-1).astype(np.uint8)


IMAGE = picture()


def source(x, y, width, height):
    if (x, y) == (1024, 1024):  # nobody looked there
        return None
    assert x + width <= SHAPE[1]
    assert y + height <= SHAPE[0]
    return IMAGE[y : y + height, x : x + width]


def decoded(encoded):
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)


@pytest.fixture(scope="module")
def expected():
    whole = IMAGE.copy()
    whole[1024:2048, 1024:2048] = 255
    levels = [whole]
    for height, width in SHAPES[1:]:
        levels.append(levels[-1].reshape(height, 2, width, 2, 3).mean(axis=(1, 3)))
    return levels


@pytest.fixture(scope="module")
def seen():
    return []


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory, seen):
    with Pyramid(SHAPES, tmp_path_factory.mktemp("pyramid"), workers=3) as built:
        built.build(source, consumer=lambda *tile: seen.append(tile))
        yield built


def test_every_tile_of_every_level_is_that_part_of_the_picture(pyramid, expected):
    assert len(SHAPES) == 4
    for level, whole in enumerate(expected):
        rows, columns = pyramid.grid(level)
        for index, encoded in enumerate(pyramid.tiles(level)):
            row, column = divmod(index, columns)
            truth = whole[row * TILE_PX : (row + 1) * TILE_PX, column * TILE_PX : (column + 1) * TILE_PX]
            tile = decoded(encoded)
            assert tile.shape == (TILE_PX, TILE_PX, 3)
            assert np.abs(tile[: truth.shape[0], : truth.shape[1]] - truth).mean() < 2.5
        assert index + 1 == rows * columns


def test_beyond_the_edge_a_tile_repeats_its_last_pixels(pyramid):
    column = pyramid.grid(0)[1] - 1
    inside = pyramid.tile_shape(0, 2, column)[1]
    assert inside == SHAPE[1] % TILE_PX
    tile = decoded(pyramid.tile(0, 2, column))
    assert np.abs(tile[:, inside:] - tile[:, inside - 1 : inside]).max() < 12


def test_a_cropped_tile_ends_where_its_level_does(pyramid, expected):
    for level, whole in enumerate(expected):
        rows, columns = pyramid.grid(level)
        for row, column in ((0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1)):
            truth = whole[row * TILE_PX : (row + 1) * TILE_PX, column * TILE_PX : (column + 1) * TILE_PX]
            tile = decoded(pyramid.cropped(level, row, column))
            assert tile.shape == truth.shape
            assert np.abs(tile - truth).mean() < 2.5


def test_the_consumer_sees_the_pixels_of_each_tile_that_is_not_background(pyramid, seen, expected):
    places = [tile[:3] for tile in seen]
    assert len(set(places)) == len(places)
    blank = {(0, r, c) for r in range(4, 8) for c in range(4, 8)} | {(1, r, c) for r in (2, 3) for c in (2, 3)}
    every = {
        (k, r, c) for k in range(len(SHAPES)) for r in range(pyramid.grid(k)[0]) for c in range(pyramid.grid(k)[1])
    }
    assert set(places) == every - blank - {(2, 1, 1)}
    for level, row, column, pixels in seen:
        y, x = row * TILE_PX, column * TILE_PX
        truth = expected[level][y : y + pixels.shape[0], x : x + pixels.shape[1]]
        assert pixels.shape[:2] == pyramid.tile_shape(level, row, column)
        assert np.abs(pixels - truth).max() <= (1.5 if level else 0)  # rounded at each level


@pytest.mark.parametrize("side", [4, 8])
def test_an_aligned_square_of_tiles_is_complete_before_another_begins(seen, side):
    for level in range(len(SHAPES)):
        squares = [(row // side, column // side) for k, row, column, _ in seen if k == level]
        changes = sum(a != b for a, b in pairwise(squares))
        assert changes + 1 == len(set(squares))


def test_the_smallest_level_is_at_hand_as_pixels(pyramid, expected):
    assert pyramid.smallest.shape == expected[-1].shape
    assert np.abs(pyramid.smallest - expected[-1]).max() <= 2


def test_the_number_of_threads_changes_nothing(pyramid, tmp_path):
    with Pyramid(SHAPES, tmp_path, workers=1) as alone:
        alone.build(source)
        for level in range(len(SHAPES)):
            assert list(alone.tiles(level)) == list(pyramid.tiles(level))
            assert alone.encoded_bytes(level) == sum(map(len, pyramid.tiles(level)))


def test_the_quality_is_the_callers(tmp_path):
    sizes = []
    for quality in (50, 95):
        with Pyramid(SHAPES, tmp_path, quality=quality) as pyramid:
            pyramid.build(source)
            assert pyramid.tile(0, 1, 1) == encode_jpeg(IMAGE[256:512, 256:512], quality)
            sizes.append(pyramid.encoded_bytes(0))
    assert sizes[1] > 1.5 * sizes[0]
    with pytest.raises(SettingsError, match="quality 101 is not one of 1 to 100"):
        Pyramid(SHAPES, tmp_path, quality=101)


def test_progress_counts_each_tile_of_level_0(tmp_path):
    steps = []
    with Pyramid(SHAPES, tmp_path) as pyramid:
        pyramid.build(source, lambda *step: steps.append(step))
    assert steps == [("mosaic", n, 9 * 13) for n in range(1, 9 * 13 + 1)]


def test_an_error_of_the_source_ends_the_pass(tmp_path):
    def torn(x, y, width, height):
        raise FileError("f00007.jpg: cannot read")

    with Pyramid(SHAPES, tmp_path) as pyramid, pytest.raises(FileError, match="f00007"):
        pyramid.build(torn)


def test_memory_does_not_grow_with_the_slide(tmp_path):
    def peak(shape):
        with Pyramid(level_shapes(shape), tmp_path, workers=1) as pyramid:
            tracemalloc.start()
            try:
                pyramid.build(lambda x, y, width, height: np.full((height, width, 3), 120, np.uint8))
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert peak((8192, 8192)) < 2 * peak((2048, 4096))  # 8 times the area, 192 MiB of it
