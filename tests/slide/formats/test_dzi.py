"""Deep Zoom: every level from one pixel up, no overlap, edge tiles that end where the picture does."""

from __future__ import annotations

import math
import resource
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from described import DESCRIPTION

from parfocal.errors import FileError
from parfocal.slide.formats.dzi import write_dzi
from parfocal.slide.pyramid import Pyramid, level_shapes
from parfocal.slide.quality.files import read_csv, read_parquet

SHAPE = (1100, 1500)


def picture():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    return np.stack([60 + x / 10, 60 + y / 10, 127 + 60 * np.sin(x / 30)], axis=-1).astype(np.uint8)


IMAGE = picture()
LUMINANCE = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    with Pyramid(level_shapes(SHAPE), tmp_path_factory.mktemp("spool")) as built:
        built.build(lambda x, y, width, height: IMAGE[y : y + height, x : x + width])
        yield built


@pytest.fixture(scope="module")
def folder(pyramid, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dzi")
    write_dzi(folder / "my slide 🔬.dzi", pyramid, DESCRIPTION)
    return folder


def read(path):
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)


def test_the_descriptor_says_size_tile_size_and_overlap(folder):
    root = ElementTree.parse(folder / "my slide 🔬.dzi").getroot()
    assert root.tag == "{http://schemas.microsoft.com/deepzoom/2008}Image"
    assert (root.get("TileSize"), root.get("Overlap"), root.get("Format")) == ("256", "0", "jpg")
    assert dict(root[0].attrib) == {"Width": "1500", "Height": "1100"}


def test_every_level_is_whole_and_shows_the_picture(folder):
    levels = folder / "my slide 🔬_files"
    numbers = sorted(int(path.name) for path in levels.iterdir() if path.is_dir())
    assert numbers == list(range(12))  # 2¹¹ ≥ 1500
    for number in numbers:
        scale = 2 ** (numbers[-1] - number)
        height, width = math.ceil(1100 / scale), math.ceil(1500 / scale)
        rows, columns = math.ceil(height / 256), math.ceil(width / 256)
        assert len(list((levels / str(number)).iterdir())) == rows * columns
        whole = np.vstack(
            [np.hstack([read(levels / str(number) / f"{c}_{r}.jpg") for c in range(columns)]) for r in range(rows)]
        )
        assert whole.shape == (height, width, 3)
        for y, x in {(0, 0), (height // 2, width // 3), (height - 1, width - 1)}:
            truth = IMAGE[y * scale : (y + 1) * scale, x * scale : (x + 1) * scale].mean(axis=(0, 1))
            assert abs((whole[y, x] - truth) @ LUMINANCE) < 6  # colour is at half the width


def test_the_quality_table_lies_beside_the_tiles(folder):
    levels = folder / "my slide 🔬_files"
    assert read_csv(levels / "quality.csv") == DESCRIPTION.fields
    assert read_parquet(levels / "quality.parquet") == DESCRIPTION.fields


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (512, 512)])
def test_small_and_thin_pictures_go_down_to_one_pixel_too(tmp_path, shape):
    with Pyramid(level_shapes(shape), tmp_path) as pyramid:
        pyramid.build(lambda x, y, width, height: np.full((height, width, 3), 90, np.uint8))
        write_dzi(tmp_path / "a.dzi", pyramid, DESCRIPTION)
    height, width = pyramid.shapes[0]
    largest = math.ceil(math.log2(max(height, width)))
    for number in range(largest + 1):
        tile = read(tmp_path / "a_files" / str(number) / "0_0.jpg")
        scale = 2 ** (largest - number)
        assert tile.shape[:2] == (min(256, math.ceil(height / scale)), min(256, math.ceil(width / scale)))
        assert np.abs(tile - 90).max() <= 2


def test_a_full_disk_leaves_the_earlier_picture_and_no_rubbish(pyramid, tmp_path):
    write_dzi(tmp_path / "a.dzi", pyramid, DESCRIPTION)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(FileError, match=r"a\.dzi: cannot write: File too large"):
            write_dzi(tmp_path / "a.dzi", pyramid, DESCRIPTION)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
