"""One module for each way in which levels are stored; the packages that it needs load when such a slide is met."""

from __future__ import annotations

from pathlib import Path

from parfocal.errors import FileError
from parfocal.slide.fields.layout import HEADER_FILE
from parfocal.slide.reader import Slide

_STITCHED_FILE = "slide.ome.tif"


def open_slide(source: Path | str) -> Slide:
    """See `Slide.open`."""
    if isinstance(source, str) and "://" in source:
        return _open_dzi(source) if source.endswith(".dzi") else _open_ome_zarr(source)
    path = Path(source)
    if not path.exists():
        raise FileError(f"{path}: no such file")
    if path.is_dir():
        return _open_folder(path)
    return _open_dzi(path) if path.suffix == ".dzi" else _open_file(path)


def _open_file(path: Path) -> Slide:
    """An OME-TIFF, of which OpenSlide sees only the first level where the others lie in SubIFDs, or any other file."""
    from parfocal.slide.readers.ome_tiff import OmeTiffSlide, is_ome_tiff
    from parfocal.slide.readers.through_openslide import ThroughOpenSlide

    return OmeTiffSlide(path) if is_ome_tiff(path) else ThroughOpenSlide(path)


def _open_folder(folder: Path) -> Slide:
    if (folder / "zarr.json").exists() or (folder / ".zattrs").exists():
        return _open_ome_zarr(folder)
    if (folder / HEADER_FILE).exists():
        if not (folder / _STITCHED_FILE).exists():
            raise FileError(
                f"{folder}: its fields are not stitched yet; parfocal stitch makes {_STITCHED_FILE} of them"
            )
        return _open_file(folder / _STITCHED_FILE)
    from parfocal.slide.readers.through_openslide import ThroughOpenSlide, dicom_level

    level = dicom_level(folder)
    if level is None:
        raise FileError(f"{folder}: holds no OME-Zarr, no DICOM files and no {HEADER_FILE} of fields")
    return ThroughOpenSlide(level)


def _open_dzi(source: Path | str) -> Slide:
    from parfocal.slide.readers.dzi import DziSlide

    return DziSlide(source)


def _open_ome_zarr(source: Path | str) -> Slide:
    from parfocal.slide.readers.ome_zarr import OmeZarrSlide

    return OmeZarrSlide(source)
