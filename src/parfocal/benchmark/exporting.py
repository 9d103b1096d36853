"""What an export costs: peak memory over area, and time against what no export can do without.

The fields are generated: one specimen that repeats with the distance of neighbouring fields, so a few frames serve for
any area, and overlaps agree. Every figure comes from a process of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.durable import all_written_aside
from parfocal.slide.export import write_formats
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import FRAMES_FOLDER, RECORDS_FILE
from parfocal.slide.fields.records import FieldRecord, FieldsHeader, Frame
from parfocal.slide.fields.sealed import sealed
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.formats.description import SlideDescription, describe
from parfocal.slide.formats.destinations import FORMATS, Format, destinations
from parfocal.slide.light.flatfield import FlatField
from parfocal.slide.mosaic import Mosaic
from parfocal.slide.pyramid import JPEG_QUALITY, TILE_PX, BlockSource, Pyramid, _Tile, encode_jpeg, level_shapes
from parfocal.slide.quality.table import FieldQuality

FRAME_SHAPE = (1024, 1224)
OVERLAP = 0.1  # what the planner chooses on `simulated-20x`
PIXEL_UM = 0.345
SIDES_PX = (11_000, 22_000, 43_000)
"""Sides of the squares; the last is 15 × 15 mm."""
QUICK_SIDES_PX = (2_000, 4_000, 6_000)
JPEG_FORMATS: tuple[Format, ...] = ("ome-tiff", "tiff", "dicom", "dzi")

_POOL = 6
_VIGNETTING = 0.2
_NOISE = 2.0
_Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Cost:
    """One run in a process of its own.

    Attributes:
        time_s: wall-clock time.
        cpu_s: processor time of all threads; other programs on the machine hardly change it.
        peak_memory_mib: largest resident memory of the process.
    """

    time_s: float
    cpu_s: float
    peak_memory_mib: float


@dataclass(frozen=True)
class ExportCosts:
    """What an export costs.

    Attributes:
        workers: threads.
        peak_memory_mib: of an export in all formats, by the side of the square in px.
        side_px: side of the largest square, which all that follows is about.
        fields: in it.
        tiles: of level 0.
        needed_s: decoding each field once and encoding the tiles of level 0, with as many threads.
        level0_s: the pass with level 0 alone: fields to spooled tiles.
        pass_s: the whole pass, all levels.
        one_s: an export as `tiff`.
        four_s: as the four formats with JPEG tiles.
        ome_zarr_s: as OME-Zarr.
        cpu_s: processor time of each of these, by its name.
    """

    workers: int
    peak_memory_mib: dict[int, float]
    side_px: int
    fields: int
    tiles: int
    needed_s: float
    level0_s: float
    pass_s: float
    one_s: float
    four_s: float
    ome_zarr_s: float
    cpu_s: dict[str, float]

    def to_json(self) -> dict[str, object]:
        """As JSON values, with the ratios that are claimed."""
        return {
            **asdict(self),
            "level0_over_needed": self.level0_s / self.needed_s,
            "pass_over_needed": self.pass_s / self.needed_s,
            "four_over_one": self.four_s / self.one_s,
            "level0_over_needed_cpu": self.cpu_s["level-0"] / self.cpu_s["needed"],
            "pass_over_needed_cpu": self.cpu_s["pass"] / self.cpu_s["needed"],
            "four_over_one_cpu": self.cpu_s["four"] / self.cpu_s["one"],
        }


def measure_export(folder: Path, *, quick: bool = False, progress: _Report | None = None) -> ExportCosts:
    """Export generated fields of three areas.

    Args:
        folder: for fields and results, which are removed again; it needs room for a slide of 43,000² px in all formats.
        quick: small areas only.
        progress: called with (what is being done, how many are done, how many there are).

    Raises:
        FileError: if the folder cannot be written.
    """
    sides = QUICK_SIDES_PX if quick else SIDES_PX
    jobs: list[tuple[str, int]] = [("all", side) for side in sides]
    jobs += [(what, sides[-1]) for what in ("needed", "level-0", "pass", "one", "four", "ome-zarr")]
    costs: dict[tuple[str, int], Cost] = {}
    with _room(folder) as room:
        for done, job in enumerate(jobs, start=1):
            costs[job] = _alone(job[0], job[1], room)
            if progress:
                progress("exporting", done, len(jobs))
    rows, columns = _grid(sides[-1])
    times = {what: costs[what, sides[-1]].time_s for what, _ in jobs}
    return ExportCosts(
        workers=_workers(),
        peak_memory_mib={side: round(costs["all", side].peak_memory_mib, 1) for side in sides},
        side_px=sides[-1],
        fields=rows * columns,
        tiles=_tiles(sides[-1]),
        needed_s=times["needed"],
        level0_s=times["level-0"],
        pass_s=times["pass"],
        one_s=times["one"],
        four_s=times["four"],
        ome_zarr_s=times["ome-zarr"],
        cpu_s={what: round(costs[what, sides[-1]].cpu_s, 3) for what in times},
    )


def as_text(costs: ExportCosts) -> str:
    """The figures in a few lines."""
    memory = ", ".join(f"{side:,} px: {mib:.0f} MiB" for side, mib in costs.peak_memory_mib.items())
    told = costs.to_json()
    rows = (
        (f"decode the fields, encode the {costs.tiles} tiles of level 0", costs.needed_s, "needed", ""),
        ("the pass with level 0 alone", costs.level0_s, "level-0", "level0_over_needed"),
        ("the whole pass, all levels", costs.pass_s, "pass", "pass_over_needed"),
        ("export as tiff", costs.one_s, "one", ""),
        ("export as the four formats with JPEG tiles", costs.four_s, "four", "four_over_one"),
        ("export as OME-Zarr", costs.ome_zarr_s, "ome-zarr", ""),
    )
    return "\n".join(
        [
            f"peak memory of an export in all formats, by side: {memory}",
            f"{costs.side_px:,} × {costs.side_px:,} px, {costs.fields} fields, {costs.workers} threads:",
            *(
                f"  {name:52} {wall_s:7.1f} s, {costs.cpu_s[key]:7.1f} s of processor time"
                + (f"; {told[ratio]:.2f} and {told[ratio + '_cpu']:.2f} times as much" if ratio else "")
                for name, wall_s, key, ratio in rows
            ),
        ]
    )


@contextmanager
def _room(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield room
    finally:
        shutil.rmtree(room)


def _alone(what: str, side_px: int, room: Path) -> Cost:
    """One run in a new process, since a process never forgets its largest memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_run, what, side_px, room).result()


