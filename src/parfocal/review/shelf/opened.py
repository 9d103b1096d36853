"""Slides that are open: a few at a time, each closed only when nobody reads it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from parfocal.slide.deepzoom import DeepZoom
from parfocal.slide.reader import Slide

TILE_PX = 256


@dataclass
class OpenSlide:
    """A slide with its Deep Zoom levels.

    Attributes:
        slide: opened.
        zoom: its levels in tiles of 256 px.
        readers: how many are reading it now.
    """

    slide: Slide
    zoom: DeepZoom
    readers: int = 0
    forgotten: bool = field(default=False)


class OpenSlides:
    """Opens slides and keeps the latest open. Safe in several threads.

    Args:
        most: how many stay open while nobody reads them.
    """

    def __init__(self, most: int = 16) -> None:
        self._most = most
        self._held: OrderedDict[tuple[str, str], OpenSlide] = OrderedDict()
        self._opening: dict[tuple[str, str], Lock] = {}
        self._lock = Lock()  # never held while a slide is opened: a slow one must not hold up the others

    @contextmanager
    def reading(self, source: Path | str, version: str) -> Iterator[OpenSlide]:
        """A slide, open for the length of a block.

        Args:
            source: of the slide.
            version: of its content; another one is opened anew.

        Raises:
            FileError: if it cannot be opened.
        """
        opened = self._take((str(source), version), source)
        try:
            yield opened
        finally:
            self._give_back(opened)

    def _take(self, key: tuple[str, str], source: Path | str) -> OpenSlide:
        with self._lock:
            if key in self._held:
                return self._lend(key)
            opening = self._opening.setdefault(key, Lock())
        with opening:  # whoever wants the same one waits, or would open it twice
            with self._lock:
                if key in self._held:
                    return self._lend(key)
            try:
                slide = Slide.open(source)
                opened = OpenSlide(slide, DeepZoom(slide, TILE_PX))
                with self._lock:
                    if self._held.setdefault(key, opened) is not opened:
                        slide.close()  # who came after one that failed has opened it meanwhile
                    return self._lend(key)
            finally:
                with self._lock:
                    self._opening.pop(key, None)

    def _lend(self, key: tuple[str, str]) -> OpenSlide:
        self._held.move_to_end(key)
        opened = self._held[key]
        opened.readers += 1
        self._forget_oldest()
        return opened

    def _give_back(self, opened: OpenSlide) -> None:
        with self._lock:
            opened.readers -= 1
            if opened.forgotten and opened.readers == 0:
                opened.slide.close()

    def _forget_oldest(self) -> None:
        while len(self._held) > self._most:
            _, oldest = self._held.popitem(last=False)
            oldest.forgotten = True
            if oldest.readers == 0:
                oldest.slide.close()

    def close(self) -> None:
        """Close all."""
        with self._lock:
            for opened in self._held.values():
                opened.forgotten = True
                if opened.readers == 0:
                    opened.slide.close()
            self._held.clear()
