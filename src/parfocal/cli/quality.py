"""The command that measures a slide: qc."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from parfocal.cli.exporting import folders_argument, holds_several, run_several, scheduler_option
from parfocal.cli.terminal import Bars, json_option, terminable


@click.command()
@folders_argument
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report.  [default: the fields folder]")
@scheduler_option
@json_option
def qc(folders: tuple[Path, ...], out: Path | None, scheduler: str | None, as_json: bool) -> None:
    """Report the quality of a scan on one page: colour, resolution, focus, tissue coverage, stitching error.

    Of a fields folder, or of several at the same time. quality.html and quality.png are the page, quality.parquet and
    quality.csv hold the figures of every field. For research use: the page says what its verdict does not.

    \b
    Examples:
      parfocal qc my-slide
      parfocal qc my-slide --out report --json
      parfocal qc all-my-slides --out reports --scheduler tcp://10.0.0.1:8786
    """
    from parfocal.slide.quality_report import report_quality

    if scheduler is not None or holds_several(folders):
        absolute = None if out is None else out.absolute()  # workers run elsewhere
        run_several(partial(_report_one, absolute), folders, scheduler, as_json)
        return
    (folder,) = folders
    with terminable(), Bars(quiet=as_json) as bars:
        report = report_quality(folder, out, bars.stitched)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
        return
    for test in report.tests:
        click.echo(f"{test.name:16} {test.outcome:13} {test.measured}  (limit: {test.limit_text})")
    click.echo(f"\n{report.verdict}. Research use only; what this does not say stands in the report.\n")
    click.echo("\n".join(str(path) for path in report.files))


def _report_one(out: Path | None, folder: Path) -> dict[str, Any]:
    from parfocal.slide.quality_report import report_quality

    return dict(report_quality(folder, None if out is None else out / folder.name).to_json())
