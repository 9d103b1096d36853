"""Commands around studies of readers: how well they agree, and how many slides such a study needs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from parfocal.cli.terminal import json_option


@click.group()
def study() -> None:
    """Plan studies of readers, and measure how well digital reading agrees with glass."""


@study.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--reference", default="glass", show_default=True, help="Modality that the others are compared with.")
@click.option("--margin", type=float, help="Of non-inferiority in percentage points, set before unblinding.")
@click.option(
    "--resamples", type=int, default=1000, show_default=True, help="Of the bootstrap by slide; 0 leaves it out."
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the bootstrap.")
@click.option("--html", type=click.Path(path_type=Path), help="Page to write: plot, tables, discordances.")
@click.option("--csv", "table", type=click.Path(path_type=Path), help="File to write the table of readers into.")
@click.option("--plot", type=click.Path(path_type=Path), help="Forest plot to write: PNG, SVG or PDF.")
@json_option
def agreement(
    file: Path,
    reference: str,
    margin: float | None,
    resamples: int,
    seed: int,
    html: Path | None,
    table: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """How well do readers agree with their own reference readings, and with each other?

    FILE is CSV with the columns reader, slide, modality and organisms (separated by ";", empty where none was seen).
    The same set as the reference is a concurrence; a proper superset surpassed it, which the paper counts as a
    concurrence and the strict count does not; anything else is a non-concurrence.

    \b
    Examples:
      parfocal study agreement readings.csv
      parfocal study agreement readings.csv --reference glass --margin 10 --json
      parfocal study agreement readings.csv --html agreement.html --csv agreement.csv --plot agreement.png
    """
    from parfocal.review.agreement_report import measure_agreement
    from parfocal.review.agreement_tables import text, write_csv, write_html
    from parfocal.review.forest_plot import write_forest
    from parfocal.review.readings import read_readings

    report = measure_agreement(read_readings(file), reference, margin_percent=margin, resamples=resamples, seed=seed)
    figures = report.to_json()
    if html is not None:
        write_html(figures, html)
    if table is not None:
        write_csv(figures, table)
    if plot is not None:
        write_forest(figures, plot)
    click.echo(json.dumps(figures, indent=2) if as_json else text(figures))
