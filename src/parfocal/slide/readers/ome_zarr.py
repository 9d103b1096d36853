"""OME-Zarr 0.4 and 0.5 of three channels, in a folder or at a URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from parfocal.errors import FileError
from parfocal.slide.reader import Region
from parfocal.slide.readers.own import own_properties
from parfocal.slide.readers.raster import RasterSlide, downsamples_of
from parfocal.slide.readers.remote import file_system, read_errors

_NOT_ONE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What a document raises that is not as it should be."""

_UM_PER_UNIT = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}


class OmeZarrSlide(RasterSlide):
    """An OME-Zarr image whose axes are channel, y and x, besides others of length 1. See `Slide`.

    Raises:
        FileError: if it is none that can be read as RGB.
        SettingsError: if it is a URL whose file system is not installed.
    """

    def __init__(self, source: Path | str) -> None:
        self.path = source
        file_system(source)  # says what a URL lacks
        try:
            group = zarr.open_group(str(source), mode="r")
            multiscale = _multiscale(dict(group.attrs))
            axes = [str(axis["name"]) for axis in multiscale["axes"]]
            levels = [group[dataset["path"]] for dataset in multiscale["datasets"]]
            scales = _scales(multiscale, axes)
        except read_errors(*_NOT_ONE) as error:
            raise FileError(f"{source}: not an OME-Zarr image that can be read: {error!r}") from error
        self._axes = axes
        self._levels = [self._rgb(level) for level in levels]
        self.level_dimensions = tuple(self._size(level) for level in self._levels)
        self.level_downsamples = downsamples_of(self.level_dimensions)
        self.properties = {"openslide.vendor": "ome-zarr", **own_properties(group.attrs.get("parfocal"))}
        self.properties |= scales

    def _rgb(self, level: object) -> zarr.Array[Any]:
        if isinstance(level, zarr.Array) and level.dtype == np.uint8 and len(level.shape) == len(self._axes):
            lengths = dict(zip(self._axes, level.shape, strict=True))
            others = [length for axis, length in lengths.items() if axis not in ("c", "y", "x")]
            if lengths.get("c") == 3 and min(lengths.get("y", 0), lengths.get("x", 0)) > 0 and set(others) <= {1}:
                return level
        raise FileError(f"{self.path}: not an RGB image of 8 bits, but {level!r} with axes {', '.join(self._axes)}")

    def _size(self, level: zarr.Array[Any]) -> tuple[int, int]:
        lengths = dict(zip(self._axes, level.shape, strict=True))
        return lengths["x"], lengths["y"]

    def _part(self, level: int, left: int, top: int, right: int, bottom: int) -> Region:
        place = {"c": slice(None), "y": slice(top, bottom), "x": slice(left, right)}
        selection = tuple(place.get(axis, 0) for axis in self._axes)
        kept = [axis for axis in self._axes if axis in place]
        try:
            found = np.asarray(self._levels[level][selection], np.uint8)
        except read_errors(ValueError, TypeError, RuntimeError, ArithmeticError) as error:
            raise FileError(f"{self.path}: damaged at {left}, {top} of level {level}: {error}") from error
        return np.moveaxis(found, [kept.index(axis) for axis in "yxc"], [0, 1, 2])

    def close(self) -> None:
        """Nothing stays open."""


def _multiscale(attributes: dict[str, Any]) -> dict[str, Any]:
    """Of version 0.5, where "ome" holds it, or of 0.4."""
    found = attributes.get("ome", attributes)["multiscales"][0]
    if not isinstance(found, dict):
        raise TypeError("multiscales holds no object")
    return found


def _scales(multiscale: dict[str, Any], axes: list[str]) -> dict[str, str]:
    """Size of a level-0 pixel, where the file says it."""
    properties = {}
    transformations = multiscale["datasets"][0].get("coordinateTransformations", ())
    scale = next((each["scale"] for each in transformations if each.get("type") == "scale"), ())
    for axis in "xy" if scale else "":
        unit = _UM_PER_UNIT.get(multiscale["axes"][axes.index(axis)].get("unit", ""))
        if unit:
            properties[f"openslide.mpp-{axis}"] = f"{scale[axes.index(axis)] * unit:.9g}"
    return properties
