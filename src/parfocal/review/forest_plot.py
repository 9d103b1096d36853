"""Forest plot of a study: every share of concurrences with its Wilson interval."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from parfocal.durable import written_aside
from parfocal.errors import SettingsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Format = Literal["png", "svg", "pdf"]
_FORMATS: dict[str, Format] = {".png": "png", ".svg": "svg", ".pdf": "pdf"}
_LENIENT, _STRICT, _BETWEEN = "#1f5f99", "#b8622a", "#3d6b35"
_ROW_INCH, _FRAME_INCH = 0.34, 1.1


def write_forest(figures: dict[str, Any], path: Path) -> None:
    """Write the plot as PNG, SVG or PDF, by the name's ending.

    Raises:
        SettingsError: if the ending is another.
        FileError: if the file cannot be written.
    """
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise SettingsError(f"{path.name!r}: a plot is written as {', '.join(_FORMATS)}")
    drawn = draw_forest(figures, kind)
    with written_aside(path) as part:
        part.write_bytes(drawn)


def draw_forest(figures: dict[str, Any], kind: Format) -> bytes:
    """The plot as the bytes of a file: the paper's count and the strict one for each reader and modality, then readers
    against each other."""
    import matplotlib  # here, as it would make a server start later
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _rows(figures)
    figure = Figure(figsize=(8.5, _FRAME_INCH + _ROW_INCH * max(len(rows), 2)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw(axes, rows)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    sink = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "parfocal", "svg.fonttype": "none"}):
        figure.savefig(sink, format=kind, dpi=130, metadata=_NO_DATE[kind])
    return sink.getvalue()


_NO_DATE: dict[Format, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}

_Row = tuple[str, dict[str, Any], dict[str, Any] | None]


def _rows(figures: dict[str, Any]) -> list[_Row]:
    """Name, the paper's count, and the strict one where it is another."""
    rows: list[_Row] = [
        (f"reader {reader}, {modality}", row, row["strict"])
        for reader, of_reader in figures["readers"].items()
        for modality, row in of_reader.items()
    ]
    return rows + [(f"between readers, {modality}", row, None) for modality, row in figures["between_readers"].items()]


def _draw(axes: Axes, rows: list[_Row]) -> None:
    for place, (_, row, strict) in enumerate(rows):
        _interval(axes, place - (0.14 if strict else 0), row, "s", _LENIENT if strict else _BETWEEN)
        if strict:
            _interval(axes, place + 0.14, strict, "o", _STRICT)
    for label, mark, colour in (
        ("concurrence, surpassed included", "s", _LENIENT),
        ("concurrence, strict", "o", _STRICT),
        ("between readers", "s", _BETWEEN),
    ):
        axes.plot([], [], mark, color=colour, label=label)
    axes.set_yticks(range(len(rows)), [f"{_plain(name)}  (n = {row.get('n')})" for name, row, _ in rows])
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% concurrences, with 95 % Wilson intervals")
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _plain(name: str) -> str:
    """Of a reader or modality: what stands between dollars is no formula."""
    return name.replace("$", r"\$")


def _interval(axes: Axes, place: float, row: dict[str, Any], mark: str, colour: str) -> None:
    low, high = row["wilson95"]
    axes.plot([low, high], [place, place], "-", color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot([row["percent"]], [place], mark, color=colour, markersize=5)
