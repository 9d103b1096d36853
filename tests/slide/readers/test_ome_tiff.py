"""Damaged OME-TIFFs are refused when they are opened."""

import numpy as np
import pytest
import tifffile

from parfocal.errors import FileError
from parfocal.slide.readers.ome_tiff import OmeTiffSlide


@pytest.mark.parametrize("tag", ["ImageWidth", "TileWidth", "TileLength"])
def test_lengths_of_nothing_are_refused(tmp_path, tag):
    path = tmp_path / "slide.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(np.full((64, 64, 3), 200, np.uint8), tile=(32, 32), photometric="rgb")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.aspage().tags[tag].overwrite(0)
    with pytest.raises(FileError, match=r"px are none|not a tiled RGB image"):
        OmeTiffSlide(path)


def test_one_without_pixels_in_its_description_is_refused(tmp_path):
    path = tmp_path / "slide.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(np.full((64, 64, 3), 200, np.uint8), tile=(32, 32), photometric="rgb")
    path.write_bytes(path.read_bytes().replace(b"Pixels", b"Picels"))
    with pytest.raises(FileError, match="not an OME-TIFF"):
        OmeTiffSlide(path)