def _run(what: str, side_px: int, room: Path) -> Cost:
    fields, flat, corners = _scan(room / f"fields-{side_px}", side_px)
    mosaic = Mosaic(fields, flat, corners)
    description = describe(fields, _quality(fields, corners))
    formats: dict[str, Sequence[Format]] = {
        "all": FORMATS,
        "one": ("tiff",),
        "four": JPEG_FORMATS,
        "ome-zarr": ("ome-zarr",),
    }
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    if what == "needed":
        _decode_and_encode(fields, side_px)
    elif what in ("level-0", "pass"):
        with (_LevelZero if what == "level-0" else Pyramid)(level_shapes(mosaic.shape), room) as pyramid:
            pyramid.build(mosaic.block)
    else:
        _export(mosaic, description, room / "out", formats[what])
    spent_s, spent_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    peak_mib = _peak_mib()
    shutil.rmtree(room / "out", ignore_errors=True)
    return Cost(spent_s, spent_cpu_s, peak_mib)


def _peak_mib() -> float:
    """Most memory of this process. On Linux `getrusage` counts that of the process that started it, too."""
    if sys.platform == "linux":
        told = Path("/proc/self/status").read_text(encoding="utf-8")
        return float(told.split("VmHWM:")[1].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


class _LevelZero(Pyramid):
    """A pass that makes level 0 alone."""

    def _block(self, source: BlockSource, block_level: int, row: int, column: int) -> list[_Tile]:
        picture = self._picture(source, block_level, row, column)
        return [] if picture is None else self._cut(picture, 0, block_level, row, column)


def _export(mosaic: Mosaic, description: SlideDescription, out: Path, formats: Sequence[Format]) -> None:
    places = destinations(out / "slide", formats, "slide")
    with all_written_aside(places.folder) as aside, Pyramid(level_shapes(mosaic.shape), aside) as pyramid:
        write_formats(pyramid, mosaic, description, places, aside)


def _decode_and_encode(fields: FieldsFolder, side_px: int) -> None:
    """Every field decoded once and so many tiles encoded as level 0 has: what no export can do without."""
    count, wanted = len(fields.records), _tiles(side_px)

    def work(number: int) -> None:
        frame = fields.frame(fields.records[number])
        across, down = FRAME_SHAPE[1] // TILE_PX, FRAME_SHAPE[0] // TILE_PX
        for tile in range(wanted * number // count, wanted * (number + 1) // count):
            row, column = divmod(tile % (across * down), across)
            y, x = row * TILE_PX, column * TILE_PX
            encode_jpeg(np.ascontiguousarray(frame[y : y + TILE_PX, x : x + TILE_PX]), JPEG_QUALITY)

    with ThreadPoolExecutor(_workers()) as pool:
        for _ in pool.map(work, range(count)):
            pass


def _workers() -> int:
    return min(8, os.cpu_count() or 1)


def _step() -> tuple[int, int]:
    """(y, x) distance of neighbours in px."""
    return round(FRAME_SHAPE[0] * (1 - OVERLAP)), round(FRAME_SHAPE[1] * (1 - OVERLAP))


def _grid(side_px: int) -> tuple[int, int]:
    """Rows and columns of fields that cover a square."""
    rows, columns = (
        max(1, -(-(side_px - length) // step) + 1) for length, step in zip(FRAME_SHAPE, _step(), strict=True)
    )
    return rows, columns


def _tiles(side_px: int) -> int:
    rows, columns = _grid(side_px)
    height, width = level_shapes(
        (FRAME_SHAPE[0] + (rows - 1) * _step()[0], FRAME_SHAPE[1] + (columns - 1) * _step()[1])
    )[0]
    return -(-height // TILE_PX) * -(-width // TILE_PX)


def _scan(path: Path, side_px: int) -> tuple[FieldsFolder, FlatField, NDArray[np.float64]]:
    """A fields folder that covers a square, its flat field, and (N, 2) x and y of the corners in px."""
    rows, columns = _grid(side_px)
    if not path.exists():
        _make(path, rows, columns)
    fields = FieldsFolder(path)
    step_y, step_x = _step()
    corners = np.array([(record.column * step_x, record.row * step_y) for record in fields.records], np.float64)
    return fields, _shading(), corners


def _make(path: Path, rows: int, columns: int) -> None:
    header = FieldsHeader(
        version="benchmark",
        seed=0,
        microscope="generated",
        specimen="generated",
        pixel_size_um=PIXEL_UM,
        frame_shape=FRAME_SHAPE,
        magnification=20,
        na=0.75,
        immersion_index=1.0,
        depth_of_field_um=1.21,
        rows=rows,
        columns=columns,
        overlap=OVERLAP,
    )
    records = [_record(index, columns) for index in range(rows * columns)]
    with FieldsWriter(path, header) as writer:
        for record, frame in zip(records[:_POOL], _frames(), strict=False):
            writer.put(record, frame)
    with (path / RECORDS_FILE).open("ab") as lines:
        for record in records[_POOL:]:
            file = f"{FRAMES_FOLDER}/f{record.index:05d}.jpg"
            os.link(path / f"{FRAMES_FOLDER}/f{record.index % _POOL:05d}.jpg", path / file)
            lines.write(sealed(json.dumps({**asdict(record), "file": file})))


def _record(index: int, columns: int) -> FieldRecord:
    row, place = divmod(index, columns)
    column = place if row % 2 == 0 else columns - 1 - place
    step_y, step_x = _step()
    return FieldRecord(index, row, column, column * step_x * PIXEL_UM, row * step_y * PIXEL_UM, 0.0, "focused", 1)


def _frames() -> Iterator[Frame]:
    """One specimen, which repeats with the step, under so many draws of noise."""
    rng = np.random.default_rng(0)
    step_y, step_x = _step()
    specimen = np.pad(_specimen(rng), ((0, FRAME_SHAPE[0] - step_y), (0, FRAME_SHAPE[1] - step_x), (0, 0)), "wrap")
    for _ in range(_POOL):
        light = specimen * _shading() + rng.normal(0, _NOISE, specimen.shape)
        yield np.clip(np.round(light), 0, 255).astype(np.uint8)


def _specimen(rng: np.random.Generator) -> NDArray[np.float32]:
    """(step y, step x, 3): stained tissue of several scales, as periodic noise in optical density."""
    shape = _step()
    density = np.full(shape, 0.2, np.float32)
    for sigma, amount in ((1.5, 0.03), (4, 0.06), (12, 0.06), (40, 0.08)):
        edge = int(4 * sigma)
        noise = np.pad(rng.standard_normal(shape).astype(np.float32), edge, "wrap")
        smooth = cv2.GaussianBlur(noise, (0, 0), sigma)[edge:-edge, edge:-edge]
        density += amount * smooth / smooth.std()
    stain = np.array([0.6, 1.0, 0.7], np.float32)
    return np.asarray(225 * 10 ** (-np.maximum(density, 0)[..., None] * stain), np.float32)


def _shading() -> FlatField:
    y, x = np.mgrid[-1 : 1 : FRAME_SHAPE[0] * 1j, -1 : 1 : FRAME_SHAPE[1] * 1j]
    shading = 1 - _VIGNETTING * (x**2 + y**2) / 2
    return np.repeat((shading / shading.mean())[..., None].astype(np.float32), 3, axis=2)


def _quality(fields: FieldsFolder, corners: NDArray[np.float64]) -> tuple[FieldQuality, ...]:
    return tuple(
        FieldQuality(
            field=record.index,
            row=record.row,
            column=record.column,
            mosaic_x_px=float(x),
            mosaic_y_px=float(y),
            stage_x_um=record.stage_x_um,
            stage_y_um=record.stage_y_um,
            stage_z_um=0.0,
            verdict=record.verdict,
            focus_um=0.0,
            focus_sd_um=0.2,
            focus_source="measured",
            score=None,
            images=1,
            attempt=1,
            seams=4,
            seams_accepted=4,
            seam_residual_px=0.1,
            seam_residual_um=0.1 * PIXEL_UM,
            island=0,
        )
        for record, (x, y) in zip(fields.records, corners, strict=True)
    )
