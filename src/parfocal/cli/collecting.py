"""The command that records focal stacks: collect."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parfocal.cli.scanning import AREA
from parfocal.cli.terminal import Bars, json_option, lamp_attended, terminable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parfocal.scan.collect import Collected

_BARS = "▁▂▃▄▅▆▇█"


@click.command()
@click.argument("microscope")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the stacks, of all slides.")
@click.option("--slide", help="Name of the slide under the lens.  [default: SPECIMEN-SEED]")
@click.option("--stacks", type=int, default=10, show_default=True, help="Number of places on this slide.")
@click.option("--range", "range_um", type=float, default=25.0, show_default=True, help="µm below and above the focus.")
@click.option("--step", "step_um", type=float, default=1.0, show_default=True, help="Distance of the planes in µm.")
@click.option("--area", type=AREA, default=(2.0, 2.0), help="Width and height in mm.  [default: 2x2]")
@click.option(
    "--full-frame", is_flag=True, help="Keep all of each frame, instead of its centre at the network's scale."
)
@click.option("--calibration", type=click.Path(path_type=Path), help="File of `parfocal calibrate` to go by.")
@click.option("--accept-stale", is_flag=True, help="Even if the calibration is older than 90 days.")
@click.option("--specimen", help="Under a simulated microscope, as for scan.  [default: he-tissue]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of specimen, errors and noise.")
@json_option
def collect(
    microscope: str,
    out: Path,
    slide: str | None,
    stacks: int,
    range_um: float,
    step_um: float,
    area: tuple[float, float],
    full_frame: bool,
    calibration: Path | None,
    accept_stale: bool,
    specimen: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Record focal stacks to train a network for your own instrument.

    MICROSCOPE is simulated-20x, simulated-40x, or the path of a TOML file. At places that show something, spread over
    the area, the focus is searched and the stage rises through ±25 µm in steps of 1 µm; the centre of each frame (2 × 2
    patches of 224²) is kept at the network's scale. Training holds out whole slides: collect at least two into the same
    folder. The same command goes on where it was stopped.

    \b
    Examples:
      parfocal collect simulated-20x --out stacks
      parfocal collect my-microscope.toml --out stacks --slide smear-2 --stacks 20
      parfocal collect simulated-20x --out stacks --specimen blood-smear --seed 1 --area 1x1 --json
    """
    from parfocal import api
    from parfocal.scan.collect import CollectSettings

    wanted = CollectSettings(stacks=stacks, range_um=range_um, step_um=step_um, full_frame=full_frame)
    with (
        terminable(),
        api.open_microscope(
            microscope, specimen, seed, calibration=calibration, accept_stale=accept_stale
        ) as instrument,
    ):
        name = api.slide_name(instrument) if slide is None else slide
        with lamp_attended(instrument), Bars(quiet=as_json) as bars:
            made = api.collect(instrument, out, area, wanted=wanted, slide=name, on_progress=bars.stitched)
    there = sum(
        re.fullmatch(rf"{re.escape(name)}-\d+", file.parent.name) is not None for file in out.glob("*/stack.json")
    )
    told = {"folder": str(out), "slide": name, "wanted": stacks, "there": there, "recorded": [_row(m) for m in made]}
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(_lines(made, out, name, there, stacks)))


def _row(stack: Collected) -> dict[str, Any]:
    label = stack.label
    return {
        "stack": stack.name,
        "x_um": stack.place_um[0],
        "y_um": stack.place_um[1],
        "peak_z": label.best_z,
        "suspected_z": list(label.suspected_z),
        "doubts": list(label.doubts),
        "planes": len(label.z),
    }


def _lines(made: Sequence[Collected], out: Path, slide: str, there: int, wanted: int) -> list[str]:
    width = max((len(stack.name) for stack in made), default=0)
    lines = [
        f"{stack.name:{width}}  {_curve(stack.label.score.tolist())}  peak at {stack.label.best_z:.2f} µm: "
        + ("; ".join(stack.label.doubts) or "one clear peak")
        for stack in made
    ]
    lines.append(f"{len(made)} recorded now; {there} of {wanted} stacks of {slide} are in {out}")
    if there < wanted:
        lines.append("No focus was found at more places: give a larger area.")
    doubtful = sum(bool(stack.label.doubts) for stack in made)
    lines.append(f"{doubtful} in doubt. Next: parfocal label {out} --accept-single-peaks --html review.html")
    return lines


def _curve(score: Sequence[float], most: int = 25) -> str:
    """A figure-of-merit curve in a line of text: each sign the highest of its stretch."""
    size = -(-len(score) // most)
    tops = [max(score[start : start + size]) for start in range(0, len(score), size)]
    low, high = min(score), max(tops)
    return "".join(_BARS[int((top - low) / (high - low) * (len(_BARS) - 1)) if high > low else 0] for top in tops)
