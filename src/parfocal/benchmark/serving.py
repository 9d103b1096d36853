"""How quickly `parfocal serve` answers many readers at once: a load generator over the loopback address."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.benchmark.first_view import check_browser, first_views_ms
from parfocal.errors import FileError, SettingsError
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.ome_tiff import write_ome_tiff
from parfocal.slide.pyramid import Pyramid, level_shapes

PIXEL_UM = 0.345
SIDE_MM = 15.0
READERS = 50
SECONDS = 20.0

_TEXTURE_PX = 2048
_VIEW_TILES = (6, 4)  # of 256 px, on a screen of 1366 × 768
_STEP_TILES = 2
_PAUSE_S = 1.0  # between two steps of a reader who pans without a break
_ZOOM_LEVELS = 4  # which readers pan in, from the finest
_TIMEOUT_S = 10.0
_Report = Callable[[str, int, int], None]


@dataclass
class _Seen:
    """What one reader saw."""

    tile_ms: list[float] = field(default_factory=list)
    first_view_ms: float = 0.0
    errors: int = 0


@dataclass(frozen=True)
class ServeCosts:
    """How quickly tiles were answered.

    Attributes:
        side_px: of the square slide.
        readers: at once.
        tiles: answered.
        errors: answers that were no tile, or none.
        tiles_per_s: all readers together.
        tile_ms_median: from a request to the last byte, as a reader sees it.
        tile_ms_p95: 95 of 100 took at most this long.
        first_view_ms_median: a screen full of tiles, one after the other.
        memory_mib: largest resident memory of the server.
        cache_mb: what encoded tiles were allowed to take.
        browser_first_view_ms: each time, from the address to the last tile in a browser that is alone; empty where none
            was asked for.
    """

    side_px: int
    readers: int
    tiles: int
    errors: int
    tiles_per_s: float
    tile_ms_median: float
    tile_ms_p95: float
    first_view_ms_median: float
    memory_mib: float
    cache_mb: float
    browser_first_view_ms: tuple[float, ...]


def measure_serving(
    side_mm: float = SIDE_MM,
    readers: int = READERS,
    seconds: float = SECONDS,
    cache_mb: float = 64.0,
    seed: int = 0,
    progress: _Report | None = None,
    browser: str | None = None,
) -> ServeCosts:
    """Let readers pan over a made-up slide.

    Args:
        side_mm: of the square slide.
        readers: at once; each asks for six to twelve new tiles a second.
        seconds: for how long.
        cache_mb: of the server, for encoded tiles.
        seed: of where they pan.
        progress: called with (what is being done, how many are done, how many there are).
        browser: a Chromium in which the first view is measured, before the readers begin; None for none.

    Raises:
        SettingsError: if a number is not above 0, or there is no such browser.
        FileError: if the slide cannot be written, or the server does not start.
    """
    if not (0 < side_mm <= 50 and 0 < readers <= 500 and 0 < seconds <= 600):
        raise SettingsError(f"{side_mm:g} mm, {readers} readers and {seconds:g} s are not 0 to 50 mm, 500 and 600 s")
    if browser is not None:
        check_browser(browser)
    side_px = round(side_mm * 1e3 / PIXEL_UM)
    with tempfile.TemporaryDirectory() as name:
        _write_slide(Path(name) / "slide.ome.tif", side_px, seed, progress)
        with _server(Path(name), cache_mb) as (url, process):
            views_ms = () if browser is None else tuple(round(ms) for ms in first_views_ms(_page(url), browser))
            seen = _pan(url, readers, seconds, seed)
            memory = _peak_memory_mib(process.pid)
    tiles_ms = np.array([ms for one in seen for ms in one.tile_ms])
    return ServeCosts(
        side_px=side_px,
        readers=readers,
        tiles=len(tiles_ms),
        errors=sum(one.errors for one in seen),
        tiles_per_s=round(len(tiles_ms) / seconds, 1),
        tile_ms_median=round(float(np.median(tiles_ms)), 2),
        tile_ms_p95=round(float(np.percentile(tiles_ms, 95)), 2),
        first_view_ms_median=round(float(np.median([one.first_view_ms for one in seen])), 1),
        memory_mib=round(memory, 1),
        cache_mb=cache_mb,
        browser_first_view_ms=views_ms,
    )


def _page(url: str) -> str:
    """The page of the only slide."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TIMEOUT_S)
    (slide,) = _json(connection, "/api/slides")
    connection.close()
    return f"{url.rstrip('/')}/slides/{slide['id']}"


