"""The command line. Each command imports what it needs when it runs, so that `parfocal --help` is instant."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from parfocal import __version__
from parfocal.errors import InputError, ParfocalError, ScanStoppedError, SettingsError

if TYPE_CHECKING:
    from parfocal.scan.scanner import ScanProgress

EXIT_BAD_INPUT = 2
EXIT_STOPPED = 3
_MAX_SIDE_MM = 200.0

_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
_network_option = click.option(
    "--network", type=click.Path(path_type=Path), help="ONNX file to focus with, instead of Parfocal's own."
)


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_BAD_INPUT)
    except click.Abort:
        _fail("interrupted", EXIT_STOPPED)
    except InputError as error:
        _fail(str(error), EXIT_BAD_INPUT)
    except ParfocalError as error:
        _fail(str(error), EXIT_STOPPED)
    sys.exit(code or 0)


def _fail(message: str, code: int) -> NoReturn:
    click.echo("parfocal: " + " ".join(message.split()), err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="parfocal")
def cli() -> None:
    """Whole-slide imaging for low-cost motorised microscopes.

    \b
    Examples:
      parfocal scan simulated-20x --out my-slide
      parfocal info my-slide
      parfocal focus --replay my-stack
    """


class _Area(click.ParamType[tuple[float, float]]):
    """WxH in mm."""

    name = "WxH"

    def convert(
        self, value: str | tuple[float, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)[x×](\d+(?:\.\d*)?|\.\d+)", value.strip())
        if not match:
            self.fail(f"{value!r} is not WxH in mm, such as 2x2 or 1.5x1", param, ctx)
        width, height = float(match[1]), float(match[2])
        if not (0 < width <= _MAX_SIDE_MM and 0 < height <= _MAX_SIDE_MM):
            self.fail(f"{value!r}: each side is above 0 and at most {_MAX_SIDE_MM:g} mm", param, ctx)
        return width, height


@cli.command()
@click.argument("microscope")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the result; new or empty.")
@click.option("--specimen", default="he-tissue", show_default=True, help="Sample's name, or image:PATH (see below).")
@click.option("--area", type=_Area(), default=(2.0, 2.0), help="Width and height in mm.  [default: 2x2]")
@_network_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of specimen, errors and noise.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier scan in the folder.")
@_json_option
def scan(
    microscope: str,
    out: Path,
    specimen: str,
    area: tuple[float, float],
    network: Path | None,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Scan a region of a slide into a virtual slide.

    MICROSCOPE is simulated-20x, simulated-40x, or the path of a TOML file. Specimens of a simulated microscope are
    he-tissue, blood-smear, gram-smear, leaves, unstained, and image:PATH with any image, or slide that OpenSlide reads.

    \b
    Exit codes: 0 finished, 2 bad input, 3 stopped (what was scanned can be stitched).
    \b
    Examples:
      parfocal scan simulated-20x --out my-slide
      parfocal scan simulated-20x --out smear --specimen blood-smear --area 1x1 --seed 3
      parfocal scan simulated-40x --out sputum --specimen gram-smear --area 1x1 --json
      parfocal scan simulated-20x --out photo --specimen image:tissue.png
    """
    from parfocal import api

    with _terminable():
        instrument = api.open_microscope(microscope, specimen, seed)
        predictor = instrument.predictor(network)
        with _Bars(quiet=as_json) as bars:
            report = api.scan(
                instrument,
                out,
                area,
                predictor=predictor,
                overwrite=overwrite,
                on_progress=bars.scanned,
                on_stitch=bars.stitched,
            )
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _show_report(report, out)


def _show_report(report: dict[str, Any], out: Path) -> None:
    focus, stitching = report["focus"], report["stitching"]
    lines = [
        f"{report['fields']} fields, {report['fields_empty']} empty, {report['fields_unsure']} in doubt",
        f"{report['images_total']} exposures; {report['modelled_time_s']:.1f} s on the modelled instrument",
    ]
    if report["images_per_field"] is not None:
        lines.append(f"{report['images_per_field']:.2f} exposures a field")
    if focus["in_focus_fraction"] is not None:
        lines.append(
            f"{focus['in_focus_fraction']:.1%} of {focus['tissue_fields']} tissue fields in focus, mean error "
            f"{focus['mean_abs_error_um']:.2f} µm (depth of field {focus['depth_of_field_um']:.2f} µm)"
        )
    if stitching["rms_error_px"] is not None:
        accepted = f"{stitching['accepted']} of {stitching['seams']} seams"
        lines.append(f"stitched by {accepted}, error {stitching['rms_error_px']:.2f} px rms against the true positions")
    click.echo("\n".join(lines))
    click.echo(f"\nSlide:    {out / report['slide']}   (opens in QuPath)")
    click.echo(f"Overview: {out / 'overview.jpg'}\nFocus:    {out / 'focus.png'}\nReport:   {out / 'report.json'}")


