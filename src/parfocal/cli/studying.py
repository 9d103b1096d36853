"""Commands around studies of readers: how well they agree, how many slides that needs, and reports on slides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parfocal.cli.terminal import json_option

if TYPE_CHECKING:
    from parfocal.review.report import Report


@click.group()
def study() -> None:
    """Plan studies of readers, report on slides, and measure how well digital reading agrees with glass."""


@study.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--reference", default="glass", show_default=True, help="Modality that the others are compared with.")
@click.option("--margin", type=float, help="Of non-inferiority in percentage points, set before unblinding.")
@click.option(
    "--resamples", type=int, default=1000, show_default=True, help="Of the bootstrap by slide; 0 leaves it out."
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the bootstrap.")
@click.option("--adjudicated", type=click.Path(path_type=Path), help="CSV that tells what is on slides in dispute.")
@click.option("--leave-out-unreferenced", "leave_out", is_flag=True, help="Readings without a reference do not count.")
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
    adjudicated: Path | None,
    leave_out: bool,
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
      parfocal study agreement readings.csv --leave-out-unreferenced
      parfocal study agreement readings.csv --adjudicated adjudicated.csv
      parfocal study agreement readings.csv --html agreement.html --csv agreement.csv --plot agreement.png
    """
    from parfocal.review.adjudication import read_adjudications
    from parfocal.review.agreement_report import measure_agreement
    from parfocal.review.agreement_tables import text, write_csv, write_html
    from parfocal.review.forest_plot import write_forest
    from parfocal.review.readings import read_readings

    decided = None if adjudicated is None else read_adjudications(adjudicated)
    report = measure_agreement(
        read_readings(file),
        reference,
        margin_percent=margin,
        resamples=resamples,
        seed=seed,
        decided=decided,
        leave_out=leave_out,
    )
    figures = report.to_json()
    if html is not None:
        write_html(figures, html)
    if table is not None:
        write_csv(figures, table)
    if plot is not None:
        write_forest(figures, plot)
    click.echo(json.dumps(figures, indent=2) if as_json else text(figures))


@study.command()
@click.option(
    "--expect", type=float, default=90.0, show_default=True, help="Concordance that is expected, in per cent."
)
@click.option("--half-width", type=float, default=7.5, show_default=True, help="Of its 95 % interval, in points.")
@click.option("--goal", type=float, help="Concordance that the interval is to lie above, in per cent.")
@click.option("--margin", type=float, help="Of non-inferiority of one way against another, in points.")
@click.option("--discordant", type=float, help="Slides that concur in one of the two ways only, in per cent.")
@click.option(
    "--power", type=float, default=80.0, show_default=True, help="Probability of reaching an aim, in per cent."
)
@click.option("--missing", type=float, default=0.0, show_default=True, help="Slides that cannot be read, in per cent.")
@json_option
def plan(
    expect: float,
    half_width: float,
    goal: float | None,
    margin: float | None,
    discordant: float | None,
    power: float,
    missing: float,
    as_json: bool,
) -> None:
    """How many slides does a study need?

    \b
    Examples:
      parfocal study plan
      parfocal study plan --expect 87.5 --half-width 5 --missing 10
      parfocal study plan --expect 95 --goal 85 --margin 10 --discordant 15 --json
    """
    from parfocal.review.sample_size import plan_size

    size = plan_size(expect, half_width, goal=goal, margin=margin, discordant=discordant, power=power, missing=missing)
    if as_json:
        click.echo(json.dumps(size, indent=2))
        return
    for need in size["aims"]:
        click.echo(f"{need['slides']:6} slides  {need['aim']}")
    click.echo(f"{size['slides']:6} slides  for all of this, of which {size['slides_read']} can be read")
    click.echo(
        f"\nLet at least {size['wash_out_days']} days pass between two readings of a slide by the same reader (CAP)."
    )


@study.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sign", metavar="READER", help="Sign the report in this name, now.")
@click.option("--amend", type=click.Path(path_type=Path), help="Signed report that this one replaces.")
@click.option("--reason", default="", help="Why it is amended.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file to write the report into; never overwritten.")
@click.option("--pdf", type=click.Path(path_type=Path), help="PDF to write.")
@json_option
def report(
    file: Path, sign: str | None, amend: Path | None, reason: str, out: Path | None, pdf: Path | None, as_json: bool
) -> None:
    """Grade the counts of a slide, and write the report as JSON and PDF.

    FILE is TOML with what was counted (docs: reports), or the JSON of a report. A signed report is checked against its
    digest; it is amended by a new version and never changed.

    \b
    Examples:
      parfocal study report smear.toml
      parfocal study report smear.toml --sign "Dr. A" --out smear.json --pdf smear.pdf
      parfocal study report smear.toml --amend smear.json --reason "miscounted" --sign "Dr. A" --out smear-2.json
      parfocal study report smear.json --json
    """
    from datetime import UTC, datetime

    from parfocal.review.report import read_report, write_report
    from parfocal.review.report_entry import read_entry
    from parfocal.review.report_pdf import write_pdf

    made = read_report(file) if file.suffix == ".json" else read_entry(file)
    if amend is not None:
        content = ("form", "slide", "fields", "field_area_mm2", "counts", "answers", "graded_in", "interpretable")
        made = read_report(amend).amend(reason, **{name: getattr(made, name) for name in content})
    if sign is not None:
        made = made.sign(sign, datetime.now(UTC))
    if out is not None:
        write_report(made, out)
    if pdf is not None:
        write_pdf(made, pdf)
    click.echo(json.dumps(made.to_json(), indent=2, ensure_ascii=False) if as_json else _as_text(made))


def _as_text(made: Report) -> str:
    """Findings and answers, one a line, and who signed."""
    lines = [f"{made.form.title}, slide {made.slide}, version {made.version}"]
    if not made.interpretable:
        lines.append("non-interpretable")
    for one in made.findings:
        grade = "" if one.grade is None else f"{one.grade} {one.grade_title} ({one.mean:.3g} in an {one.area})"
        share = "" if one.percent is None else f"{one.percent:.1f} %"
        lines.append(f"{one.title:32} {one.count:6}  {grade}{share}".rstrip())
    lines += [f"{made.form.item(key).title}: {answer}" for key, answer in made.answers.items()]
    signature = made.signature
    signed = (
        "draft, not signed" if signature is None else f"signed by {signature.reader}, {signature.at:%Y-%m-%d %H:%M} UTC"
    )
    return "\n".join([*lines, signed])
