"""Where slides lie: found in a local folder or at any URL that fsspec reads, by their names alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from parfocal.errors import FileError
from parfocal.slide.fields.layout import HEADER_FILE
from parfocal.slide.readers.remote import file_system, read_errors

_SUFFIXES = (".tif", ".tiff", ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide", ".vms", ".vmu", ".dzi")
"""Of the files that OpenSlide and our own readers open."""

_DEPTH = 3
_LONGEST = 500  # characters of a place


class NotHereError(FileError):
    """What was asked for is none of what is served."""


class Places(Protocol):
    """A collection of slides, each by a place that stays the same."""

    def find(self) -> list[str]:
        """Places of all slides, sorted. Raises FileError if they cannot be listed."""

    @property
    def unread(self) -> tuple[str, ...]:
        """What could not be looked into when they were found last, and why."""

    def source(self, place: str) -> Path | str:
        """What `Slide.open` takes."""


class LocalPlaces:
    """Slides in a folder and the folders in it; or the one slide that the path itself is.

    Args:
        path: folder, or a slide's file or folder.

    Raises:
        FileError: if there is nothing.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise FileError(f"{path}: no such file or folder")
        path = path.resolve()
        self.is_one = path.is_file() or _is_slide_folder(path, {})
        self.root = path.parent if self.is_one else path
        self._only = path.name if self.is_one else None
        self.unread: tuple[str, ...] = ()

    def find(self) -> list[str]:
        """See `Places`."""
        if self._only is not None:
            return [self._only]
        unread: dict[Path, str] = {}
        found = sorted(path.relative_to(self.root).as_posix() for path in _walk(self.root, _DEPTH, unread))
        if self.root in unread:
            raise FileError(f"{self.root}: cannot be listed: {unread[self.root]}")
        too_long = [
            f"{place[:40]}…: a name of more than {_LONGEST} characters" for place in found if len(place) > _LONGEST
        ]
        said = [f"{path.relative_to(self.root).as_posix()}: {why}" for path, why in sorted(unread.items())]
        self.unread = (*said, *too_long)
        return [place for place in found if len(place) <= _LONGEST]

    def source(self, place: str) -> Path:
        """See `Places`."""
        return self.root / place


class RemotePlaces:
    """OME-Zarr images and Deep Zoom Images at a URL, such as `s3://bucket/slides`.

    Args:
        url: of a folder, or of one image.

    Raises:
        SettingsError: if the URL's file system is not installed.
    """

    unread: tuple[str, ...] = ()

    def __init__(self, url: str) -> None:
        self._files, self._path = file_system(url)
        self._url = url.rstrip("/")
        self.is_one = self._url.endswith((".zarr", ".dzi"))

    def find(self) -> list[str]:
        """See `Places`."""
        if self.is_one:
            return [""]
        root = self._path.rstrip("/")
        try:
            found = self._files.find(root, maxdepth=2, withdirs=True)
        except read_errors() as error:
            raise FileError(f"{self._url}: cannot be listed: {error}") from error
        names = (str(name).rstrip("/")[len(root) :].strip("/") for name in found)
        return sorted({name for name in names if name.endswith((".zarr", ".dzi"))})

    def source(self, place: str) -> str:
        """See `Places`."""
        return f"{self._url}/{place}" if place else self._url


def places_at(source: str) -> LocalPlaces | RemotePlaces:
    """The slides at a path or a URL."""
    return RemotePlaces(source) if "://" in source else LocalPlaces(Path(source))


def _walk(folder: Path, depth: int, unread: dict[Path, str]) -> Iterator[Path]:
    """Slides; folders that cannot be looked into are left out, and told with the reason."""
    for path in _listed(folder, unread):
        if path.name.startswith(".") or path.name.endswith(".part"):
            continue
        if _granted(path.is_file):
            if path.name.lower().endswith(_SUFFIXES):
                yield path
        elif _is_slide_folder(path, unread):
            yield path
        elif depth > 1 and _granted(path.is_dir) and not path.name.endswith("_files") and path not in unread:
            yield from _walk(path, depth - 1, unread)


def _listed(folder: Path, unread: dict[Path, str]) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        unread[folder] = error.strerror or str(error)
        return []


def _granted(asked: Callable[[], bool]) -> bool:
    """An answer of the file system; no where it must not be asked."""
    try:
        return asked()
    except OSError:
        return False


def _is_slide_folder(path: Path, unread: dict[Path, str]) -> bool:
    """A folder of fields, of OME-Zarr or of DICOM files."""
    if not _granted(path.is_dir):
        return False
    inside = {file.name for file in _listed(path, unread)}
    return not inside.isdisjoint((HEADER_FILE, "zarr.json", ".zattrs")) or any(n.endswith(".dcm") for n in inside)
