"""The shelf: every slide by a random id that says nothing, its tiles, its thumbnail, and what is known about it."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from sqlalchemy import select

from parfocal.errors import FileError
from parfocal.review.database.connection import Database
from parfocal.review.database.tables import SlideRow
from parfocal.review.shelf.cache import BytesCache
from parfocal.review.shelf.content import digest_of
from parfocal.review.shelf.identity import Identities, Seen, is_settled, seen_at, settle
from parfocal.review.shelf.opened import TILE_PX, OpenSlide, OpenSlides
from parfocal.review.shelf.places import LocalPlaces, NotHereError, RemotePlaces
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import HEADER_FILE, RECORDS_FILE
from parfocal.slide.overview import overview
from parfocal.slide.pyramid import encode_jpeg

_LOOK_EVERY_S = 5.0
_THUMBNAIL_PX = 480
_SLIDE_FILE = "slide.ome.tif"  # in a folder of fields


@dataclass(frozen=True)
class Shelved:
    """A slide on the shelf.

    Attributes:
        id: random, in addresses.
        place: where it lies, relative to what is served; for those who may know.
        source: what `Slide.open` takes.
        seen: file or folder as it was when it was found; None where there was none.
        is_firm: whether it will be known again by what it holds; not while it is being written.
    """

    id: str
    place: str
    source: Path | str
    seen: Seen = None
    is_firm: bool = True

    @property
    def pseudonym(self) -> str:
        """What everybody may know it by."""
        return f"slide-{self.id}"

    @property
    def folder(self) -> Path | None:
        """The fields folder that it was made of; None where there is none."""
        is_scan = isinstance(self.source, Path) and (self.source / HEADER_FILE).is_file()
        return self.source if is_scan and isinstance(self.source, Path) else None

    @property
    def is_whole(self) -> bool:
        """Whether it is a virtual slide, and not single fields alone."""
        return self.folder is None or (self.folder / _SLIDE_FILE).is_file()


@dataclass(frozen=True)
class Geometry:
    """What a viewer has to know about a slide.

    Attributes:
        width: of level 0 in px.
        height: of level 0 in px.
        tile_px: side of a tile.
        levels: Deep Zoom levels, the first of one pixel.
        pixel_size_um: of level 0; None where the file does not say.
        magnification: of the objective; None where the file does not say.
        version: changes with the content; in the tiles' addresses.
    """

    width: int
    height: int
    tile_px: int
    levels: int
    pixel_size_um: float | None
    magnification: float | None
    version: str


class Shelf:
    """All slides of a folder or URL.

    Args:
        places: where they lie.
        database: remembers their ids.
        cache_bytes: what encoded tiles may take in memory.
    """

    def __init__(self, places: LocalPlaces | RemotePlaces, database: Database, cache_bytes: int) -> None:
        self.places = places
        self._database = database
        self._tiles = BytesCache(cache_bytes)
        self._open = OpenSlides()
        self._lock = Lock()
        self._looked_s = -_LOOK_EVERY_S
        self._slides: dict[str, Shelved] = {}
        self._identities = Identities()
        self._contents: dict[str, tuple[str, str]] = {}  # version and digest by id

    def slides(self) -> list[Shelved]:
        """Every slide, by its place. Looked for again after a few seconds.

        Raises:
            FileError: if they cannot be listed.
        """
        with self._lock:
            if time.monotonic() - self._looked_s >= _LOOK_EVERY_S:
                self._slides = {slide.id: slide for slide in self._look()}
                self._looked_s = time.monotonic()
            return list(self._slides.values())

    def look_again(self) -> None:
        """Something was added: the next call sees it."""
        self._looked_s = -_LOOK_EVERY_S

    def slide(self, slide_id: str) -> Shelved:
        """The slide of an id, wherever it lies now: never another one that took its place.

        Raises:
            NotHereError: if there is none.
            FileError: if they cannot be listed.
        """
        found = self._slides.get(slide_id)
        if found is not None and found.seen != seen_at(found.source):
            self.look_again()
            found = None
        if found is None or not found.is_firm:
            found = next((slide for slide in self.slides() if slide.id == slide_id), None)
        if found is None:
            raise NotHereError("there is no such slide")
        return found

    def _look(self) -> list[Shelved]:
        sources = {place: self.places.source(place) for place in self.places.find()}
        with self._database.reading() as session:
            rows = list(session.scalars(select(SlideRow)))
        there = {row.place: row for row in rows}
        found = {place: self._identities.of(source, there.get(place)) for place, source in sources.items()}
        ids = {row.place: row.id for row in rows}
        if not is_settled(rows, found):
            with self._database.writing() as session:
                ids = settle(session, found)  # reads them again: another server may be here
        return [
            Shelved(ids[place], place, source, found[place].seen, found[place].is_firm)
            for place, source in sources.items()
        ]

    def geometry(self, slide: Shelved) -> Geometry:
        """Size, scale and version of a slide.

        Raises:
            FileError: if it cannot be opened.
        """
        version = version_of(slide)
        with self._open.reading(slide.source, version) as opened:
            width, height = opened.slide.dimensions
            return Geometry(
                width=width,
                height=height,
                tile_px=TILE_PX,
                levels=opened.zoom.level_count,
                pixel_size_um=_number(opened, "openslide.mpp-x"),
                magnification=_number(opened, "openslide.objective-power"),
                version=version,
            )

    def reading(self, slide: Shelved, version: str) -> AbstractContextManager[OpenSlide]:
        """A slide, open for the length of a block.

        Args:
            slide: which.
            version: of its content, from `version_of`.

        Raises:
            FileError: if it cannot be opened.
        """
        return self._open.reading(slide.source, version)

    def kept_tile(self, slide_id: str, version: str, level: int, column: int, row: int) -> bytes | None:
        """A tile as JPEG, if it was made before and is still here."""
        return self._tiles.get((slide_id, version, level, column, row))

    def tile(self, slide_id: str, version: str, level: int, column: int, row: int) -> bytes:
        """A Deep Zoom tile as JPEG.

        Args:
            slide_id: whose.
            version: as `geometry` gave it.
            level: of Deep Zoom, 0 the one of one pixel.
            column: of the tile.
            row: of the tile.

        Raises:
            NotHereError: if there is no such slide.
            SettingsError: if there is no such tile.
            FileError: if the slide is damaged there, or is another one by now.
        """
        slide = self.slide(slide_id)
        if version != version_of(slide):
            raise FileError("the slide has changed: reload the page")
        with self._open.reading(slide.source, version) as opened:
            stored = opened.zoom.stored(level, column, row)
            encoded = encode_jpeg(opened.zoom.tile(level, column, row)) if stored is None else stored
        self._tiles.put((slide.id, version, level, column, row), encoded)
        return encoded

    def thumbnail(self, slide: Shelved) -> bytes:
        """The whole slide as a small JPEG.

        Raises:
            FileError: if it cannot be read.
        """
        version = version_of(slide)
        key = (slide.id, version, "thumbnail")
        kept = self._tiles.get(key)
        if kept is None:
            with self._open.reading(slide.source, version) as opened:
                kept = encode_jpeg(overview(opened.slide, _THUMBNAIL_PX))
            self._tiles.put(key, kept)
        return kept

    def content(self, slide: Shelved) -> str | None:
        """What tells a virtual slide's content from another's, as `digest_of`; None for one at a URL.

        Raises:
            FileError: if it is not there, or cannot be read.
        """
        if not isinstance(slide.source, Path):
            return None
        version = version_of(slide)
        known = self._contents.get(slide.id)
        if known is None or known[0] != version:
            made = slide.source / _SLIDE_FILE
            known = self._contents[slide.id] = (version, digest_of(made if made.is_file() else slide.source))
        return known[1]

    def close(self) -> None:
        """Close every slide."""
        self._open.close()


def version_of(slide: Shelved) -> str:
    """Changes when a local slide is made anew; a remote one is taken to stay as it is."""
    if not isinstance(slide.source, Path):
        return "1"
    made = slide.source / _SLIDE_FILE
    for path in (made, slide.source):
        try:
            seen = path.stat()
        except OSError:
            continue
        return hashlib.sha256(f"{seen.st_mtime_ns} {seen.st_size} {seen.st_ino}".encode()).hexdigest()[:12]
    raise FileError("the slide is not there any more")


def verdicts(slide: Shelved) -> dict[str, int]:
    """How many fields of a scan have which verdict; empty for a slide that was not scanned here.

    Raises:
        FileError: if the folder cannot be read.
    """
    if slide.folder is None or not (slide.folder / RECORDS_FILE).is_file():
        return {}
    return dict(Counter(str(record.verdict) for record in FieldsFolder(slide.folder).records))


def _number(opened: OpenSlide, name: str) -> float | None:
    try:
        value = float(opened.slide.properties.get(name, ""))
    except ValueError:
        return None
    return value if value > 0 else None
