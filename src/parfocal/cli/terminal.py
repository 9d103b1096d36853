"""What the commands have in common: options, progress bars, interruption, results as text or JSON."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parfocal.errors import ScanStoppedError

if TYPE_CHECKING:
    from parfocal.config import Instrument
    from parfocal.scan.progress import ScanProgress

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
network_option = click.option(
    "--network", type=click.Path(path_type=Path), help="ONNX file to focus with, instead of Parfocal's own."
)


class _Tiles(click.ParamType[tuple[int, int]]):
    """ROWSxCOLUMNS of a frame."""

    name = "RxC"
    most = 20

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if not isinstance(value, str):
            return value
        rows, _, columns = value.partition("x")
        numbers = [int(side) if side.isdecimal() else 0 for side in (rows, columns)]
        if not all(1 <= number <= self.most for number in numbers):
            self.fail(f"{value!r} is not ROWSxCOLUMNS of tiles, each 1 to {self.most}, such as 4x5", param, ctx)
        return numbers[0], numbers[1]


renderer_option = click.option(
    "--renderer", type=click.Choice(["abbe", "fast"]), default="abbe", show_default=True, help="Whose light."
)
tiles_option = click.option("--tiles", type=_Tiles(), default=(4, 5), help="Tiles of 224² px a frame.  [default: 4x5]")
lens_option = click.option(
    "--lens",
    type=click.Choice(["20x0.75", "40x0.65", "10x0.25", "100x1.25oil"]),
    default="20x0.75",
    show_default=True,
    help="Through which lens.",
)
jobs_option = click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one for each core]")


def show(values: dict[str, Any], as_json: bool) -> None:
    """Print named values, one a line, or as JSON."""
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    width = max(map(len, values))
    for name, value in values.items():
        click.echo(f"{name.replace('_', ' '):{width}}  {value}")


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: lamp off, folder consistent."""

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt as error:
        raise ScanStoppedError("interrupted") from error
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def lamp_attended(instrument: Instrument | None) -> Iterator[None]:
    """After a block that lit an instrument's lamp, one that only a hand can put out is told of."""
    try:
        yield
    finally:
        if instrument is not None and instrument.microscope.lamp_by_hand:
            click.echo("Switch the lamp off by hand: no program can.", err=True)


class Bars:
    """Progress on stderr, one bar at a time, with the time that is left."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._bar: Any = None
        self._name = ""

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def scanned(self, progress: ScanProgress) -> None:
        """Show how far a scan is."""
        per_field = progress.images / progress.fields_done
        note = f"{per_field:.1f} images a field, {progress.in_doubt} in doubt"
        self._show("scanning", progress.fields_done, progress.fields, note)

    def stitched(self, what: str, done: int, total: int) -> None:
        """Show that so many of `total` parts of `what` are done."""
        self._show(what, done, total, "")

    def trained(self, what: str, done: int, total: int, note: str) -> None:
        """The same, with a remark."""
        self._show(what, done, total, note)

    def _show(self, name: str, done: int, total: int, note: str) -> None:
        if self._quiet:
            return
        if name != self._name:
            from tqdm import tqdm

            if self._bar is not None:
                self._bar.close()
            self._bar, self._name = tqdm(total=total, desc=name, dynamic_ncols=True), name
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)
