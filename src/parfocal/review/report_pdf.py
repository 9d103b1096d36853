"""A report as PDF, on A4: findings with their grades, answers, and who signed it; a draft says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import matplotlib
from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.enums import TableBordersLayout, XPos, YPos
from fpdf.fonts import FontFace

from parfocal import __version__
from parfocal.durable import written_aside
from parfocal.review.findings import Finding, counted
from parfocal.review.report import Report
from parfocal.review.report_forms import Group

RESEARCH = "Research use only. Not a medical device, and no clinical report."

_FONT, _MARGIN_MM, _LINE_MM = "DejaVu", 18, 5.5
_GREY, _RED = (95, 95, 95), (160, 25, 20)
_UNKNOWN = "□"
_UNDATED = datetime(2000, 1, 1, tzinfo=UTC)


def write_pdf(report: Report, path: Path) -> None:
    """Write a report as PDF. The same report gives the same file.

    Raises:
        FileError: if the file cannot be written.
    """
    made = pdf_bytes(report)
    with written_aside(path) as part:
        part.write_bytes(made)


def pdf_bytes(report: Report) -> bytes:
    """The report as the bytes of a PDF."""
    page = _Page(report)
    _heading(page, report)
    for group in report.form.groups:
        _group(page, report, group)
    _signature(page, report)
    if page.lacks_letters:
        page.write_line(f"{_UNKNOWN} stands for letters that this document's font lacks: see the report's JSON.", 8)
    return bytes(page.output())


class _Page(FPDF):
    """A4 with a footer that tells which report it is, and what it is not."""

    def __init__(self, report: Report) -> None:
        super().__init__(format="A4")
        self._report = report
        folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # a Unicode font that comes with matplotlib
        fonts = {"": folder / "DejaVuSans.ttf", "B": folder / "DejaVuSans-Bold.ttf"}
        for style, font in fonts.items():
            self.add_font(_FONT, style, font)
        self._letters = frozenset.intersection(*(frozenset(TTFont(font).getBestCmap()) for font in fonts.values()))
        self.lacks_letters = False
        self.set_margin(_MARGIN_MM)
        self.set_auto_page_break(True, margin=2 * _MARGIN_MM)
        self.set_title(f"{report.form.title}, slide {report.slide}")
        self.set_lang("en")
        self.set_creator(f"Parfocal {__version__}")
        self.set_creation_date(_UNDATED if report.signature is None else report.signature.at)
        self.add_page()

    def footer(self) -> None:
        """Below every page."""
        report = self._report
        self.set_y(-1.6 * _MARGIN_MM)
        self.write_line(RESEARCH, 8, colour=_GREY)
        draft = "" if report.signature else ", draft"
        self.write_line(
            f"Report {report.number}, version {report.version}{draft}; page {self.page_no()} of {{nb}}", 8, colour=_GREY
        )

    def write_line(
        self, words: str, size: float = 10, style: str = "", colour: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        """A paragraph over the whole width."""
        self.set_font(_FONT, style, size)
        self.set_text_color(*colour)
        self.multi_cell(0, size * 0.55, self._printable(words), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_text_color(0, 0, 0)

    def write_table(self, rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
        """A table whose first row is its head."""
        self.set_font(_FONT, "", 10)
        numbers = ["LEFT", *["RIGHT"] * (len(widths) - 2), "LEFT"]
        with self.table(
            col_widths=tuple(widths),
            text_align=tuple(numbers),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            headings_style=FontFace(emphasis="BOLD"),
            line_height=_LINE_MM,
            padding=(1, 2),
        ) as table:
            for row in rows:
                cells = table.row()
                for words in row:
                    cells.cell(self._printable(words))

    def _printable(self, words: str) -> str:
        """The words with a box for each letter that the font lacks; line breaks stay."""
        shown = "".join(letter if letter == "\n" or ord(letter) in self._letters else _UNKNOWN for letter in words)
        self.lacks_letters |= shown != words
        return shown


def _heading(page: _Page, report: Report) -> None:
    page.write_line(report.form.title, 18, "B")
    page.ln(2)
    page.write_line(f"Slide {report.slide}", 12)
    if report.fields is not None and report.field_area_mm2 is not None:
        page.write_line(f"{report.fields} fields of {report.field_area_mm2:.4f} mm²")
    if report.signature is None:
        page.write_line("Draft: not signed", 12, "B", _RED)
    if report.amends is not None:
        page.write_line(f"Amended, version {report.version}: {report.reason}", 11, "B")
        page.write_line(f"Replaces version {report.version - 1}, SHA-256 {report.amends}", 8, colour=_GREY)
    if not report.interpretable:
        page.write_line("Non-interpretable", 12, "B")


def _group(page: _Page, report: Report, group: Group) -> None:
    """Heading, table of the counts, answers; nothing where nothing was said."""
    findings = [one for one in report.findings if any(one.key == item.key for item in group.items)]
    answers = [(item.title, report.answers[item.key]) for item in group.items if report.answers.get(item.key)]
    if not findings and not answers:
        return
    page.ln(4)
    page.write_line(group.title, 13, "B")
    page.ln(1)
    if findings:
        _differential(page, report, group, findings) if group.differential else _counts(page, findings)
    for title, answer in answers:
        page.write_line(f"{title}: {answer}" if title != group.title else answer)


def _counts(page: _Page, findings: Sequence[Finding]) -> None:
    rows = [("", "count", "mean per field", "grade")]
    for one in findings:
        mean = "" if one.mean is None else f"{one.mean:.3g}"
        rows.append((one.title, str(one.count), mean, "" if one.grade is None else f"{one.grade}  {one.grade_title}"))
    page.write_table(rows, (50, 14, 22, 26))
    areas = sorted({one.area for one in findings if one.area is not None})
    if areas:
        page.write_line(f"Means are for an {' or '.join(areas)}, scaled by true areas.", 8, colour=_GREY)


def _differential(page: _Page, report: Report, group: Group, findings: Sequence[Finding]) -> None:
    rows = [("", "count", "%", "95 % interval")]
    for one in findings:
        percent = "" if one.percent is None else f"{one.percent:.1f}"
        ends = "" if one.wilson95 is None else f"{one.wilson95[0]:.1f} to {one.wilson95[1]:.1f}"
        rows.append((one.title, str(one.count), percent, ends))
    page.write_table(rows, (50, 14, 22, 26))
    total = counted(group, report.counts)
    few = f": fewer than the {group.at_least} that are asked for" if total < group.at_least else ""
    page.write_line(f"{total} cells counted{few}.", 8, colour=_GREY)


def _signature(page: _Page, report: Report) -> None:
    signature = report.signature
    if signature is None:
        return
    page.ln(6)
    page.write_line(f"Signed by {signature.reader}, {signature.at:%Y-%m-%d %H:%M} UTC", 11, "B")
    page.write_line(f"SHA-256 of the content: {signature.digest}", 8, colour=_GREY)
