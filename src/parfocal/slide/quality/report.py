"""The quality of a slide on one page, as HTML and PNG: five tests, six pictures, a verdict and what it does not say."""

from __future__ import annotations

import base64
import html
import io
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from parfocal.durable import cannot, written_aside
from parfocal.slide.assembly import Assembly, assemble
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.quality.files import write_tables
from parfocal.slide.quality.pictures import Panel, panels
from parfocal.slide.quality.resolution import measure_resolution
from parfocal.slide.quality.system_tests import Outcome, Overall, SystemTest, overall, system_tests
from parfocal.slide.registration.seams import Progress

HTML_FILE = "quality.html"
PNG_FILE = "quality.png"

LIMITS = (
    "Research use only: no medical device, and no verdict on diagnostic use. "
    "All figures come from the scan itself; there was no test slide, no colour target and no second instrument. "
    "A pass says that the five limits were kept, not that every place is sharp or that all tissue was scanned."
)

_VERDICTS: dict[Overall, str] = {
    "pass": "All five tests passed",
    "fail": "At least one test failed",
    "incomplete": "No test failed, but not all could be measured",
}
_TINTS: dict[Outcome, str] = {"pass": "#1d6b34", "fail": "#a11b16", "not measured": "#5a5a5a"}
_OVERALL_TINTS: dict[Overall, str] = {"pass": "#1d6b34", "fail": "#a11b16", "incomplete": "#5a5a5a"}
_MARKS: dict[Outcome, str] = {"pass": "✓ pass", "fail": "✗ fail", "not measured": "– not measured"}


@dataclass(frozen=True)
class QualityReport:
    """What the quality of a slide came to.

    Attributes:
        name: the slide's pseudonym.
        verdict: "pass", "fail" or "incomplete".
        tests: the five.
        fields: in the mosaic.
        files: what was written.
    """

    name: str
    verdict: Overall
    tests: tuple[SystemTest, ...]
    fields: int
    files: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "fields": self.fields,
            "tests": {
                test.name.replace(" ", "_"): {**asdict(test), "limit_text": test.limit_text} for test in self.tests
            },
            "limits": LIMITS,
            "files": [str(path) for path in self.files],
        }


def report_quality(folder: Path, out: Path | None = None, progress: Progress | None = None) -> QualityReport:
    """Measure a scan, and write `quality.html`, `quality.png`, `quality.parquet` and `quality.csv`.

    Args:
        folder: the fields folder, of a scan that has ended in whatever way.
        out: folder for the files, made if missing; the fields folder if None.
        progress: called with (what is being done, how many are done, how many there are).

    Raises:
        FileError: if the folder holds no fields, a frame cannot be read, or a file cannot be written.
    """
    made = assemble(FieldsFolder(folder), progress)
    resolution = measure_resolution(made.fields, made.registration, progress)
    tests = system_tests(made, resolution)
    pictures = panels(made, resolution)
    page, picture = _html(made, tests, pictures).encode(), _png(made, tests, pictures)
    target = made.fields.path if out is None else out
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot("make", target, error) from error
    written = [target / HTML_FILE, target / PNG_FILE]
    for path, content in zip(written, (page, picture), strict=True):
        with written_aside(path) as part:
            part.write_bytes(content)
    written += write_tables(target, made.description.fields)
    return QualityReport(made.description.name, overall(tests), tests, len(made.fields.records), tuple(written))


def _about(made: Assembly) -> str:
    header, (height, width) = made.fields.header, made.mosaic.shape
    per_px = header.pixel_size_um / 1000
    return (
        f"{header.microscope}, {header.magnification:g}X/{header.na:g}, {header.pixel_size_um:g} µm a pixel; "
        f"{len(made.fields.records)} fields, {width:,} × {height:,} px, "
        f"{width * per_px:.1f} × {height * per_px:.1f} mm; "
        f"{made.description.creator}"
    )


def _figure(panel: Panel, size: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panel.draw(figure, figure.subplots())
    return figure


def _png_bytes(figure: Figure, dpi: int) -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=dpi, metadata={"Software": None})
    return sink.getvalue()


def _png(made: Assembly, tests: tuple[SystemTest, ...], pictures: tuple[Panel, ...]) -> bytes:
    """The page as one picture."""
    figure = Figure(figsize=(13, 13), layout="constrained")
    FigureCanvasAgg(figure)
    parts: NDArray[Any] = np.asarray(figure.subfigures(3, 1, height_ratios=(4.3, 8.1, 0.6)))
    top, maps, foot = parts
    _table(top, made, tests)
    for panel, axes in zip(pictures, maps.subplots(2, 3).flat, strict=True):
        panel.draw(maps, axes)
        axes.set_title(panel.title, fontsize=11, fontweight="bold", loc="left")
    foot.text(0.02, 0.5, textwrap.fill(LIMITS, 190), fontsize=8.5, va="center", color="#333333")
    return _png_bytes(figure, 100)


