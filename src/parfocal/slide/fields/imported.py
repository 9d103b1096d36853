"""Tiles that another program or microscope took, made into a fields folder."""

from __future__ import annotations

import csv
import glob
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal import __version__
from parfocal.durable import cannot, folder_written_aside
from parfocal.errors import FileError, SettingsError
from parfocal.optics.objective import Objective
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord, FieldsHeader, Frame
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.registration.seams import Progress

COLUMNS = ("file", "x_um", "y_um")

_SENSOR_PIXEL_UM = 3.45  # only the depth of field depends on it


@dataclass(frozen=True)
class ImportSettings:
    """What the tiles do not say themselves.

    Attributes:
        pixel_size_um: size of a pixel in the specimen, in µm.
        magnification: of the objective.
        na: its numerical aperture.
        immersion_index: refractive index of its immersion medium.
        microscope: name of the instrument.
        specimen: what was scanned.
        flip_x: whether the stage's x runs against the picture's, which grows to the right.
        flip_y: whether the stage's y runs against the picture's, which grows downward.

    Raises:
        SettingsError: if a value is not possible.
    """

    pixel_size_um: float
    magnification: float = 20.0
    na: float = 0.75
    immersion_index: float = 1.0
    microscope: str = "unknown"
    specimen: str = "imported tiles"
    flip_x: bool = False
    flip_y: bool = False

    def __post_init__(self) -> None:
        for name in ("pixel_size_um", "magnification", "na", "immersion_index"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(f"{name} {getattr(self, name):g} is not above 0")


@dataclass(frozen=True)
class _Tile:
    path: Path
    x_um: float
    y_um: float


def import_fields(
    tiles: str, positions: Path, out: Path, settings: ImportSettings, progress: Progress | None = None
) -> FieldsFolder:
    """Make a fields folder of tiles and a table of their positions. It appears whole, or not at all.

    Args:
        tiles: glob pattern of image files, all RGB with 8 bits and of one shape.
        positions: CSV with the columns file, x_um, y_um: where the stage stood for each tile, in µm. A file is named as
            it is in its folder.
        out: the new folder; it may exist if it is empty.
        settings: what the tiles do not say.
        progress: told about each tile.

    Raises:
        FileError: if the table and the files do not agree, a tile does not fit, or the folder cannot be written.
    """
    places = _pair(_find(tiles), positions, settings)
    with folder_written_aside(out) as part:
        _write(part, places, settings, progress)
    return FieldsFolder(out)


def _find(pattern: str) -> dict[str, Path]:
    """The tiles by their names."""
    found = [Path(name) for name in sorted(_matching(pattern)) if Path(name).is_file()]
    if not found:
        raise FileError(f"{pattern}: matches no file")
    twice = [name for name, count in Counter(path.name for path in found).items() if count > 1]
    if twice:
        raise FileError(f"{pattern}: matches {twice[0]} in more than one folder")
    return {path.name: path for path in found}


def _matching(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern


def _pair(found: dict[str, Path], table: Path, settings: ImportSettings) -> list[_Tile]:
    """Every tile with its position, in the order of the table."""
    sign_x, sign_y = -1 if settings.flip_x else 1, -1 if settings.flip_y else 1
    tiles: dict[str, _Tile] = {}
    for line, row in _rows(table):
        name = (row["file"] or "").strip()
        if name in tiles:
            raise FileError(f"{table}, line {line}: {name} occurs twice")
        if name not in found:
            raise FileError(f"{table}, line {line}: {name or 'a row without a file'} is none of the {len(found)} tiles")
        x_um, y_um = (_number(row[axis], axis, f"{table}, line {line}") for axis in COLUMNS[1:])
        tiles[name] = _Tile(found[name], sign_x * x_um, sign_y * y_um)
    without = sorted(set(found) - set(tiles))
    if without:
        raise FileError(f"{table}: no position for {len(without)} of {len(found)} tiles, the first is {without[0]}")
    return list(tiles.values())


def _rows(table: Path) -> list[tuple[int, dict[str, str | None]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise FileError(f"{table}: has no column {missing[0]}; the columns are {', '.join(COLUMNS)}")
            return [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise cannot("read", table, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{table}: not a CSV in UTF-8: {error}") from error


def _number(text: str | None, column: str, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FileError(f"{where}: {column} {text!r} is not a number in µm")
    return value


def read_image(path: Path) -> Frame:
    """An image file, uint8 (Y, X, 3), RGB.

    Raises:
        FileError: if it cannot be read, or is not RGB with 8 bits a channel.
    """
    try:
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise cannot("read", path, error) from error
    image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if len(encoded) else None
    if image is None:
        raise FileError(f"{path}: not an image that can be read")
    channels = image.shape[2] if image.ndim == 3 else 1
    if channels != 3 or image.dtype != np.uint8:
        raise FileError(f"{path}: {channels} channels of {image.dtype}, RGB with 8 bits is needed")
    return np.ascontiguousarray(image[..., ::-1])


def _write(folder: Path, tiles: list[_Tile], settings: ImportSettings, progress: Progress | None) -> None:
    shape = read_image(tiles[0].path).shape[:2]
    rows, columns = (
        _places(np.array([getattr(tile, axis) for tile in tiles]), length * settings.pixel_size_um)
        for axis, length in (("y_um", shape[0]), ("x_um", shape[1]))
    )
    header = _header(settings, (shape[0], shape[1]), tiles, rows, columns)
    with FieldsWriter(folder, header, frame_format="png") as writer:
        for index, tile in enumerate(tiles):
            frame = read_image(tile.path)
            if frame.shape[:2] != shape:
                raise FileError(f"{tile.path}: {frame.shape[:2]} px, but {tiles[0].path.name} is {shape} px")
            record = FieldRecord(
                index=index,
                row=int(rows[index]),
                column=int(columns[index]),
                stage_x_um=tile.x_um,
                stage_y_um=tile.y_um,
                stage_z_um=0.0,
                verdict="unsure",  # nobody has told how it was focused
                images=1,
            )
            writer.put(record, frame)
            if progress:
                progress("tiles", index + 1, len(tiles))
        writer.note("imported", fields=len(tiles))


def _places(along_um: NDArray[np.float64], frame_um: float) -> NDArray[np.int_]:
    """Number of the row (or column) of each tile: a new one begins where a quarter of a frame is stepped over."""
    order = np.argsort(along_um, kind="stable")
    steps = np.diff(along_um[order], prepend=along_um[order[0]]) > frame_um / 4
    places = np.empty(len(along_um), int)
    places[order] = np.cumsum(steps)
    return places


def _header(
    settings: ImportSettings,
    shape: tuple[int, int],
    tiles: list[_Tile],
    rows: NDArray[np.int_],
    columns: NDArray[np.int_],
) -> FieldsHeader:
    objective = Objective(settings.magnification, settings.na, settings.immersion_index)
    overlaps = []
    for axis, length, places in (("y_um", shape[0], rows), ("x_um", shape[1], columns)):
        middles = [
            np.median([getattr(tile, axis) for tile, at in zip(tiles, places, strict=True) if at == place])
            for place in range(int(places.max()) + 1)
        ]
        if len(middles) > 1:
            overlaps.append(1 - float(np.median(np.diff(middles))) / (length * settings.pixel_size_um))
    return FieldsHeader(
        version=__version__,
        seed=0,
        microscope=settings.microscope,
        specimen=settings.specimen,
        pixel_size_um=settings.pixel_size_um,
        frame_shape=shape,
        magnification=settings.magnification,
        na=settings.na,
        immersion_index=settings.immersion_index,
        depth_of_field_um=objective.depth_of_field_um(_SENSOR_PIXEL_UM),
        rows=int(rows.max()) + 1,
        columns=int(columns.max()) + 1,
        overlap=float(np.clip(min(overlaps, default=0.0), 0.0, 0.99)),
    )
