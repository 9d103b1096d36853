"""Where each format of an export goes, and what may be replaced there."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, get_args
from urllib.parse import urlsplit

from parfocal.durable import refuse_foreign
from parfocal.errors import FileError, SettingsError

Format = Literal["ome-tiff", "tiff", "dicom", "ome-zarr", "dzi"]
FORMATS: tuple[Format, ...] = get_args(Format)

_SUFFIXES: dict[Format, tuple[str, ...]] = {
    "ome-tiff": (".ome.tif", ".ome.tiff"),
    "tiff": (".tif", ".tiff"),
    "ome-zarr": (".zarr",),
    "dzi": (".dzi",),
}
_DICOM_FOLDER = "dicom"
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f/\\:*?"<>|]+')
_LONGEST_NAME_BYTES = 150  # leaves room for suffixes in the 255 that file systems allow


@dataclass(frozen=True)
class Destinations:
    """Where an export goes.

    Attributes:
        folder: in which everything local appears; for temporary files, where nothing does.
        stem: what names begin with.
        paths: of each local format.
        url: of the OME-Zarr image, where it goes to a URL.
    """

    folder: Path
    stem: str
    paths: dict[Format, Path]
    url: str | None = None

    @property
    def tables(self) -> tuple[Path, Path]:
        """The quality table's files."""
        return self.folder / f"{self.stem}.quality.parquet", self.folder / f"{self.stem}.quality.csv"

    def check(self, *, overwrite: bool) -> None:
        """Refuse to replace anything but an earlier export, and that only if it is allowed.

        Raises:
            FileError: naming what is there.
        """
        files = self.tables if self.paths else ()
        for path in (*self.paths.values(), *files):
            if path.exists() and not (path.is_dir() and not any(path.iterdir())) and not overwrite:
                raise FileError(f"{path}: is there already; --overwrite replaces it")
        for kind, path in self.paths.items():
            if kind in _OWNED:
                refuse_foreign(_folder_of(kind, path), _OWNED[kind])
            if kind not in ("dicom", "ome-zarr") and path.is_dir():
                raise FileError(f"{path}: is a folder, where a file is to be written")

    def as_text(self) -> dict[str, str]:
        """Of each format, the path or the URL."""
        if self.url is not None:
            return {"ome-zarr": self.url}
        return {kind: str(path) for kind, path in self.paths.items()}


_OWNED: dict[Format, Callable[[PurePath], bool]] = {
    "dicom": lambda file: file.suffix == ".dcm",
    "ome-zarr": lambda file: file.name == "zarr.json" or "c" in file.parts[1:2],
    "dzi": lambda file: bool(re.fullmatch(r"\d+/\d+_\d+\.jpg|slide\.json|quality\.(csv|parquet)", file.as_posix())),
}


def _folder_of(kind: Format, path: Path) -> Path:
    return path.with_name(f"{path.stem}_files") if kind == "dzi" else path


def destinations(out: str | Path, formats: Sequence[Format], name: str) -> Destinations:
    """Where the formats go.

    Args:
        out: with one format, the file itself if it is named like one of that format, or the folder of DICOM files; else
            the folder that files named after the slide are put into. A URL, for OME-Zarr alone.
        formats: which ones.
        name: of the slide.

    Raises:
        SettingsError: if no format is given, or another than OME-Zarr is to go to a URL.
    """
    if not formats:
        raise SettingsError(f"no format is given: {', '.join(FORMATS)}")
    stem = file_name(name)
    if is_url(out):
        if tuple(formats) != ("ome-zarr",):
            raise SettingsError(f"{out}: only ome-zarr is written to a URL, not {', '.join(formats)}")
        url = str(out).rstrip("/")
        return Destinations(
            Path(tempfile.gettempdir()), stem, {}, url if url.endswith(".zarr") else f"{url}/{stem}.zarr"
        )
    path = Path(out)
    if len(formats) == 1:
        (kind,) = formats
        if kind == "dicom":
            return Destinations(path.parent, path.name, {kind: path})
        suffix = next((one for one in _SUFFIXES[kind] if path.name.lower().endswith(one)), None)
        if suffix and (kind == "ome-zarr" or not path.is_dir()):
            return Destinations(path.parent, path.name[: -len(suffix)], {kind: path})
    paths = {
        kind: path / (stem + _SUFFIXES[kind][0]) if kind in _SUFFIXES else path / _DICOM_FOLDER for kind in formats
    }
    return Destinations(path, stem, paths)


def is_url(out: str | Path) -> bool:
    """Whether fsspec finds the place, such as `s3://bucket/slide.zarr`, rather than this machine's file system."""
    return isinstance(out, str) and "://" in out and len(urlsplit(out).scheme) > 1


def file_name(name: str) -> str:
    """A slide's name, fit for a file: as it is, but for characters that some file system does not take."""
    allowed = _NOT_IN_NAMES.sub("-", name).strip(" .-")
    short = allowed.encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore").strip(" .-")
    return short or "slide"
