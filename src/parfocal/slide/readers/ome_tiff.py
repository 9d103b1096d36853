"""OME-TIFF whose levels lie in SubIFDs."""

from __future__ import annotations

import struct
from pathlib import Path
from threading import Lock
from xml.etree import ElementTree

import numpy as np
import tifffile

from parfocal.errors import FileError
from parfocal.slide.reader import BACKGROUND, Region
from parfocal.slide.readers.raster import TiledSlide, downsamples_of

_START_OF_SCAN = 0xDA
_PICTURE_MARKERS = (0xE0, 0xDB, 0xC0, 0xC2, 0xC4, 0xDD)  # JFIF, tables, frame, restarts

DAMAGED = (tifffile.TiffFileError, OSError, ValueError, TypeError, LookupError, struct.error)
"""What tifffile raises for a file that is no TIFF, or a damaged one."""

_UM_PER_UNIT = {"nm": 1e-3, "µm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}


def is_ome_tiff(path: Path) -> bool:
    """Whether a file is an OME-TIFF."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return bool(tiff.is_ome)
    except DAMAGED:
        return False  # OpenSlide reads other formats, and says what is wrong with this one


class OmeTiffSlide(TiledSlide):
    """An OME-TIFF. See `Slide`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()  # one file position for all readers
        try:
            self._tiff = tifffile.TiffFile(path)
            first = self._tiff.pages.first
            pages = [first, *(first.pages or ())]
            self._pages = [page.aspage() for page in pages]
            self.properties = _properties(self._tiff.ome_metadata or "")
        except (*DAMAGED, ElementTree.ParseError, StopIteration) as error:
            raise FileError(f"{path}: not an OME-TIFF that can be read: {error!r}") from error
        for page in self._pages:
            if page.dtype != np.uint8 or page.samplesperpixel != 3 or not page.is_tiled or page.planarconfig != 1:
                self._tiff.close()
                raise FileError(f"{path}: not a tiled RGB image of 8 bits, but {page.dtype} {page.shape}")
            lengths = (page.imagewidth, page.imagelength, page.tilewidth, page.tilelength)
            if not all(isinstance(length, int) and length > 0 for length in lengths):
                self._tiff.close()
                raise FileError(f"{path}: width, length of image and tile of {lengths} px are none")
        self.level_dimensions = tuple((page.imagewidth, page.imagelength) for page in self._pages)
        self.level_downsamples = downsamples_of(self.level_dimensions)
        self.tile_sizes = tuple((page.tilewidth, page.tilelength) for page in self._pages)

    @property
    def icc_profile(self) -> bytes:
        """ICC profile of the pixels; empty where the file has none."""
        return bytes(self._pages[0].iccprofile or b"")

    def stored_tile(self, level: int, column: int, row: int, tile_px: int) -> bytes | None:
        """See `Slide`."""
        page = self._pages[level]
        is_whole = (column + 1) * tile_px <= page.imagewidth and (row + 1) * tile_px <= page.imagelength
        is_jpeg = page.compression == tifffile.COMPRESSION.JPEG and page.photometric == tifffile.PHOTOMETRIC.YCBCR
        if not (is_jpeg and is_whole) or page.jpegtables or (page.tilewidth, page.tilelength) != (tile_px, tile_px):
            return None
        try:
            encoded = self._encoded(level, row, column)
        except DAMAGED as error:
            raise FileError(f"{self.path}: tile {row}, {column} of level {level} is damaged: {error}") from error
        return encoded if holds_only_a_picture(encoded) else None

    def _encoded(self, level: int, row: int, column: int) -> bytes:
        page = self._pages[level]
        index = row * -(-page.imagewidth // page.tilewidth) + column
        with self._lock:
            self._tiff.filehandle.seek(page.dataoffsets[index])
            return self._tiff.filehandle.read(page.databytecounts[index])

    def _tile(self, level: int, row: int, column: int) -> Region:
        page = self._pages[level]
        index = row * -(-page.imagewidth // page.tilewidth) + column
        try:
            encoded = self._encoded(level, row, column)
            decoded = page.decode(encoded, index, jpegtables=page.jpegtables)[0]
        except (*DAMAGED, RuntimeError) as error:  # the codecs' errors are RuntimeErrors
            raise FileError(f"{self.path}: tile {row}, {column} of level {level} is damaged: {error}") from error
        if decoded is None:
            return np.full((page.tilelength, page.tilewidth, 3), BACKGROUND, np.uint8)
        return np.asarray(decoded, np.uint8).reshape(-1, decoded.shape[-2], 3)

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()


def holds_only_a_picture(jpeg: bytes) -> bool:
    """Whether a JPEG is one, and holds nothing but what a decoder needs: no comment, no camera's data."""
    at = 2
    if jpeg[:2] != b"\xff\xd8":
        return False
    while jpeg[at : at + 1] == b"\xff" and at + 4 <= len(jpeg):
        marker = jpeg[at + 1]
        if marker == _START_OF_SCAN:
            return True
        if marker not in _PICTURE_MARKERS:
            return False
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return False


def _properties(xml: str) -> dict[str, str]:
    root = ElementTree.fromstring(xml)
    pixels = next(element for element in root.iter() if element.tag.endswith("}Pixels"))
    properties = {"openslide.vendor": "ome", "openslide.comment": xml}
    for axis in "XY":
        size = pixels.get(f"PhysicalSize{axis}")
        factor = _UM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if size is not None and factor is not None:
            properties[f"openslide.mpp-{axis.lower()}"] = f"{float(size) * factor:.9g}"
    objective = next((element for element in root.iter() if element.tag.endswith("}Objective")), None)
    if objective is not None:
        if "NominalMagnification" in objective.attrib:
            properties["openslide.objective-power"] = objective.attrib["NominalMagnification"]
        properties |= {f"ome.Objective.{key}": value for key, value in objective.attrib.items()}
    return properties
