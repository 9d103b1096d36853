"""A collection of focal stacks: which are wanted, which its folder holds, and which are missing."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.documents import read_json
from parfocal.durable import PART_SUFFIX, cannot, written_aside
from parfocal.errors import FileError, SettingsError
from parfocal.scan.places import Place
from parfocal.stacks.recorded import STACK_FILE

PLACES_SUFFIX = ".places.json"
"""Ends the name of the file that keeps a slide's places: what a collection that was stopped goes on from."""

_FEWEST_STEPS = 2
_SLIDE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


@dataclass(frozen=True, kw_only=True)
class CollectSettings:
    """Which stacks are recorded.

    Attributes:
        stacks: number of places.
        range_um: how far below and above the focus the planes reach, in µm (the paper's: 25).
        step_um: distance of the planes, in µm (the paper's: 1).
        full_frame: whether all of the frame is kept, instead of the centre at the network's scale.

    Raises:
        SettingsError: if a value is out of range.
    """

    stacks: int = 10
    range_um: float = 25.0
    step_um: float = 1.0
    full_frame: bool = False

    def __post_init__(self) -> None:
        if self.stacks < 1:
            raise SettingsError(f"{self.stacks} stacks: at least 1 is recorded")
        if not 0 < self.step_um < math.inf:
            raise SettingsError(f"step {self.step_um:g} µm is not above 0 µm")
        if not _FEWEST_STEPS * self.step_um <= self.range_um < math.inf:
            raise SettingsError(
                f"range ±{self.range_um:g} µm is less than {_FEWEST_STEPS} steps of {self.step_um:g} µm to each side"
            )

    @property
    def offsets_um(self) -> tuple[float, ...]:
        """Planes against the focus in µm, rising."""
        steps = math.floor(self.range_um / self.step_um + 1e-9)
        return tuple((np.arange(-steps, steps + 1) * self.step_um).tolist())


class Collection:
    """The stacks of one slide in a folder, which may hold those of other slides too.

    Args:
        folder: new, empty, or of earlier collections.
        slide: name of the slide.
        settings: what fixes the stacks of a slide, as JSON values.

    Raises:
        SettingsError: if the name is no file name, or the folder holds stacks of this slide by other settings.
        FileError: if the folder holds something else, or cannot be read.
    """

    def __init__(self, folder: Path, slide: str, settings: dict[str, Any]) -> None:
        if not _SLIDE.fullmatch(slide):
            raise SettingsError(
                f"slide {slide!r} is no name of 1 to 80 letters, digits and . _ + -, a letter or digit first"
            )
        self.folder, self.slide, self._settings = folder, slide, settings
        self._file = folder / f"{slide}{PLACES_SUFFIX}"
        self._check_folder()
        self.places: tuple[Place, ...] = self._read()

    def begin(self, places: Sequence[Place]) -> tuple[Place, ...]:
        """Keep the places, in the order in which they are tried."""
        self.places = tuple(places)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot("write", self.folder, error) from error
        told = {"slide": self.slide, "settings": self._settings, "places_um": [list(place) for place in places]}
        with written_aside(self._file) as part:
            part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return self.places

    def count(self) -> int:
        """How many of its stacks are whole."""
        return sum(self._is_there(name) for name, _ in self._named(self.places))

    def missing(self, places: Sequence[Place]) -> Iterator[tuple[str, Place]]:
        """Name and place of each stack that is not there."""
        return (named for named in self._named(places) if not self._is_there(named[0]))

    def _named(self, places: Sequence[Place]) -> Iterator[tuple[str, Place]]:
        for number, place in enumerate(places, start=1):
            yield f"{self.slide}-{number:02d}", place

    def _is_there(self, name: str) -> bool:
        return (self.folder / name / STACK_FILE).is_file()

    def _check_folder(self) -> None:
        """Raise unless everything in the folder comes from a collection."""
        if not self.folder.exists():
            return
        try:
            names = sorted(path.name for path in self.folder.iterdir())
        except OSError as error:
            raise cannot("read", self.folder, error) from error
        kept = [name for name in names if not name.endswith(PART_SUFFIX)]
        if kept and not any(name.endswith(PLACES_SUFFIX) for name in kept):
            raise FileError(
                f"{self.folder}: holds something else ({kept[0]}): give a new folder, or one of collections"
            )
        if self._file.name not in kept and any(re.fullmatch(re.escape(self.slide) + r"-\d{2,}", name) for name in kept):
            raise FileError(f"{self.folder}: holds stacks of {self.slide}, but no {self._file.name}")

    def _read(self) -> tuple[Place, ...]:
        if not self._file.exists():
            return ()
        try:
            there = read_json(self._file)
            settings, places = there["settings"], tuple((float(x), float(y)) for x, y in there["places_um"])
            if not isinstance(settings, dict):
                raise TypeError("settings is not an object")
        except (ValueError, TypeError, KeyError) as error:
            raise FileError(f"{self._file}: is not what a collection wrote ({error})") from error
        for key, value in self._settings.items():
            if settings.get(key) != value:
                raise SettingsError(
                    f"{self.folder} holds stacks of {self.slide} with {key} {settings.get(key)!r}, not {value!r}: "
                    "give another --slide or --out, or the same settings"
                )
        return places
