"""Deep Zoom Image: a descriptor, and a folder of tiles beside it."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from parfocal.errors import FileError
from parfocal.slide.reader import Region
from parfocal.slide.readers.own import own_properties
from parfocal.slide.readers.raster import TiledSlide, downsamples_of
from parfocal.slide.readers.remote import file_system, read_errors

_SUMMARY_FILE = "slide.json"  # beside the levels' folders, by our own writer


class DziSlide(TiledSlide):
    """A Deep Zoom Image, down to the level that is a single tile. See `Slide`.

    Args:
        source: the descriptor, `*.dzi`; a path or a URL.

    Raises:
        FileError: if it is no descriptor.
        SettingsError: if it is a URL whose file system is not installed.
    """

    def __init__(self, source: Path | str) -> None:
        self.path = source
        self._files, descriptor = file_system(source)
        self._folder = descriptor.removesuffix(".dzi") + "_files"
        try:
            image = ElementTree.fromstring(self._files.cat_file(descriptor))
            size = next(element for element in image if element.tag.endswith("Size"))
            full = (int(size.attrib["Width"]), int(size.attrib["Height"]))
            self._tile_px, self._overlap = int(image.attrib["TileSize"]), int(image.attrib["Overlap"])
            self._format = image.attrib["Format"]
        except read_errors(ElementTree.ParseError, StopIteration, LookupError, ValueError) as error:
            raise FileError(f"{source}: not a Deep Zoom descriptor that can be read: {error!r}") from error
        if min(*full, self._tile_px) < 1 or self._overlap < 0:
            raise FileError(
                f"{source}: {full} px in tiles of {self._tile_px} px, {self._overlap} px overlap, is no image"
            )
        self._largest = math.ceil(math.log2(max(full)))
        self.level_dimensions = tuple(_dimensions(full, self._tile_px))
        self.level_downsamples = downsamples_of(self.level_dimensions)
        self.tile_sizes = ((self._tile_px, self._tile_px),) * len(self.level_dimensions)
        self.properties = {"openslide.vendor": "dzi", **own_properties(self._summary())}

    def _summary(self) -> str:
        try:
            return bytes(self._files.cat_file(f"{self._folder}/{_SUMMARY_FILE}")).decode("utf-8")
        except read_errors(ValueError):
            return ""  # of another writer

    def _tile(self, level: int, row: int, column: int) -> Region:
        file = f"{self._folder}/{self._largest - level}/{column}_{row}.{self._format}"
        try:
            encoded = np.frombuffer(self._files.cat_file(file), np.uint8)
        except read_errors() as error:
            raise FileError(f"{self.path}: tile {row}, {column} of level {level} is missing: {error}") from error
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB) if encoded.size else None
        if decoded is None:
            raise FileError(f"{self.path}: tile {row}, {column} of level {level} is damaged")
        return np.asarray(decoded, np.uint8)[self._overlap * (row > 0) :, self._overlap * (column > 0) :]

    def close(self) -> None:
        """Nothing stays open."""


def _dimensions(full: tuple[int, int], tile_px: int) -> list[tuple[int, int]]:
    sizes = [full]
    while max(sizes[-1]) > tile_px:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes
