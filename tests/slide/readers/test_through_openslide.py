"""Damaged files that OpenSlide opens: refused in words, where it would end the process or raise something else."""

import numpy as np
import pytest
import tifffile

from parfocal.errors import FileError
from parfocal.slide.readers.through_openslide import ThroughOpenSlide


@pytest.fixture
def tiff(tmp_path):
    """A tiled TIFF with a colour profile that is none."""
    path = tmp_path / "slide.tif"
    tag = (34675, "B", 4, b"none", True)
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.full((64, 64, 3), 200, np.uint8), tile=(32, 32), photometric="rgb", extratags=[tag])
    return path


def test_a_whole_one_is_read(tiff):
    with ThroughOpenSlide(tiff) as slide:
        assert slide.read_region((0, 0), 0, (8, 8)).mean() == 200


def test_a_colour_profile_that_is_none_is_refused(tiff):
    with ThroughOpenSlide(tiff) as slide, pytest.raises(FileError, match="colour profile"):
        assert slide.icc_profile


def test_a_tile_longer_than_its_file_is_refused_before_memory_is_asked_for_it(tiff):
    with tifffile.TiffFile(tiff, mode="r+") as file:
        page = file.pages.first.aspage()
        page.tags["TileByteCounts"].overwrite([60_000] * len(page.databytecounts))
    with pytest.raises(FileError, match=r"a tile of 60000 bytes"):
        ThroughOpenSlide(tiff)
