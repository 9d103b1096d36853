"""A fields folder in any of the formats that other programs read, or in all of them from one pass."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from parfocal.errors import FileError, SettingsError
from parfocal.slide.assembly import Assembly, assemble
from parfocal.slide.description import SlideDescription
from parfocal.slide.durable import all_written_aside
from parfocal.slide.ome_tiff import write_ome_tiff
from parfocal.slide.privacy import deidentify as _deidentify
from parfocal.slide.pyramid import JPEG_QUALITY, Pyramid, level_shapes
from parfocal.slide.registration import Progress
from parfocal.slide.tiff import write_tiff

Format = Literal["ome-tiff", "tiff"]
FORMATS: tuple[Format, ...] = get_args(Format)

_SUFFIXES: dict[Format, tuple[str, ...]] = {"ome-tiff": (".ome.tif", ".ome.tiff"), "tiff": (".tif", ".tiff")}
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f/\\:*?"<>|]+')
_LONGEST_NAME = 100


@dataclass(frozen=True)
class ExportResult:
    """What an export made.

    Attributes:
        assembly: what it was made from.
        description: what was written into the files.
        stripped: names of what was left out on purpose.
        paths: of each format.
        shapes: (Y, X) of each level in px.
        quality: of the JPEGs.
    """

    assembly: Assembly
    description: SlideDescription
    stripped: tuple[str, ...]
    paths: dict[Format, Path]
    shapes: tuple[tuple[int, int], ...]
    quality: int


def export(
    folder: Path,
    out: Path,
    formats: Sequence[Format],
    *,
    quality: int = JPEG_QUALITY,
    overwrite: bool = False,
    deidentify: bool = False,
    progress: Progress | None = None,
) -> ExportResult:
    """Make a virtual slide of a fields folder, in one or more formats. All appear together, or none.

    Args:
        folder: the fields folder, of a scan that has ended in whatever way.
        out: with one format, the file, or a folder to put it into under the slide's name; else the folder.
        formats: which ones.
        quality: of the JPEGs, 1 to 100.
        overwrite: whether an earlier export may be replaced.
        deidentify: leave out label, overview, times and serial numbers.
        progress: called with (what is being done, how many are done, how many there are).

    Raises:
        SettingsError: if there is nothing to write, or the quality is not possible.
        FileError: if a frame is missing or damaged, the result is there already, or it cannot be written.
    """
    if not formats:
        raise SettingsError(f"no format is given: {', '.join(FORMATS)}")
    made = assemble(folder, progress)
    description, stripped = _deidentify(made.description) if deidentify else (made.description, ())
    paths = destinations(out, formats, file_name(description.name))
    if not overwrite:
        refuse_what_is_there(paths)
    with ExitStack() as stack:
        aside = stack.enter_context(all_written_aside(_folder_of(paths)))
        pyramid = stack.enter_context(Pyramid(level_shapes(made.mosaic.shape), aside, quality=quality))
        pyramid.build(made.mosaic.block, progress)
        for done, (kind, path) in enumerate(paths.items(), start=1):
            _WRITERS[kind](aside / path.name, pyramid, description)
            if progress:
                progress("writing", done, len(paths))
    return ExportResult(made, description, stripped, paths, pyramid.shapes, quality)


_WRITERS = {"ome-tiff": write_ome_tiff, "tiff": write_tiff}


def destinations(out: Path, formats: Sequence[Format], name: str) -> dict[Format, Path]:
    """Where each format goes: a single one to `out` itself if that is named like its files, else into the folder."""
    if len(formats) == 1 and out.name.lower().endswith(_SUFFIXES[formats[0]]) and not out.is_dir():
        return {formats[0]: out}
    return {kind: out / (name + _SUFFIXES[kind][0]) for kind in formats}


def file_name(name: str) -> str:
    """A slide's name, fit for a file: as it is, but for characters that some file system does not take."""
    return _NOT_IN_NAMES.sub("-", name).strip(" .-")[:_LONGEST_NAME] or "slide"


def refuse_what_is_there(paths: dict[Format, Path]) -> None:
    """Raise FileError if any of the results is there already."""
    for path in paths.values():
        if path.exists():
            raise FileError(f"{path}: is there already; --overwrite replaces it")


def _folder_of(paths: dict[Format, Path]) -> Path:
    (folder,) = {path.parent for path in paths.values()}
    return folder
