"""The command that breaks things on purpose: benchmark faults."""

from __future__ import annotations

import json
from pathlib import Path

import click

from parfocal import __version__
from parfocal.cli.terminal import Bars, json_option, terminable
from parfocal.errors import ParfocalError


@click.command()
@click.option("--quick", is_flag=True, help="Eight kills and each fifth fault.")
@click.option("--kills", type=click.IntRange(min=0), help="How many.  [default: 200; 8 with --quick]")
@click.option("--endurance", type=click.IntRange(min=100), help="Instead: a scan of so many fields, and its memory.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to work.  [default: the system's]")
@json_option
def faults(quick: bool, kills: int | None, endurance: int | None, folder: Path | None, as_json: bool) -> None:
    """Is anything lost? Kills at random instants, and a matrix of faults of devices, disk and network files.

    A small painted slide is scanned, stitched and exported by processes that are killed, gone on with, and compared
    with a scan that was left alone. Then, one after the other, camera, stages, lamp, disk and network go wrong in every
    way that `parfocal.devices.faulty` knows. Last, what it costs to have a field on disk. POSIX only.

    \b
    Exit codes: 0 what is promised held, 3 it did not. The writer's time is not judged with --quick.
    \b
    Examples:
      parfocal benchmark faults --quick
      parfocal benchmark faults --json
      parfocal benchmark faults --endurance 100000
    """
    from parfocal.benchmark.faults import KILLS, QUICK_KILLS, as_text, measure_endurance, measure_faults
    from parfocal.config import shipped_network
    from parfocal.supervisor.overseen import oversee

    with terminable(), Bars(quiet=as_json) as bars:
        if endurance:
            report = measure_endurance(endurance, bars.stitched, folder)
        else:
            count = kills if kills is not None else QUICK_KILLS if quick else KILLS
            report = measure_faults(
                shipped_network(), oversee, count, quick=quick, progress=bars.stitched, parent=folder
            )
    click.echo(json.dumps({**report.to_json(), "version": __version__}, indent=2) if as_json else as_text(report))
    if report.broken_promises:
        raise ParfocalError(f"not as promised: {', '.join(report.broken_promises)}")
