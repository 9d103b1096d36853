"""Commands that measure what the documentation claims: benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import click

from parfocal.cli.terminal import json_option, network_option


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


@benchmark.command()
@network_option
@json_option
def inference(network: Path | None, as_json: bool) -> None:
    """Time of one field of four patches on one thread: ONNX Runtime against torch, in the same run.

    Needs the `train` extra (torch).

    \b
    Examples:
      parfocal benchmark inference
    """
    from dataclasses import asdict

    from parfocal.benchmark.inference import compare_runtimes
    from parfocal.config import shipped_network

    times = compare_runtimes(network or shipped_network())
    if as_json:
        click.echo(json.dumps(asdict(times), indent=2))
        return
    click.echo(
        f"four patches on one thread: ONNX Runtime {times.onnxruntime_ms:.1f} ms, torch eager {times.torch_ms:.1f} ms, "
        f"{times.ratio:.2f} times as long"
    )
