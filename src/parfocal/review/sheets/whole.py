"""Whole slides as readers see them: all of a study on canvases of one size, in tiles of one kind of JPEG.

What reaches a reader must not tell how a slide was taken, nor which one it is. So each lies in the middle of a white
canvas that is as large as the largest slides of the study need, and every tile is encoded anew. The pixels, and the
scale that belongs to them, may tell the magnification.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from parfocal.errors import FileError
from parfocal.review.grading import frame_area_mm2
from parfocal.review.sheets.frames import QUALITY, ChangedError, readable_fields
from parfocal.review.shelf.cache import BytesCache
from parfocal.review.shelf.opened import TILE_PX
from parfocal.review.shelf.shelf import Shelf, version_of
from parfocal.slide.deepzoom import DeepZoom
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.pyramid import encode_jpeg
from parfocal.slide.reader import Region, Slide


@dataclass(frozen=True)
class Extent:
    """How large a whole slide is.

    Attributes:
        width: of level 0 in px.
        height: of level 0 in px.
        um_per_px: of level 0.
        area_mm2: of what was scanned and is neither empty nor failed; of the whole image where that is not known.
    """

    width: int
    height: int
    um_per_px: float
    area_mm2: float


@dataclass(frozen=True)
class Canvas:
    """What a whole slide is shown on. Only its own size reaches a reader, and it is the same for the whole study.

    Attributes:
        width: in px of level 0.
        height: in px of level 0.
        slide_width: of the slide that lies in its middle; another one is not shown in its place.
        slide_height: of that slide.
    """

    width: int
    height: int
    slide_width: int
    slide_height: int

    @property
    def corner(self) -> tuple[int, int]:
        """(x, y) in px of the slide's top left corner: whole tiles, so that its levels are shifted by whole pixels."""
        return tuple(  # type: ignore[return-value]
            (own - slide) // 2 // TILE_PX * TILE_PX
            for own, slide in ((self.width, self.slide_width), (self.height, self.slide_height))
        )

    def to_json(self) -> dict[str, int]:
        """As JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Canvas:
        """The canvas that `to_json` wrote."""
        return Canvas(**values)


@dataclass(frozen=True)
class Shown:
    """A whole slide as a reading shows it.

    Attributes:
        canvas: on what.
        content: what told it from others when the reading was laid out; None where that is not known.
    """

    canvas: Canvas
    content: str | None


def canvas_size(extents: Iterable[Extent]) -> tuple[int, int]:
    """(width, height) in px in which each of these slides has room, in whole tiles."""
    sizes = [(one.width, one.height) for one in extents]
    width, height = (-(-max(lengths) // TILE_PX) * TILE_PX for lengths in zip(*sizes, strict=True))
    return width, height


class OnCanvas(Slide):
    """A slide in the middle of its canvas, white around it. See `Slide`.

    Args:
        slide: opened; it stays the caller's to close.
        canvas: that it was laid on.

    Raises:
        ChangedError: if it is another slide by now.
    """

    def __init__(self, slide: Slide, canvas: Canvas) -> None:
        if slide.dimensions != (canvas.slide_width, canvas.slide_height):
            raise ChangedError("the slide has changed since the study started")
        self.path = slide.path
        self.level_downsamples = slide.level_downsamples
        self.level_dimensions = tuple(
            (round(canvas.width / downsample), round(canvas.height / downsample))
            for downsample in slide.level_downsamples
        )
        self.properties = {}
        self._slide, self._corner = slide, canvas.corner

    def _read(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Region:
        left, top = self._corner
        return self._slide.read_region((location[0] - left, location[1] - top), level, size)

    def close(self) -> None:
        """Nothing of its own is open."""


class WholeSlides:
    """Whole slides of the shelf for readers, with a cache whose memory is bounded.

    Args:
        shelf: of the slides.
        cache_bytes: what encoded tiles may take in memory.
    """

    def __init__(self, shelf: Shelf, cache_bytes: int) -> None:
        self._shelf = shelf
        self._kept = BytesCache(cache_bytes)

    def extent(self, slide_id: str) -> Extent:
        """How large a slide is.

        Raises:
            FileError: if it cannot be opened, or does not say how large its pixels are.
        """
        shelved = self._shelf.slide(slide_id)
        geometry = self._shelf.geometry(shelved)
        if geometry.pixel_size_um is None:
            raise FileError("the slide does not say how large its pixels are")
        whole = frame_area_mm2(geometry.width, geometry.height, geometry.pixel_size_um)
        area = whole if shelved.folder is None else scanned_area_mm2(FieldsFolder(shelved.folder))
        return Extent(geometry.width, geometry.height, geometry.pixel_size_um, area)

    def content(self, slide_id: str) -> str | None:
        """What tells its content from another's; None for a slide at a URL.

        Raises:
            FileError: if it is not there, or cannot be read.
        """
        return self._shelf.content(self._shelf.slide(slide_id))

    def tile(self, slide_id: str, shown: Shown, level: int, column: int, row: int) -> bytes:
        """A Deep Zoom tile of a slide on its canvas, as JPEG.

        Raises:
            SettingsError: if there is no such tile.
            ChangedError: if the slide is another one by now.
            FileError: if the slide is damaged there.
        """
        shelved, canvas = self._shelf.slide(slide_id), shown.canvas
        version = version_of(shelved)
        if shown.content is not None and shown.content != self._shelf.content(shelved):
            raise ChangedError("the slide has changed since the study started")
        key = (slide_id, version, canvas, level, column, row)
        kept = self._kept.get(key)
        if kept is None:
            with self._shelf.reading(shelved, version) as opened:
                pixels = DeepZoom(OnCanvas(opened.slide, canvas), TILE_PX).tile(level, column, row)
            kept = encode_jpeg(pixels, QUALITY)
            self._kept.put(key, kept)
        return kept


def scanned_area_mm2(folder: FieldsFolder) -> float:
    """Area of the fields that are neither empty nor failed, where they overlap counted once.

    Raises:
        FileError: if there is none.
    """
    readable = set(readable_fields(folder))
    centres = [(one.stage_x_um, one.stage_y_um) for one in folder.records if one.index in readable]
    if not centres:
        raise FileError("every field of this slide is empty or failed")
    height, width = folder.header.frame_shape
    half = np.array([width, height]) * folder.header.pixel_size_um / 2
    low, high = np.array(centres) - half, np.array(centres) + half
    x_um, y_um = (np.unique(np.concatenate((low[:, axis], high[:, axis]))) for axis in (0, 1))
    covered = np.zeros((len(y_um) - 1, len(x_um) - 1), bool)  # between the edges of all fields
    for (left, top), (right, bottom) in zip(low, high, strict=True):
        columns = slice(*np.searchsorted(x_um, (left, right)))
        covered[slice(*np.searchsorted(y_um, (top, bottom))), columns] = True
    return float(np.diff(y_um) @ covered @ np.diff(x_um)) / 1e6
