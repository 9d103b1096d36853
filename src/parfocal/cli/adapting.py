"""The command that measures adapters: benchmark adapters."""

from __future__ import annotations

import json

import click

from parfocal import __version__
from parfocal.cli.scanning import AREA
from parfocal.cli.terminal import Bars, json_option, terminable
from parfocal.errors import SettingsError


@click.command()
@click.argument("microscope", default="simulated-20x")
@click.option("--adapter", "names", multiple=True, help="Only this one; as often as wanted.")
@click.option("--area", type=AREA, default=(1.5, 1.2), help="Width and height in mm.  [default: 1.5x1.2]")
@click.option("--specimen", default="he-tissue", show_default=True, help="Under the simulated microscope.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of specimen, errors and noise.")
@json_option
def adapters(
    microscope: str, names: tuple[str, ...], area: tuple[float, float], specimen: str, seed: int, as_json: bool
) -> None:
    """Scan with a simulated microscope directly and through each adapter: focus, and time in the adapter.

    MICROSCOPE is a simulated one. The instrument, its specimen and its errors are the same each time; the devices of
    the adapter are ours, emulated (see `docs/microscopes.md`).

    \b
    Examples:
      parfocal benchmark adapters
      parfocal benchmark adapters --adapter micromanager --area 0.5x0.4 --json
    """
    from parfocal.benchmark.adapters import as_text, measure_adapters
    from parfocal.config import open_microscope
    from parfocal.config.tables import read_instrument_file
    from parfocal.devices.base import Truth
    from parfocal.devices.microscope import Microscope
    from parfocal.scan.plan import plan_scan

    if read_instrument_file(microscope).kind != "simulated":
        raise SettingsError(f"{microscope} is not a simulated microscope: nobody knows whether it is in focus")
    instrument = open_microscope(microscope, specimen, seed)
    camera, settings = instrument.microscope.camera, instrument.settings
    limits_um = instrument.microscope.xy.limits_um
    plan = plan_scan(area, camera.frame_shape, camera.pixel_size_um, settings.neighbour_error_um, limits_um)

    def opened() -> tuple[Microscope, Truth]:
        anew = open_microscope(microscope, specimen, seed)
        assert anew.truth is not None  # as it was before
        return anew.microscope, anew.truth

    with terminable(), Bars(quiet=as_json) as bars:
        rows = measure_adapters(opened, settings, instrument.predictor(), plan, names, bars.stitched)
    if as_json:
        told = {"microscope": microscope, "specimen": specimen, "seed": seed, "version": __version__}
        click.echo(json.dumps({**told, "rows": [row.to_json() for row in rows]}, indent=2))
    else:
        click.echo(as_text(rows))
