"""Commands around the network: train, evaluate."""

from __future__ import annotations

import json
from pathlib import Path

import click

from parfocal.cli.terminal import Bars, json_option, network_option, terminable
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


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@network_option
@click.option("--delta-planes", type=click.IntRange(min=1), help="Δ as a number of planes, instead of by value of z.")
@click.option("--um-per-step", type=float, help="µm of a step, for stacks in steps.")
@click.option("--plot", type=click.Path(path_type=Path), help="PNG to draw error over defocus and confidence into.")
@json_option
def evaluate(
    path: Path,
    network: Path | None,
    delta_planes: int | None,
    um_per_step: float | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure a network on z-stacks whose focus is known.

    PATH is a folder with stack.json, a folder of such folders, a simulated set, or the public set's root. Each pair of
    frames that are Δ apart (2 µm at 20X/0.75, or what looks the same at the stack's own lens) gives one prediction.
    Stacks in steps of unknown size are judged by order and direction only.

    \b
    Examples:
      parfocal evaluate my-stack
      parfocal evaluate my-stack --plot errors.png --json
      parfocal evaluate stack-in-steps --delta-planes 1
    """
    from parfocal.config import shipped_network
    from parfocal.evaluation.report import as_text
    from parfocal.evaluation.report import evaluate as run
    from parfocal.evaluation.sources import read_parts

    with terminable(), Bars(quiet=as_json) as bars:
        evaluation = run(
            read_parts(path),
            network or shipped_network(),
            delta_planes=delta_planes,
            um_per_step=um_per_step,
            on_progress=bars.stitched,
        )
        if plot is not None:
            from parfocal.evaluation.plots import draw_evaluation

            draw_evaluation(evaluation.stacks, plot)
    click.echo(json.dumps(evaluation.to_json(), indent=2) if as_json else as_text(evaluation))
