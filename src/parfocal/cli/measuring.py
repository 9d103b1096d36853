"""Commands that measure what the documentation claims: benchmark."""

from __future__ import annotations

import json

import click

from parfocal.cli.terminal import json_option


@click.group()
def benchmark() -> None:
    """Measure the figures that the documentation claims."""


@benchmark.command()
@json_option
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
