"""Flat pyramidal TIFF, DICOM and the vendors' formats, through OpenSlide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openslide
import tifffile
from PIL import ImageCms

from parfocal.errors import FileError
from parfocal.slide.reader import Region, Slide
from parfocal.slide.readers.ome_tiff import DAMAGED
from parfocal.slide.readers.own import own_properties

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def dicom_level(folder: Path) -> Path | None:
    """A file of a folder by which OpenSlide opens the DICOM slide in it; None where there is none."""
    files = sorted(path for path in folder.iterdir() if path.suffix == ".dcm")
    return next((path for path in files if openslide.OpenSlide.detect_format(path) == "dicom"), None)


class ThroughOpenSlide(Slide):
    """A slide that OpenSlide reads. See `Slide`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _refuse_impossible_tiles(path)
        try:
            self._slide = openslide.OpenSlide(path)
        except (openslide.OpenSlideError, OSError) as error:
            raise FileError(f"{path}: not a slide that can be read: {error}") from error
        self.level_dimensions = tuple(self._slide.level_dimensions)
        self.level_downsamples = tuple(self._slide.level_downsamples)
        self.properties = dict(self._slide.properties)
        self.properties = {**own_properties(self.properties.get("tiff.ImageDescription")), **self.properties}

    @property
    def associated_images(self) -> Mapping[str, Region]:
        """Label, macro and thumbnail, as far as the file has them."""
        return {name: _on_white(np.asarray(image)) for name, image in self._slide.associated_images.items()}

    @property
    def icc_profile(self) -> bytes:
        """ICC profile of the pixels; empty where the file has none."""
        try:
            profile = self._slide.color_profile
        except ImageCms.PyCMSError as error:
            raise FileError(f"{self.path}: its colour profile cannot be read: {error}") from error
        return b"" if profile is None else profile.tobytes()

    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Region:
        try:
            return _on_white(np.asarray(self._slide.read_region(location, level, size)))
        except openslide.OpenSlideError as error:
            raise FileError(f"{self.path}: damaged at {location} of level {level}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._slide.close()


def _refuse_impossible_tiles(path: Path) -> None:
    """Refuse a TIFF with tiles longer than its file: OpenSlide ends the process where memory for one is refused."""
    try:
        with path.open("rb") as file:
            if file.read(4) not in _TIFF_MAGIC:
                return
        size = path.stat().st_size
        with tifffile.TiffFile(path) as tiff:
            longest = max((max(page.databytecounts, default=0) for page in tiff.pages), default=0)
    except DAMAGED:
        return  # OpenSlide says what is wrong with it
    if longest > size:
        raise FileError(f"{path}: is damaged: a tile of {longest} bytes in a file of {size} bytes")


def _on_white(rgba: Region) -> Region:
    image = rgba.astype(np.float32)
    alpha = image[..., 3:] / 255
    return np.asarray(np.round(image[..., :3] * alpha + 255 * (1 - alpha)), np.uint8)