def _write_slide(path: Path, side_px: int, seed: int, progress: _Report | None) -> None:
    texture = _texture(seed)

    def block(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        rows, columns = np.arange(y, y + height) % _TEXTURE_PX, np.arange(x, x + width) % _TEXTURE_PX
        return texture[np.ix_(rows, columns)]

    description = SlideDescription("benchmark", "synthetic", PIXEL_UM, 20, 0.75, 1.0, "Parfocal")
    with Pyramid(level_shapes((side_px, side_px)), path.parent) as pyramid:
        pyramid.build(block, progress)
        write_ome_tiff(path, pyramid, description)


def _texture(seed: int) -> NDArray[np.uint8]:
    """Stained specimen on glass that repeats: noise of several scales as optical density."""
    rng, density = np.random.default_rng(seed), np.zeros((_TEXTURE_PX, _TEXTURE_PX), np.float32)
    for sigma, amount in ((1.5, 0.05), (5, 0.08), (20, 0.1)):
        noise = cv2.GaussianBlur(rng.standard_normal(density.shape).astype(np.float32), (0, 0), sigma)
        density += amount * noise / noise.std()
    stain = np.array([0.6, 1.0, 0.7], np.float32)
    light = 225 * 10 ** (-np.clip(density + 0.25, 0, None)[..., None] * stain)
    return np.asarray(np.round(light), np.uint8)


@contextmanager
def _server(folder: Path, cache_mb: float) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [
        sys.executable,
        "-m",
        "parfocal",
        "serve",
        str(folder),
        "--port",
        "0",
        "--cache",
        f"{cache_mb:g}",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise FileError(f"{folder}: the server did not start")
            yield json.loads(line)["url"], process
        finally:
            process.terminate()


def _pan(url: str, readers: int, seconds: float, seed: int) -> list[_Seen]:
    """What each reader sees."""
    ends_s = time.monotonic() + seconds
    with ThreadPoolExecutor(readers, thread_name_prefix="reader") as pool:
        futures = [pool.submit(_read, url, np.random.default_rng([seed, one]), ends_s) for one in range(readers)]
        return [future.result() for future in futures]


def _read(url: str, rng: np.random.Generator, ends_s: float) -> _Seen:
    """One reader: a first view, then a step of two tiles every second, in one direction until the slide ends."""
    seen, address = _Seen(), urlsplit(url)
    time.sleep(float(rng.uniform(0, _PAUSE_S)))  # they did not all arrive at once
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TIMEOUT_S)
    try:
        (slide,) = _json(connection, "/api/slides")
        told = _json(connection, f"/api/slides/{slide['id']}")
        level = told["levels"] - 1 - int(rng.integers(_ZOOM_LEVELS))
        grid = [max(1, (told[side] >> (told["levels"] - 1 - level)) // told["tile_px"]) for side in ("width", "height")]
        column, row = (int(rng.integers(max(1, length - view))) for length, view in zip(grid, _VIEW_TILES, strict=True))
        began_s = time.monotonic()
        fresh = [(column + x, row + y) for y in range(_VIEW_TILES[1]) for x in range(_VIEW_TILES[0])]
        while True:
            for x, y in fresh:
                if x < grid[0] and y < grid[1]:
                    _tile(connection, f"{told['tiles']}{level}/{x}_{y}.jpg", seen)
            seen.first_view_ms = seen.first_view_ms or (time.monotonic() - began_s) * 1e3
            if time.monotonic() + _PAUSE_S >= ends_s:
                return seen
            time.sleep(_PAUSE_S)
            column = (column + _STEP_TILES) % grid[0]
            right = range(column + _VIEW_TILES[0] - _STEP_TILES, column + _VIEW_TILES[0])
            fresh = [(x % grid[0], row + y) for y in range(_VIEW_TILES[1]) for x in right]
    finally:
        connection.close()


def _tile(connection: http.client.HTTPConnection, path: str, seen: _Seen) -> None:
    began_s = time.monotonic()
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()  # the next request opens it again
        seen.errors += 1
        return
    if answer.status != 200 or not body.startswith(b"\xff\xd8"):
        seen.errors += 1
    seen.tile_ms.append((time.monotonic() - began_s) * 1e3)


def _json(connection: http.client.HTTPConnection, path: str) -> Any:
    connection.request("GET", path)
    return json.loads(connection.getresponse().read())


def _peak_memory_mib(pid: int) -> float:
    """Largest resident memory of a process; 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0
