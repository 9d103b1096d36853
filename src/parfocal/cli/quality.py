"""The command that measures a slide: qc."""

from __future__ import annotations

import json
from pathlib import Path

import click

from parfocal.cli.terminal import Bars, json_option, terminable


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report.  [default: FOLDER itself]")
@json_option
def qc(folder: Path, out: Path | None, as_json: bool) -> None:
    """Report the quality of a scan on one page: colour, resolution, focus, tissue coverage, stitching error.

    FOLDER is a fields folder. quality.html and quality.png are the page, quality.parquet and quality.csv hold the
    figures of every field. For research use: the page says what its verdict does not.

    \b
    Examples:
      parfocal qc my-slide
      parfocal qc my-slide --out report --json
    """
    from parfocal.slide.quality_report import report_quality

    with terminable(), Bars(quiet=as_json) as bars:
        report = report_quality(folder, out, bars.stitched)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
        return
    for test in report.tests:
        click.echo(f"{test.name:16} {test.outcome:13} {test.measured}  (limit: {test.limit_text})")
    click.echo(f"\n{report.verdict}. Research use only; what this does not say stands in the report.\n")
    click.echo("\n".join(str(path) for path in report.files))
