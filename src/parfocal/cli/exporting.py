"""The commands that make virtual slides of fields folders: stitch, export."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parfocal.cli.terminal import Bars, json_option, show, terminable
from parfocal.errors import FileError

if TYPE_CHECKING:
    from parfocal.slide.formats.destinations import Format
    from parfocal.slide.registration.seams import Progress

# As in slide.destinations and slide.pyramid, which are not imported here: they would bring the codecs along.
FORMATS = ("ome-tiff", "tiff", "dicom", "ome-zarr", "dzi")
JPEG_QUALITY = 85

folders_argument = click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
scheduler_option = click.option(
    "--scheduler", metavar="ADDRESS", help="Of a Dask cluster that takes a scan each.  [default: this machine's cores]"
)


@click.command()
@folders_argument
@scheduler_option
@json_option
def stitch(folders: tuple[Path, ...], scheduler: str | None, as_json: bool) -> None:
    """Make the virtual slide again from a fields folder. No instrument is needed.

    Beside the slide lie overview.jpg, seams.png with the residual of every seam, and registration.json, where each
    field was found. Fields are compared again only if they, or the program, have changed. Where the folder carries true
    positions, the error against them is told. Several FOLDERS, or one that holds several, are worked on at the same
    time.

    \b
    Examples:
      parfocal stitch my-slide
      parfocal stitch my-slide --json
      parfocal stitch all-my-slides --scheduler tcp://10.0.0.1:8786
    """
    run_each(_stitch_one, folders, scheduler, as_json)


@click.command()
@folders_argument
@click.option("--format", "kind", type=click.Choice((*FORMATS, "all")), required=True, help="What to write.")
@click.option("--out", required=True, help="File, or folder; for ome-zarr also a URL such as s3://bucket/slide.zarr.")
@click.option("--quality", type=click.IntRange(1, 100), default=JPEG_QUALITY, show_default=True, help="Of the JPEGs.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@click.option("--identified", is_flag=True, help="Name the slide by its id, instead of a pseudonym.")
@click.option("--deidentify", is_flag=True, help="Leave out label, times and serial numbers; say what was left out.")
@scheduler_option
@json_option
def export(
    folders: tuple[Path, ...],
    kind: str,
    out: str,
    quality: int,
    overwrite: bool,
    identified: bool,
    deidentify: bool,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Write the virtual slide of a fields folder in a format that other programs read.

    ome-tiff is for QuPath and Bio-Formats, tiff for OpenSlide and what builds on it, dicom for archives, ome-zarr for
    analysis and clouds, dzi for web pages. All formats are made from one pass, and appear together under their final
    names, or not at all. Several FOLDERS, or one that holds several, are worked on at the same time, and come into
    folders of their names.

    \b
    Examples:
      parfocal export my-slide --format tiff --out my-slide.tif
      parfocal export my-slide --format all --out exports
      parfocal export my-slide --format ome-zarr --out s3://my-bucket/my-slide.zarr
      parfocal export all-my-slides --format dicom --out archive --scheduler tcp://10.0.0.1:8786
    """
    from parfocal.slide.formats.destinations import FORMATS as EVERY
    from parfocal.slide.formats.destinations import is_url

    formats = EVERY if kind == "all" else tuple(one for one in EVERY if one == kind)
    options = {"quality": quality, "overwrite": overwrite, "identified": identified, "deidentify": deidentify}
    place = out if is_url(out) else str(Path(out).absolute())  # workers run elsewhere
    run_each(partial(_export_one, out=out, formats=formats, options=options), folders, scheduler, as_json, place)


def run_each(
    task: Callable[..., dict[str, Any]],
    folders: tuple[Path, ...],
    scheduler: str | None,
    as_json: bool,
    out: str | None = None,
    tell: Callable[[dict[str, Any], bool], None] = show,
) -> None:
    """One scan here, or several on a cluster; then `out` is the folder of their results' folders."""
    if scheduler is None and not holds_several(folders):
        with terminable(), Bars(quiet=as_json) as bars:
            figures = task(folders[0], progress=bars.stitched)
        tell(figures, as_json)
        return
    each = task if out is None else partial(_into_folder, task, out)
    run_several(each, folders, scheduler, as_json)


def run_several(
    task: Callable[[Path], dict[str, Any]], folders: tuple[Path, ...], scheduler: str | None, as_json: bool
) -> None:
    """A task for each scan on a cluster, and what came of them.

    Raises:
        FileError: in the end, if any failed.
    """
    from parfocal.slide.batch import run_many, scans_in

    with terminable(), Bars(quiet=as_json) as bars:
        rows = run_many(task, scans_in(folders), scheduler, bars.stitched)
    if as_json:
        click.echo(json.dumps({"slides": rows}, indent=2))
    else:
        click.echo("\n".join(f"{row['folder']}: {row.get('error', row.get('verdict', 'done'))}" for row in rows))
    failed = [row["folder"] for row in rows if "error" in row]
    if failed:
        raise FileError(f"{len(failed)} of {len(rows)} slides could not be made: {', '.join(failed)}")


def holds_several(folders: tuple[Path, ...]) -> bool:
    """Whether these are not just one fields folder."""
    return len(folders) > 1 or (not (folders[0] / "scan.json").exists() and any(folders[0].glob("*/scan.json")))


def _into_folder(task: Callable[..., dict[str, Any]], out: str, folder: Path) -> dict[str, Any]:
    return task(folder, out=f"{out.rstrip('/')}/{folder.name}")


def _stitch_one(folder: Path, progress: Progress | None = None) -> dict[str, Any]:
    from parfocal.slide.stitch import stitch as run

    began_s = time.monotonic()
    return run(folder, progress).to_json() | _cost(began_s)


def _export_one(
    folder: Path,
    out: str,
    formats: tuple[Format, ...],
    options: dict[str, Any],
    progress: Progress | None = None,
) -> dict[str, Any]:
    from parfocal.slide.export import export as run

    began_s = time.monotonic()
    return run(folder, out, formats, **options, progress=progress).to_json() | _cost(began_s)


def _cost(began_s: float) -> dict[str, Any]:
    from parfocal.scan.report import peak_memory_mib

    return {"peak_memory_mib": round(peak_memory_mib(), 1), "wall_time_s": round(time.monotonic() - began_s, 3)}
