"""The command that measures slides: qc."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parfocal.cli.exporting import folders_argument, run_each, scheduler_option
from parfocal.cli.terminal import json_option

if TYPE_CHECKING:
    from parfocal.slide.registration.seams import Progress


@click.command()
@folders_argument
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report.  [default: the scan's own]")
@scheduler_option
@json_option
def qc(folders: tuple[Path, ...], out: Path | None, scheduler: str | None, as_json: bool) -> None:
    """Report the quality of a scan on one page: colour, resolution, focus, tissue coverage, stitching error.

    quality.html and quality.png are the page, quality.parquet and quality.csv hold the figures of every field. For
    research use: the page says what its verdict does not. Several FOLDERS, or one that holds several, are worked on at
    the same time; with --out their reports come into folders of their names.

    \b
    Examples:
      parfocal qc my-slide
      parfocal qc my-slide --out report --json
      parfocal qc all-my-slides --scheduler tcp://10.0.0.1:8786
    """
    if out is None:
        run_each(_report, folders, scheduler, as_json, tell=_tell)
    else:
        place = str(out.absolute())  # workers run elsewhere
        run_each(partial(_report, out=place), folders, scheduler, as_json, place, _tell)


def _report(folder: Path, out: str | None = None, progress: Progress | None = None) -> dict[str, Any]:
    from parfocal.slide.quality.report import report_quality

    return report_quality(folder, None if out is None else Path(out), progress).to_json()


def _tell(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    for test in figures["tests"].values():
        click.echo(f"{test['name']:16} {test['outcome']:13} {test['measured']}  (limit: {test['limit_text']})")
    click.echo(f"\n{figures['verdict']}. Research use only; what this does not say stands in the report.\n")
    click.echo("\n".join(figures["files"]))
