"""The agreement of a study as tables like the paper's 3 and 4: text, CSV and a page of HTML."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from parfocal.durable import written_aside
from parfocal.review.forest_plot import draw_forest

Figures = dict[str, Any]
"""What `AgreementReport.to_json` returns."""

READER_COLUMNS = (
    ("concurrences", "concurrences"),
    ("non_concurrences", "non-concurrences"),
    ("surpassed", "surpassed reference"),
    ("percent", "% concurrences"),
    ("wilson95", "95 % interval"),
    ("strict_percent", "% strict"),
    ("strict_wilson95", "95 % interval"),
    ("kappa", "kappa"),
    ("gwet_ac1", "AC1"),
)
_BETWEEN_COLUMNS = (
    ("n", "slides"),
    ("concurrences", "concurrences"),
    ("percent", "% concurrences"),
    ("wilson95", "95 % interval"),
    ("kappa", "kappa"),
    ("gwet_ac1", "AC1"),
)
_POOLED_COLUMNS = (
    ("slides", "slides"),
    ("readings", "readings"),
    ("percent", "% concurrences"),
    ("bootstrap95", "95 % interval"),
    ("strict_percent", "% strict"),
    ("strict_bootstrap95", "95 % interval"),
)
_COMPARED_COLUMNS = (
    ("count", "count"),
    ("n", "slides"),
    ("first_only", "first only"),
    ("second_only", "second only"),
    ("difference", "difference"),
    ("tango95", "95 % interval"),
    ("mcnemar_p", "McNemar p"),
)
_MARGIN_COLUMNS = (("first_non_inferior", "first non-inferior"), ("second_non_inferior", "second"))
_WAY = "modality"
_GRADE_COLUMNS = (
    ("n", "slides"),
    ("same_grade", "same grade"),
    ("weighted_kappa", "weighted kappa"),
    ("gwet_ac2", "AC2"),
)
_ADJUDICATED_COLUMNS = (
    ("discordances", "discordances"),
    ("adjudicated", "adjudicated"),
    ("reading_right", "reading right"),
    ("reference_right", "reference right"),
    ("neither_right", "neither right"),
    ("missed_not_drawn", "missed, not drawn"),
)
_DISCORDANCE_COLUMNS = (("verdict", "verdict"), ("reference", "reference"), ("reading", "reading"), ("reason", "why"))
_SHORT = 20
_SMALL = {"kappa", "gwet_ac1", "weighted_kappa", "gwet_ac2", "mcnemar_p"}

Table = tuple[str, list[str], list[list[str]]]
"""Title, head, rows."""


def tables(figures: Figures) -> list[Table]:
    """Every table that has rows, readers first, as words."""
    made = [
        _table(f"Reader {reader} against the same reader's {figures['reference']}", _WAY, READER_COLUMNS, rows.items())
        for reader, rows in figures["readers"].items()
    ]
    margin = figures["margin"]
    compared = "Ways of reading against each other, in percentage points"
    if margin is not None:
        compared += f"; margin of non-inferiority {margin:g}"
    made += [
        _table("Between readers", _WAY, _BETWEEN_COLUMNS, figures["between_readers"].items()),
        _table(
            compared,
            "first : second",
            _COMPARED_COLUMNS if margin is None else _COMPARED_COLUMNS + _MARGIN_COLUMNS,
            ((f"{one['what']}, {one['first']} : {one['second']}", one) for one in figures["comparisons"]),
        ),
        _table("All readers together", _WAY, _POOLED_COLUMNS, figures["pooled"].items()),
        _table("Two readers at a time", "modality, readers", _BETWEEN_COLUMNS, map(_pair, figures["reader_pairs"])),
        _table("Readers with themselves", "reader, modality", _BETWEEN_COLUMNS, map(_named, figures["test_retest"])),
        _table("Discordances, adjudicated", "reader, modality", _ADJUDICATED_COLUMNS, _each(figures["adjudication"])),
        _table("Grades", "reader, modality, organism", _GRADE_COLUMNS, map(_named, figures["grades"])),
    ]
    return [table for table in made if table[2]]


def discordance_table(figures: Figures) -> Table:
    """The slides for adjudication, as words."""
    return _table("Discordances", "reader, modality, slide", _DISCORDANCE_COLUMNS, map(_named, figures["discordances"]))


def text(figures: Figures) -> str:
    """The tables for a terminal, with the remarks."""
    parts = [_aligned(table) for table in tables(figures)]
    return "\n\n".join([*parts, "\n".join(figures["remarks"])])


def write_csv(figures: Figures, path: Path) -> None:
    """Write the rows of Tables 3 and 4: one a line, by reader and modality, numbers in full.

    Raises:
        FileError: if the file cannot be written.
    """
    names = [name for key, _ in READER_COLUMNS for name in _csv_names(key)]
    sink = io.StringIO(newline="")
    table = csv.writer(sink, lineterminator="\n")
    table.writerow(["reader", "modality", "n", *names])
    for reader, rows in figures["readers"].items():
        for modality, row in rows.items():
            cells = [cell for key, _ in READER_COLUMNS for cell in _csv_cells(_value(row, key))]
            table.writerow([reader, modality, row["n"], *cells])
    with written_aside(path) as part:
        part.write_text(sink.getvalue(), encoding="utf-8")


def write_html(figures: Figures, path: Path) -> None:
    """Write a page with the forest plot, all tables and the slides for adjudication. It needs nothing else.

    Raises:
        FileError: if the file cannot be written.
    """
    picture = base64.b64encode(draw_forest(figures, "svg")).decode("ascii")
    every = [*tables(figures), discordance_table(figures)]
    page = _PAGE.format(
        picture=picture,
        tables="\n".join(_html_table(table) for table in every if table[2]),
        remarks="".join(f"<li>{escape(remark)}</li>" for remark in figures["remarks"]),
    )
    with written_aside(path) as part:
        part.write_text(page, encoding="utf-8")


def _named(row: Figures) -> tuple[str, Figures]:
    words = (row.get(key) for key in ("reader", "modality", "slide", "organism"))
    return ", ".join(str(word) for word in words if word is not None), row


def _each(rows: dict[str, Figures]) -> list[tuple[str, Figures]]:
    return [(f"{reader}, {modality}", row) for reader, of in rows.items() for modality, row in of.items()]


def _pair(row: Figures) -> tuple[str, Figures]:
    return f"{row['modality']}, {' : '.join(row['readers'])}", row


def _table(title: str, first: str, columns: Sequence[tuple[str, str]], rows: Iterable[tuple[str, Figures]]) -> Table:
    head = [first, *(name for _, name in columns)]
    return title, head, [[name, *(_word(key, _value(row, key)) for key, _ in columns)] for name, row in rows]


def _value(row: Figures, key: str) -> Any:
    outer, _, inner = key.partition("strict_")
    return row["strict"][inner] if inner and not outer else row[key]


def _word(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"{value[0]:.1f} to {value[1]:.1f}"
    if isinstance(value, float):
        return f"{value:.3f}" if key in _SMALL else f"{value:.2f}"
    return str(value)


def _csv_names(key: str) -> tuple[str, ...]:
    return (f"{key}_low", f"{key}_high") if key.endswith("95") else (key,)


def _csv_cells(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ["" if value is None else value]


def _aligned(table: Table) -> str:
    title, head, rows = table
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in (head, *rows)
    ]
    return "\n".join([title, *(line.rstrip() for line in lines)])


def _html_table(table: Table) -> str:
    title, head, rows = table
    short = " short" if all(len(cell) < _SHORT for row in rows for cell in row[1:]) else ""
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide{short}" tabindex="0" role="region" aria-label="{escape(title, quote=True)}"><table>'
        f"<caption>{escape(title)}</caption>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Parfocal: agreement of readers</title>
<style>
:root {{ color-scheme: light; font: 15px/1.45 system-ui, sans-serif; }}
body {{ margin: 1.5rem auto; padding: 0 1rem; max-width: 75rem; color: #1b1b1b; background: #fff; }}
h1 {{ font-size: 1.4rem; }} img {{ max-width: 100%; height: auto; }}
.wide {{ overflow-x: auto; margin: 1.5rem 0; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; font-weight: 600; padding-bottom: .3rem; }}
th, td {{ padding: .25rem .7rem; border-bottom: 1px solid #ccc; text-align: left; }}
thead th {{ border-bottom: 2px solid #555; vertical-align: bottom; }}
tbody th {{ font-weight: 400; white-space: nowrap; }}
.short td {{ white-space: nowrap; }}
</style>
</head>
<body>
<main>
<h1>Agreement of readers</h1>
<img alt="Shares of concurrences with their 95 % intervals; the figures stand in the tables" \
src="data:image/svg+xml;base64,{picture}">
{tables}
<h2>Remarks</h2>
<ul>{remarks}</ul>
</main>
</body>
</html>
"""
