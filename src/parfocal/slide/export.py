"""A fields folder in any of the formats that other programs read, or in all of them from one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from parfocal.durable import all_written_aside
from parfocal.errors import SettingsError
from parfocal.slide.assembly import Assembly, assemble
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.formats.description import SlideDescription, describe
from parfocal.slide.formats.destinations import Destinations, Format, destinations
from parfocal.slide.formats.dicom import write_dicom
from parfocal.slide.formats.dzi import write_dzi
from parfocal.slide.formats.ome_tiff import write_ome_tiff
from parfocal.slide.formats.ome_zarr import check_writable, ome_zarr_aside
from parfocal.slide.formats.privacy import deidentify as stripped_of
from parfocal.slide.formats.tiff import write_tiff
from parfocal.slide.mosaic import Mosaic
from parfocal.slide.pyramid import JPEG_QUALITY, Pyramid, level_shapes
from parfocal.slide.quality.files import write_tables
from parfocal.slide.registration.register import Progress

_Writer = Callable[[Path, Pyramid, SlideDescription], None]
_JPEG_WRITERS: dict[Format, _Writer] = {
    "ome-tiff": write_ome_tiff,
    "tiff": write_tiff,
    "dicom": write_dicom,
    "dzi": write_dzi,
}


@dataclass(frozen=True)
class ExportResult:
    """What an export made.

    Attributes:
        assembly: what it was made from.
        description: what was written into the files.
        stripped: names of what was left out on purpose.
        destinations: where each format lies.
        shapes: (Y, X) of each level in px.
        quality: of the JPEGs.
    """

    assembly: Assembly
    description: SlideDescription
    stripped: tuple[str, ...]
    destinations: Destinations
    shapes: tuple[tuple[int, int], ...]
    quality: int

    def to_json(self) -> dict[str, Any]:
        """The figures that are told of an export, as JSON values."""
        return {
            "name": self.description.name,
            "files": self.destinations.as_text(),
            "width_px": self.shapes[0][1],
            "height_px": self.shapes[0][0],
            "levels": len(self.shapes),
            "fields": len(self.assembly.fields.records),
            "jpeg_quality": self.quality,
            "stripped": list(self.stripped),
        }


def export(
    folder: Path,
    out: str | Path,
    formats: Sequence[Format],
    *,
    quality: int = JPEG_QUALITY,
    overwrite: bool = False,
    identified: bool = False,
    deidentify: bool = False,
    progress: Progress | None = None,
) -> ExportResult:
    """Make a virtual slide of a fields folder, in one or more formats. All appear together, or none.

    Args:
        folder: the fields folder, of a scan that has ended in whatever way.
        out: where to (see `destinations`).
        formats: which ones.
        quality: of the JPEGs, 1 to 100.
        overwrite: whether an earlier export may be replaced.
        identified: name the slide by its id, where it has one, instead of a pseudonym.
        deidentify: leave out label, overview, times and serial numbers too (see `privacy`).
        progress: called with (what is being done, how many are done, how many there are).

    Raises:
        SettingsError: if there is nothing to write, or the quality is not possible.
        FileError: if a frame is missing or damaged, the result is there already, or it cannot be written.
    """
    if identified and deidentify:
        raise SettingsError("a slide is either named by its id, or de-identified")
    fields = FieldsFolder(folder)
    places = destinations(out, formats, describe(fields, identified=identified).name)
    places.check(overwrite=overwrite)
    if places.url is not None:
        check_writable(places.url)
    with ExitStack() as stack:
        aside = stack.enter_context(all_written_aside(places.folder))  # first: it may not be writable
        made = assemble(fields, progress)
        described = describe(fields, made.description.fields, identified=identified)
        description, stripped = stripped_of(described) if deidentify else (described, ())
        pyramid = stack.enter_context(Pyramid(level_shapes(made.mosaic.shape), aside, quality=quality))
        write_formats(pyramid, made.mosaic, description, places, aside, random_uids=deidentify, progress=progress)
    return ExportResult(made, description, stripped, places, pyramid.shapes, quality)


def write_formats(
    pyramid: Pyramid,
    mosaic: Mosaic,
    description: SlideDescription,
    places: Destinations,
    aside: Path,
    *,
    random_uids: bool = False,
    progress: Progress | None = None,
) -> None:
    """The one pass, and what is made of its tiles.

    Args:
        pyramid: not built yet, of the mosaic's size.
        mosaic: the pixels.
        description: what the slide says about itself.
        places: what to write, under which names.
        aside: the folder to write it into.
        random_uids: see `write_dicom`.
        progress: called with (what is being done, how many are done, how many there are).

    Raises:
        FileError: if a frame cannot be read, or a file cannot be written.
    """
    writers = _JPEG_WRITERS | {"dicom": partial(write_dicom, random_uids=random_uids)}
    zarr = places.url or (aside / places.paths["ome-zarr"].name if "ome-zarr" in places.paths else None)
    jpegs = {kind: path for kind, path in places.paths.items() if kind in writers}
    with ExitStack() as stack:
        consumer = stack.enter_context(ome_zarr_aside(zarr, pyramid, description)) if zarr else None
        pyramid.build(mosaic.block, progress, consumer)
        _write_jpegs(pyramid, {aside / path.name: writers[kind] for kind, path in jpegs.items()}, description, progress)
        if places.paths:
            write_tables(aside, description.fields, f"{places.stem}.quality")


def _write_jpegs(
    pyramid: Pyramid, writers: dict[Path, _Writer], description: SlideDescription, progress: Progress | None
) -> None:
    """All formats at once: one waits for the disk while another one writes. The first that fails ends the others."""
    with ThreadPoolExecutor(max(1, len(writers)), thread_name_prefix="writing") as pool:
        futures = [pool.submit(write, path, pyramid, description) for path, write in writers.items()]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress:
                    progress("writing", done, len(futures))
        except BaseException:
            pyramid.stop()
            raise
