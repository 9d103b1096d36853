"""The command that measures an instrument: calibrate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from parfocal.cli.terminal import Bars, json_option, lamp_attended, network_option, terminable

_STEPS = ("backlash", "stage", "settle", "optics", "light", "noise", "start")


@click.command()
@click.argument("step", required=False, type=click.Choice(_STEPS))
@click.option("--microscope", default="simulated-20x", show_default=True, help="Built-in name, or path of a TOML file.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Calibration file.  [default: NAME.calibration.json]"
)
@click.option(
    "--repeats", type=click.IntRange(1, 100), default=10, show_default=True, help="Pairs of sweeps: backlash."
)
@click.option("--specimen", default="blood-smear", show_default=True, help="Under a simulated microscope.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of specimen, errors and noise, if simulated.")
@network_option
@json_option
def calibrate(
    step: str | None,
    microscope: str,
    out: Path | None,
    repeats: int,
    specimen: str,
    seed: int,
    network: Path | None,
    as_json: bool,
) -> None:
    """Measure an instrument and keep the figures in a file that `scan --calibration` takes over.

    Without STEP all of them run. Each is kept as soon as it is measured; the others in the file stay as they are.

    \b
    Steps:
      backlash  z backlash, by focus curves up and down; play or hysteresis
      stage     x-y backlash, pixel size and rotation, by image shifts
      settle    how long the picture changes after a move
      optics    depth of field and delta, from the objective
      light     illumination and white balance
      noise     what noise makes of a difference; the empty level
      start     how far below the pivot a pair begins, by the network's error here
    \b
    Exit codes: 0 finished, 2 bad input, 3 stopped (the steps so far are kept).
    \b
    Examples:
      parfocal calibrate --microscope my-microscope.toml
      parfocal calibrate backlash --microscope my-microscope.toml --json
      parfocal scan my-microscope.toml --calibration my-microscope.calibration.json --out my-slide
    """
    from parfocal import api

    with (
        terminable(),
        api.open_microscope(microscope, specimen, seed) as instrument,
        lamp_attended(instrument),
        Bars(quiet=as_json) as bars,
    ):
        report = api.calibrate(
            instrument,
            None if step is None else [step],
            out,
            repeats=repeats,
            network=network,
            on_progress=lambda name, done, total: bars.stitched(name, done, total),
        )
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _show_report(report)


def _show_report(report: dict[str, Any]) -> None:
    if "backlash_um" in report:
        click.echo(f"z backlash       {_spread(report['backlash_um'])}; after a reversal: {report['plateau']}")
    if "xy_backlash_um" in report:
        for axis, spread in zip("xy", report["xy_backlash_um"], strict=True):
            click.echo(f"{axis} backlash       {_spread(spread)}")
        pixel = f"{report['pixel_size_um']:.5f} µm ± {report['pixel_size_error']:.2%}"
        click.echo(
            f"pixel            {pixel}, turned by {report['rotation_deg']:+.3f}°, shear {report['shear_deg']:+.3f}°"
        )
        click.echo(f"stage            {report['stage_error_um']:.1f} µm that do not repeat")
    if "differences" in report:
        settle_s = report["settle_s"]
        click.echo("settle time      " + ("never still" if settle_s is None else f"{1000 * settle_s:.0f} ms"))
    if "delta_um" in report:
        click.echo(f"depth of field   {report['depth_of_field_um']:.2f} µm; Δ of {report['delta_um']:g} µm suits it")
    if "gains" in report:
        gains = ", ".join(f"{gain:.3f}" for gain in report["gains"])
        click.echo(f"white balance    {gains}; corners at {min(report['corner']):.0%} of the middle's light")
    if "empty_sd" in report:
        click.echo(
            f"noise            {report['noise_sd']:.2f} grey levels; difference {report['difference_floor']:.2f}, "
            f"empty below {report['empty_sd']:.2f}"
        )
    if "start_below_um" in report:
        error = f"{report['expected_error_um']:.2f} µm of error to expect"
        click.echo(f"start of a pair  {report['start_below_um']:g} µm below the pivot, {error}")
    click.echo(f"\n{report['images']} exposures. Calibration: {report['file']}")
    for picture in report["pictures"]:
        click.echo(f"Picture: {picture}")


def _spread(spread: dict[str, float]) -> str:
    return f"{spread['mean']:.2f} µm, sd {spread['sd']:.2f}, largest {spread['max']:.2f}"
