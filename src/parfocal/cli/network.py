"""Commands around the network: train."""

from __future__ import annotations

import json
from pathlib import Path

import click

from parfocal.cli.terminal import Bars, json_option
from parfocal.errors import ScanStoppedError, SettingsError


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for pairs, checkpoint, network.")
@click.option("--textures", type=click.Path(path_type=Path), help="Folder of the images that RECIPE names.")
@json_option
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
    with Bars(quiet=as_json) as bars:
        try:
            network = run(settings, out, bars.trained, textures)
        except KeyboardInterrupt as error:
            raise ScanStoppedError(f"interrupted; the same command goes on from {out}") from error
    click.echo(json.dumps({"network": str(network)}) if as_json else f"Network: {network}")
