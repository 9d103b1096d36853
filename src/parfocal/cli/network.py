"""Commands around the network: train, synthesize, evaluate."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parfocal.cli.terminal import (
    Bars,
    jobs_option,
    json_option,
    lens_option,
    network_option,
    renderer_option,
    show,
    terminable,
    tiles_option,
)
from parfocal.errors import FileError, ScanStoppedError, SettingsError

if TYPE_CHECKING:
    from parfocal.stacks.protocol import LensName, Protocol
    from parfocal.stacks.simulated import Renderer

_SHIPPED = "shipped"
"""Stands for the network that comes with Parfocal."""


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for pairs, checkpoint, network.")
@click.option("--textures", type=click.Path(path_type=Path), help="Folder of the images that RECIPE names.")
@click.option("--pairs", type=click.Path(path_type=Path), help="Folder of rendered pairs; OUT/pairs unless told.")
@click.option("--stacks", type=click.Path(path_type=Path), help="Stacks to train on, for a recipe by the paper.")
@click.option(
    "--from",
    "begin_from",
    type=click.Path(path_type=Path),
    help="Network to train further on --stacks: a file, or shipped.",
)
@click.option("--resume", is_flag=True, help="Go on from OUT's checkpoint, and refuse to begin anew if there is none.")
@click.option("--device", help="Where to train, such as cpu or cuda:1; the fastest there is unless told.")
@json_option
def train(
    recipe: Path,
    out: Path,
    textures: Path | None,
    pairs: Path | None,
    stacks: Path | None,
    begin_from: Path | None,
    resume: bool,
    device: str | None,
    as_json: bool,
) -> None:
    """Train a focus network by RECIPE (a TOML file) and export it to OUT/network.onnx.

    Needs the `train` extra (torch). Running the same command again goes on where it stopped. A recipe by the paper
    trains on z-stacks: the public set's root, or a folder of stack.json folders.

    \b
    Examples:
      parfocal train runs/first-network.toml --out training
      torchrun --nproc-per-node 2 -m parfocal train runs/first-network.toml --out training
      parfocal train runs/paper.toml --stacks jiang-2018 --out paper
      parfocal train runs/paper.toml --stacks jiang-2018 --out paper --resume
      parfocal train runs/fine-tune.toml --stacks my-stacks --from shipped --out mine
    """
    from parfocal.config import shipped_network
    from parfocal.training.recipe import BandsRecipe, PaperRecipe, read_recipe

    settings = read_recipe(recipe)
    try:
        from parfocal.training.checkpoint import CHECKPOINT_FILE
        from parfocal.training.device import choose_device
        from parfocal.training.pairs import read_training_stacks
        from parfocal.training.phases import train_by_phases
        from parfocal.training.team import join_team
        from parfocal.training.train import train as train_by_stages
        from parfocal.training.train_bands import train_bands
    except ModuleNotFoundError as error:
        raise SettingsError(f"training needs {error.name}: install parfocal[train]") from error
    if resume and not (out / CHECKPOINT_FILE).is_file():
        raise FileError(f"{out}: holds no checkpoint to go on from")
    where, team = choose_device(device), join_team()
    with Bars(quiet=as_json or not team.leads) as bars:
        try:
            if isinstance(settings, PaperRecipe):
                if stacks is None:
                    raise SettingsError(f"{recipe} trains on z-stacks: say where with --stacks DIR")
                if pairs is not None or textures is not None:
                    raise SettingsError(f"{recipe} trains on z-stacks: --pairs and --textures do not apply")
                part = read_training_stacks(stacks)
                begin_from = shipped_network() if begin_from == Path(_SHIPPED) else begin_from
                trained = train_by_phases(settings, part, out, bars.trained, where, begin_from, team)
                network, told = trained.network, {} if trained.before is None else {"before": asdict(trained.before)}
                told["held_out"] = asdict(trained.held_out)
            else:
                if stacks is not None or begin_from is not None:
                    raise SettingsError(f"{recipe} trains on simulated pairs: --stacks and --from do not apply")
                told = {}
                if not isinstance(settings, BandsRecipe):
                    network = train_by_stages(settings, out, bars.trained, textures, where, pairs, team)
                elif team.size > 1:
                    raise SettingsError(f"{recipe} trains in minutes: it is not made for {team.size} processes")
                else:
                    network = train_bands(settings, out, bars.trained, textures, where, pairs)
        except KeyboardInterrupt as error:
            raise ScanStoppedError(f"interrupted; the same command goes on from {out}") from error
    if not team.leads:
        return
    if as_json:
        click.echo(json.dumps({"network": str(network), **told}))
        return
    for when, held_out in told.items():
        error_um, wrong = held_out["mean_abs_um"], held_out["wrong_direction"]
        name = "Held-out slides" if when == "held_out" else "Before"
        click.echo(f"{name}: mean |error| {error_um:.3f} µm, wrong direction {wrong:.1%} (single patches)")
    click.echo(f"Network: {network}")


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


@click.command()
@click.option("--protocol", type=click.Choice(["same", "different"]), required=True, help="As in training, or not.")
@click.option("--fields", type=click.IntRange(min=1), required=True, help="Number of stacks.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything drawn.")
@renderer_option
@lens_option
@click.option(
    "--textures", type=click.Path(path_type=Path), help="Folder of images to make a third of the stacks from."
)
@tiles_option
@jobs_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the set.")
@json_option
def synthesize(
    protocol: Protocol,
    fields: int,
    seed: int,
    renderer: Renderer,
    lens: LensName,
    textures: Path | None,
    tiles: tuple[int, int],
    jobs: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Render simulated z-stacks to test networks on: best focus known, 41 planes each, ±10 µm at 20X/0.75.

    Stains, optics and noise are those of training (same), or others on other kinds of specimen (different). Stacks
    through 40X/0.65 have 51 planes over ±25 µm, those through another lens look like those at 20X/0.75. The light
    is an Abbe sum through many slices, minutes a stack, or the fast light that also renders training pairs. The same
    command goes on where it was interrupted, or adds stacks to the set.

    \b
    Examples:
      parfocal synthesize --protocol same --fields 20 --seed 1 --out same-1
      parfocal synthesize --protocol different --fields 20 --seed 1 --textures my-images --out different-1
      parfocal synthesize --protocol same --fields 2 --tiles 1x1 --renderer fast --out quick
      parfocal synthesize --protocol same --fields 20 --seed 1 --lens 40x0.65 --out same-40x
    """
    from parfocal.stacks.simulated import SetSettings, find_images
    from parfocal.stacks.simulated import synthesize as run

    images = find_images(textures) if textures is not None else ()
    settings = SetSettings(protocol, seed, renderer, tiles, images, lens)
    with terminable(), Bars(quiet=as_json) as bars:
        run(out, settings, fields, jobs, bars.stitched)
    told = {"set": str(out), "protocol": protocol, "stacks": fields, "seed": seed, "renderer": renderer, "lens": lens}
    show(told, as_json)
