"""Stitching, measured: position errors and time on tiles whose truth is known, beside ashlar and multiview-stitcher."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.benchmark.tiles import KINDS, TileKind, visit, write_tiles
from parfocal.errors import FileError
from parfocal.slide.assembly import assemble
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import REGISTRATION_FILE
from parfocal.slide.formats.ome_tiff import write_ome_tiff
from parfocal.slide.pyramid import Pyramid, level_shapes
from parfocal.slide.registration.seams import Registration

PeerName = Literal["ashlar", "multiview-stitcher"]
PEERS: tuple[PeerName, ...] = ("ashlar", "multiview-stitcher")
WRONG_PX = 2.0
"""A seam that was used and whose shift is farther than this from the truth is wrong."""

Progress = Callable[[str, int, int], None]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class StitchingPlan:
    """What is measured.

    Attributes:
        kinds: of tiles.
        rows: of fields.
        columns: of fields.
        frame_shape: (Y, X) of a field in px.
        peer_kinds: tiles that the peers stitch too.
        seed: of specimens, errors and noise.
    """

    kinds: tuple[TileKind, ...] = KINDS
    rows: int = 5
    columns: int = 5
    frame_shape: tuple[int, int] = (1024, 1224)
    peer_kinds: tuple[TileKind, ...] = ("tissue", "noise-free", "nearly-blank")
    seed: int = 0


QUICK = StitchingPlan(rows=3, columns=3, frame_shape=(512, 612), peer_kinds=("tissue",))


@dataclass(frozen=True)
class StitchingRow:
    """One program on one set of tiles.

    Attributes:
        program: "parfocal" or a peer.
        tiles: kind of tiles.
        fields: how many.
        seconds: from the fields on disk to a pyramidal OME-TIFF; imports not counted.
        rms_error_px: root mean square distance to the true positions after removing one translation; on sparse tiles
            over the fields that Parfocal's seams tie together, each piece less its own translation. None if it failed.
        max_error_px: the largest such distance.
        seams: pairs that were compared; None where the program does not tell.
        accepted: of these, the ones that were used.
        wrong: of these, the ones that lie more than 2 px from the truth.
        islands: pieces that no accepted seam ties to another, empty fields not counted.
        failure: why there is no result; empty otherwise.
    """

    program: str
    tiles: TileKind
    fields: int
    seconds: float | None
    rms_error_px: float | None
    max_error_px: float | None
    seams: int | None
    accepted: int | None
    wrong: int | None
    islands: int | None = None
    failure: str = ""


def measure(plan: StitchingPlan, peers: Path | None = None, progress: Progress | None = None) -> list[StitchingRow]:
    """Make the tiles, and stitch them with each program.

    Args:
        plan: what is measured.
        peers: Python interpreter that has ashlar and multiview-stitcher; they are left out if None.
        progress: called with (what is being done, how many are done, how many there are).

    Raises:
        FileError: if there is no such interpreter.
    """
    if peers is not None and not peers.is_file():
        raise FileError(f"{peers}: no such interpreter")
    rows: list[StitchingRow] = []
    with tempfile.TemporaryDirectory(prefix="parfocal-stitching-") as name:
        folders = _tiles(plan, Path(name), progress)
        for done, (kind, folder) in enumerate(folders.items(), 1):
            row, registration = _ours(kind, folder)
            rows.append(row)
            if peers is not None and kind in plan.peer_kinds:
                rows += [_peer(peer, kind, folder, peers, registration) for peer in PEERS]
            if progress:
                progress("stitching", done, len(folders))
    return rows


def _tiles(plan: StitchingPlan, root: Path, progress: Progress | None) -> dict[TileKind, FieldsFolder]:
    dense: dict[TileKind, Path] = {kind: root / kind for kind in plan.kinds if kind != "sparse"}
    folders: dict[TileKind, FieldsFolder] = {}
    if dense:
        tiles = visit(plan.rows, plan.columns, plan.frame_shape, plan.seed)
        folders |= write_tiles(dense, tiles, plan.seed, progress)
    if "sparse" in plan.kinds:  # larger, so that something is tied together
        tiles = visit(2 * plan.rows - 1, 2 * plan.columns - 1, plan.frame_shape, plan.seed + 1)
        folders |= write_tiles({"sparse": root / "sparse"}, tiles, plan.seed + 1, progress)
    return folders


def _ours(kind: TileKind, folder: FieldsFolder) -> tuple[StitchingRow, Registration]:
    (folder.path / REGISTRATION_FILE).unlink(missing_ok=True)
    out = folder.path.parent / f"{kind}.ome.tif"
    began_s = time.perf_counter()
    made = assemble(FieldsFolder(folder.path))
    with Pyramid(level_shapes(made.mosaic.shape), out.parent) as pyramid:
        pyramid.build(made.mosaic.block)
        write_ome_tiff(out, pyramid, made.description)
    seconds = time.perf_counter() - began_s
    registration = made.registration
    used = [(seam.a, seam.b, seam.dx, seam.dy) for seam in registration.seams if seam.accepted]
    rms_px, max_px = made.errors(tied=True)
    row = StitchingRow(
        program="parfocal",
        tiles=kind,
        fields=len(folder.records),
        seconds=round(seconds, 2),
        rms_error_px=rms_px,
        max_error_px=max_px,
        seams=len(registration.seams),
        accepted=len(used),
        wrong=_wrong(used, _truth_px(folder)),
        islands=made.islands,
    )
    return row, registration


def _peer(peer: PeerName, kind: TileKind, folder: FieldsFolder, python: Path, ours: Registration) -> StitchingRow:
    script = Path(__file__).with_name("stitching_peer.py")
    out = folder.path.parent / f"{kind}-{peer}.ome.tif"
    done = subprocess.run(
        [str(python), str(script), peer, str(folder.path), str(out)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not out.is_file():
        lines = done.stderr.strip().splitlines() or ["no result"]
        return StitchingRow(
            peer, kind, len(folder.records), None, None, None, None, None, None, failure=lines[-1][:200]
        )
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    truth = _truth_px(folder)
    errors_px = _errors(np.array(told["positions"], float), truth, ours, kind)
    seams = told["seams"]
    return StitchingRow(
        program=peer,
        tiles=kind,
        fields=len(folder.records),
        seconds=round(told["seconds"], 2),
        rms_error_px=float(np.sqrt((errors_px**2).mean())),
        max_error_px=float(errors_px.max()),
        seams=told["compared"],
        accepted=None if seams is None else len(seams),
        wrong=None if seams is None else _wrong(seams, truth),
    )


def _errors(xy_px: Points, truth_px: Points, ours: Registration, kind: TileKind) -> NDArray[np.float64]:
    islands = ours.islands if kind == "sparse" else np.zeros(len(xy_px), int)
    parts = []
    for island in np.flatnonzero(np.bincount(islands) > 1):
        difference = (xy_px - truth_px)[islands == island]
        parts.append(np.hypot(*(difference - difference.mean(axis=0)).T))
    return np.concatenate(parts)


def _truth_px(folder: FieldsFolder) -> Points:
    true_um = [record.true_stage_um for record in folder.records if record.true_stage_um is not None]
    return np.array(true_um, float)[:, :2] / folder.header.pixel_size_um


def _wrong(seams: Sequence[Sequence[float]], truth_px: Points) -> int:
    misses = [np.hypot(*(truth_px[int(b)] - truth_px[int(a)] - (dx, dy))) for a, b, dx, dy in seams]
    return sum(bool(miss > WRONG_PX) for miss in misses)