@cli.command()
@click.argument("microscope", default="simulated-20x")
@click.option("--replay", type=click.Path(path_type=Path), help="Play a recorded z-stack: a folder with stack.json.")
@click.option("--start", type=float, help="Replay: plane of the first image, in the stack's unit.")
@click.option("--um-per-step", type=float, help="Replay: µm of a step, for a stack in steps.")
@click.option("--specimen", default="he-tissue", show_default=True, help="Under a simulated microscope.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of specimen, errors and noise.")
@_network_option
@_json_option
def focus(
    microscope: str,
    replay: Path | None,
    start: float | None,
    um_per_step: float | None,
    specimen: str,
    seed: int,
    network: Path | None,
    as_json: bool,
) -> None:
    """Focus one field: of a simulated microscope, or of a recorded z-stack.

    \b
    Examples:
      parfocal focus simulated-20x --specimen blood-smear
      parfocal focus --replay my-stack --start 2 --json
    """
    from parfocal import api

    with _terminable():
        if replay is not None:
            result = api.focus_replay(replay, microscope, start_z=start, um_per_step=um_per_step, network=network)
        else:
            if start is not None or um_per_step is not None:
                raise SettingsError("--start and --um-per-step go with --replay")
            result = api.focus_once(microscope, specimen, seed, network)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for step in result["trace"]:
        move = step["move"]
        what = f"{move['kind']}: {move['reason']}" if move else ""
        click.echo(f"{step['purpose']:>6}  z {step['z_um']:8.2f} µm  {what} {step['note']}".rstrip())
    best = "" if result["best_z"] is None else f", best {result['best_z']:g}"
    click.echo(f"{result['verdict']} at {result['final_z']:g}{best}, after {result['images']} images")


@cli.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for pairs, checkpoint, network.")
@click.option("--textures", type=click.Path(path_type=Path), help="Folder of the images that RECIPE names.")
@_json_option
def train(recipe: Path, out: Path, textures: Path | None, as_json: bool) -> None:
    """Train a focus network by RECIPE (a TOML file) and export it to OUT/network.onnx.

    Needs the `train` extra (torch). Running the same command again goes on where it stopped.

    \b
    Examples:
      parfocal train runs/first-network.toml --out training
    """
    from parfocal.training.recipe import read_recipe

    settings = read_recipe(recipe)
    try:
        from parfocal.training.train import train as run
    except ModuleNotFoundError as error:
        raise SettingsError(f"training needs {error.name}: install parfocal[train]") from error
    with _Bars(quiet=as_json) as bars:
        try:
            network = run(settings, out, bars.trained, textures)
        except KeyboardInterrupt as error:
            raise ScanStoppedError(f"interrupted; the same command goes on from {out}") from error
    click.echo(json.dumps({"network": str(network)}) if as_json else f"Network: {network}")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_json_option
def stitch(folder: Path, as_json: bool) -> None:
    """Make the virtual slide again from a fields FOLDER. No instrument is needed.

    \b
    Examples:
      parfocal stitch my-slide
    """
    from parfocal.slide.stitch import stitch as run

    with _terminable(), _Bars(quiet=as_json) as bars:
        result = run(folder, bars.stitched)
    figures = {
        "slide": result.slide_path.name,
        "width_px": result.shape[1],
        "height_px": result.shape[0],
        "seams": result.seams,
        "accepted": result.accepted,
        "rms_error_px": result.rms_error_px,
        "max_error_px": result.max_error_px,
    }
    _show(figures, as_json)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@_json_option
def info(path: Path, as_json: bool) -> None:
    """Describe a slide file, or a fields folder.

    \b
    Examples:
      parfocal info my-slide
      parfocal info my-slide/slide.ome.tif --json
    """
    from parfocal import api

    _show(api.describe(path), as_json)


@cli.group()
def benchmark() -> None:
    """Measure the figures that the documentation claims."""


@benchmark.command()
@_json_option
def backlash(as_json: bool) -> None:
    """Achieved Δ over a backlash of 0 to 25 µm, with our approach and with the paper's printed constants.

    \b
    Examples:
      parfocal benchmark backlash
    """
    from parfocal.benchmark.backlash import achieved_deltas

    rows = achieved_deltas()
    if as_json:
        click.echo(json.dumps({"rows": rows}, indent=2))
        return
    click.echo("achieved Δ in µm, of 3 µm commanded; the stage is set up for its backlash, for 20 µm, or as printed")
    click.echo("backlash      fitted   for 20 µm   as printed")
    for row in rows:
        values = (row["corrected_um"], row["configured_um"], row["as_printed_um"])
        click.echo(f"{row['backlash_um']:5.0f} µm   {values[0]:9.2f}   {values[1]:9.2f}   {values[2]:10.2f}")


def _show(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    width = max(map(len, values))
    for name, value in values.items():
        click.echo(f"{name.replace('_', ' '):{width}}  {value}")


@contextmanager
def _terminable() -> Iterator[None]:
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


class _Bars:
    """Progress on stderr, one bar at a time, with the time that is left."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._bar: Any = None
        self._name = ""

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def scanned(self, progress: ScanProgress) -> None:
        per_field = progress.images / progress.fields_done
        note = f"{per_field:.1f} images a field, {progress.in_doubt} in doubt"
        self._show("scanning", progress.fields_done, progress.fields, note)

    def stitched(self, what: str, done: int, total: int) -> None:
        self._show(what, done, total, "")

    def trained(self, what: str, done: int, total: int, note: str) -> None:
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
