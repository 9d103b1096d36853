"""Virtual slides in OpenSlide's vocabulary: our own OME-TIFF, and everything that OpenSlide reads.

OpenSlide sees only the first level of an OME-TIFF whose levels lie in SubIFDs, so those are read here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self
from xml.etree import ElementTree

import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray

from parfocal.errors import FileError, SettingsError

Region = NDArray[np.uint8]
"""uint8 (Y, X, 3), RGB."""

_UM_PER_UNIT = {"nm": 1e-3, "µm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}


class Slide(ABC):
    """A pyramidal image that is read in pieces. A context manager.

    Attributes:
        path: the file.
        level_dimensions: (width, height) of each level in px, largest first.
        level_downsamples: how many level-0 px one px of each level spans.
        properties: what the file says, with OpenSlide's names; `openslide.mpp-x` and `openslide.mpp-y` in µm per px.
    """

    path: Path
    level_dimensions: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]
    properties: dict[str, str]

    @staticmethod
    def open(path: Path) -> Slide:
        """Open an OME-TIFF or anything that OpenSlide reads.

        Raises:
            FileError: if the file is missing, damaged or of no known format.
        """
        path = Path(path)
        if not path.exists():
            raise FileError(f"{path}: no such file")
        return _OmeTiffSlide(path) if _is_ome_tiff(path) else _OpenSlideSlide(path)

    @property
    def level_count(self) -> int:
        """Number of levels."""
        return len(self.level_dimensions)

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height) of level 0 in px."""
        return self.level_dimensions[0]

    def best_level_for_downsample(self, downsample: float) -> int:
        """The smallest level that is at least as fine as `downsample`."""
        return max((i for i, own in enumerate(self.level_downsamples) if own <= downsample), default=0)

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Region:
        """A rectangle of one level; only the tiles that it touches are decoded.

        Args:
            location: (x, y) of the top left corner, in level-0 px.
            level: the level, from 0.
            size: (width, height) in px of that level.

        Returns:
            uint8 (height, width, 3) RGB, white outside the slide.

        Raises:
            SettingsError: if there is no such level, or the size is not positive.
            FileError: if the file is damaged there.
        """
        if not 0 <= level < self.level_count:
            raise SettingsError(f"level {level} is not one of 0 to {self.level_count - 1}")
        if min(size) < 1:
            raise SettingsError(f"region of {size[0]} × {size[1]} px is below 1 × 1 px")
        return self._read(location, level, size)

    @abstractmethod
    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Region: ...

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_ome_tiff(path: Path) -> bool:
    try:
        with tifffile.TiffFile(path) as tiff:
            return bool(tiff.is_ome)
    except (tifffile.TiffFileError, OSError, ValueError):
        return False  # OpenSlide reads other formats, and says what is wrong with this one


class _OmeTiffSlide(Slide):
    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()  # one file position for all readers
        try:
            self._tiff = tifffile.TiffFile(path)
            first = self._tiff.pages.first
            pages = [first, *(first.pages or ())]
            self._pages = [page.aspage() for page in pages]
            self.properties = _ome_properties(self._tiff.ome_metadata or "")
        except (tifffile.TiffFileError, OSError, ValueError, IndexError, KeyError, ElementTree.ParseError) as error:
            raise FileError(f"{path}: not an OME-TIFF that can be read: {error}") from error
        for page in self._pages:
            if page.dtype != np.uint8 or page.samplesperpixel != 3 or not page.is_tiled or page.planarconfig != 1:
                self._tiff.close()
                raise FileError(f"{path}: not a tiled RGB image of 8 bits, but {page.dtype} {page.shape}")
        self.level_dimensions = tuple((page.imagewidth, page.imagelength) for page in self._pages)
        self.level_downsamples = tuple(_downsample(self.level_dimensions[0], size) for size in self.level_dimensions)

    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Region:
        page, downsample = self._pages[level], self.level_downsamples[level]
        x, y = round(location[0] / downsample), round(location[1] / downsample)
        width, height = size
        region = np.full((height, width, 3), 255, np.uint8)
        left, top = max(0, x), max(0, y)
        right, bottom = min(page.imagewidth, x + width), min(page.imagelength, y + height)
        tile_width, tile_height = page.tilewidth, page.tilelength
        for row in range(top // tile_height, -(-bottom // tile_height)):
            for column in range(left // tile_width, -(-right // tile_width)):
                tile_x, tile_y = column * tile_width, row * tile_height
                x0, x1 = max(left, tile_x), min(right, tile_x + tile_width)
                y0, y1 = max(top, tile_y), min(bottom, tile_y + tile_height)
                if x0 < x1 and y0 < y1:
                    tile = self._tile(level, row, column)
                    part = tile[y0 - tile_y : y1 - tile_y, x0 - tile_x : x1 - tile_x]
                    region[y0 - y : y1 - y, x0 - x : x1 - x] = part
        return region

    def _tile(self, level: int, row: int, column: int) -> Region:
        page = self._pages[level]
        index = row * -(-page.imagewidth // page.tilewidth) + column
        try:
            with self._lock:
                self._tiff.filehandle.seek(page.dataoffsets[index])
                encoded = self._tiff.filehandle.read(page.databytecounts[index])
            decoded = page.decode(encoded, index, jpegtables=page.jpegtables)[0]
        except (OSError, ValueError, IndexError, RuntimeError) as error:  # the codecs' errors are RuntimeErrors
            raise FileError(f"{self.path}: tile {row}, {column} of level {level} is damaged: {error}") from error
        if decoded is None:
            return np.full((page.tilelength, page.tilewidth, 3), 255, np.uint8)
        return np.asarray(decoded, np.uint8).reshape(-1, decoded.shape[-2], 3)

    def close(self) -> None:
        self._tiff.close()


def _downsample(full: tuple[int, int], level: tuple[int, int]) -> float:
    """Whole where the sizes agree with it: writers round the smaller levels' sizes, not their scale."""
    ratio = full[0] / level[0]
    whole = round(ratio)
    fits = all(abs(a - b * whole) < whole for a, b in zip(full, level, strict=True))
    return float(whole if fits else ratio)


def _ome_properties(xml: str) -> dict[str, str]:
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


class _OpenSlideSlide(Slide):
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._slide = openslide.OpenSlide(path)
        except (openslide.OpenSlideError, OSError) as error:
            raise FileError(f"{path}: not a slide that can be read: {error}") from error
        self.level_dimensions = tuple(self._slide.level_dimensions)
        self.level_downsamples = tuple(self._slide.level_downsamples)
        self.properties = dict(self._slide.properties)

    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Region:
        try:
            image = np.asarray(self._slide.read_region(location, level, size), np.float32)
        except openslide.OpenSlideError as error:
            raise FileError(f"{self.path}: damaged at {location} of level {level}: {error}") from error
        alpha = image[..., 3:] / 255
        return np.asarray(np.round(image[..., :3] * alpha + 255 * (1 - alpha)), np.uint8)

    def close(self) -> None:
        self._slide.close()