def _table(figure: SubFigure, made: Assembly, tests: tuple[SystemTest, ...]) -> None:
    verdict = overall(tests)
    figure.text(0.02, 0.93, f"Quality of {made.description.name}", fontsize=19, fontweight="bold", va="center")
    figure.text(0.02, 0.855, _about(made), fontsize=9.5, va="center", color="#333333")
    figure.text(
        0.02, 0.765, _VERDICTS[verdict], fontsize=14, fontweight="bold", va="center", color=_OVERALL_TINTS[verdict]
    )
    for row, test in enumerate(tests):
        y = 0.65 - 0.135 * row
        figure.text(0.02, y, test.name, fontsize=11.5, fontweight="bold", va="center")
        figure.text(
            0.15, y, _MARKS[test.outcome], fontsize=11.5, fontweight="bold", va="center", color=_TINTS[test.outcome]
        )
        figure.text(0.27, y, textwrap.fill(test.measured, 62), fontsize=9, va="center")
        figure.text(
            0.64, y, textwrap.fill(f"{test.limit_text}. {test.how}", 68), fontsize=7.8, va="center", color="#333333"
        )


def _html(made: Assembly, tests: tuple[SystemTest, ...], pictures: tuple[Panel, ...]) -> str:
    verdict = overall(tests)
    rows = "\n".join(_test_row(test) for test in tests)
    figures = "\n".join(_html_figure(panel) for panel in pictures)
    return _PAGE.format(
        name=html.escape(made.description.name),
        about=html.escape(_about(made)),
        verdict=html.escape(_VERDICTS[verdict]),
        tint=_OVERALL_TINTS[verdict],
        limits=html.escape(LIMITS),
        rows=rows,
        figures=figures,
    )


def _test_row(test: SystemTest) -> str:
    cells = (
        f'<th scope="row">{html.escape(test.name)}</th>',
        f'<td data-label="Verdict"><strong style="color:{_TINTS[test.outcome]}">{_MARKS[test.outcome]}</strong></td>',
        f'<td data-label="Measured">{html.escape(test.measured)}</td>',
        f'<td data-label="Limit">{html.escape(test.limit_text)}</td>',
        f'<td data-label="How">{html.escape(test.how)} {html.escape(test.note)}</td>',
    )
    return f"<tr>{''.join(cells)}</tr>"


def _html_figure(panel: Panel) -> str:
    picture = base64.b64encode(_png_bytes(_figure(panel, (6.2, 4.6)), 110)).decode()
    title, caption = html.escape(panel.title), html.escape(panel.caption)
    return (
        f'<figure id="{panel.name}"><img alt="{title}. {caption}" src="data:image/png;base64,{picture}">'
        f"<figcaption><strong>{title}.</strong> {caption}</figcaption></figure>"
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Quality of {name}</title>
<style>
body {{ margin: 0 auto; max-width: 72rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a;
  background: #fff; }}
h1 {{ font-size: 1.6rem; line-height: 1.2; margin: 0.5rem 0; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.2rem; margin: 2rem 0 0.5rem; }}
.verdict {{ font-size: 1.25rem; font-weight: 700; border-left: 0.4rem solid; padding-left: 0.7rem; }}
table {{ border-collapse: collapse; width: 100%; }}
caption {{ text-align: left; padding-bottom: 0.5rem; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.5rem 0.7rem; border-bottom: 1px solid #c8c8c8; }}
td:nth-child(2) {{ white-space: nowrap; }}
.pictures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; }}
figure {{ margin: 0; }}
img {{ display: block; width: 100%; height: auto; }}
@media (max-width: 44rem) {{
  thead {{ position: absolute; clip-path: inset(50%); height: 1px; width: 1px; overflow: hidden; }}
  tr, th, td {{ display: block; border: 0; padding: 0.15rem 0; }}
  tr {{ border-bottom: 1px solid #c8c8c8; padding: 0.7rem 0; }}
  td::before {{ content: attr(data-label) ": "; font-weight: 600; }}
}}
</style>
</head>
<body>
<main>
<h1>Quality of {name}</h1>
<p>{about}</p>
<p class="verdict" style="color:{tint}">{verdict}</p>
<p>{limits}</p>
<h2>Five tests</h2>
<table>
<caption>The system tests that the FDA’s guidance of 2016 on whole slide imaging names, measured on this scan.</caption>
<thead><tr><th scope="col">Test</th><th scope="col">Verdict</th><th scope="col">Measured</th>
<th scope="col">Limit</th><th scope="col">How, and what it does not say</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
<h2>Pictures</h2>
<div class="pictures">
{figures}
</div>
<p>Every field’s figures lie beside this page, in quality.parquet and quality.csv.</p>
</main>
</body>
</html>
"""
