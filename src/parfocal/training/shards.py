"""The folder of a recipe's simulated pairs: whose they are, and rendering what is missing with all cores."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from parfocal.documents import read_json
from parfocal.errors import FileError, SettingsError
from parfocal.optics.objective import Objective
from parfocal.training.band_pairs import BandPairs, bands_of_chains, draw_band_pairs, read_band_pairs
from parfocal.training.recipe import BandsRecipe, Recipe, SynthesisSettings
from parfocal.training.synthesis import NO_TEXTURES, OBJECTIVE_20X, Chains, Textures, read_chains, synthesise

Progress = Callable[[str, int, int, str], None]
"""Called with what is being done, how much of it is done, of how much, and a remark."""


def make_folders(out: Path, pairs: Path | None) -> Path:
    """Make the folder of a training and that of its pairs, `out`/pairs unless told, and return the latter.

    Raises:
        FileError: if one cannot be made.
    """
    pairs = pairs or out / "pairs"
    try:
        out.mkdir(parents=True, exist_ok=True)
        pairs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"training folder {error.filename} cannot be made: {error.strerror}") from error
    return pairs


def claim_pairs(folder: Path, recipe: Recipe | BandsRecipe) -> None:
    """Write beside the pairs what fixes them, or check that those which are there are the recipe's.

    Raises:
        SettingsError: if they were rendered from another seed or synthesis.
        FileError: if the record cannot be read or written.
    """
    wanted, path = {"seed": recipe.seed, "synthesis": _what_is_drawn(recipe.synthesis)}, folder / "pairs.json"
    try:
        if not path.exists():
            path.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        there = read_json(path)
        # Through the model, so that a key which came later counts with its default.
        known = _what_is_drawn(SynthesisSettings.model_validate(there["synthesis"]))
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path}: does not say whose pairs these are: {error}") from error
    if {"seed": there.get("seed"), "synthesis": known} != wanted:
        raise SettingsError(f"{folder} holds pairs of another seed or synthesis: choose another folder")


def _what_is_drawn(settings: SynthesisSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude={"shards", "validation_shards"})


def find_textures(recipe: Recipe | BandsRecipe, folder: Path | None) -> Textures:
    """The recipe's textures, found in the folder."""
    settings = recipe.synthesis
    if not settings.textures:
        return NO_TEXTURES
    if folder is None:
        raise FileError(
            f"the recipe makes specimens from {len(settings.textures)} images: say where with --textures DIR"
        )
    paths = tuple(folder / name for name in settings.textures)
    for path in paths:
        if not path.is_file():
            raise FileError(f"texture {path} is missing")
    return Textures(paths, settings.textures_share)


def render_all(recipe: Recipe | BandsRecipe, folder: Path, textures: Textures, progress: Progress) -> list[Chains]:
    """All rendered shards, made by one process per core."""
    return [read_chains(path) for path in _render(recipe, folder, textures, progress)]


def _render(recipe: Recipe | BandsRecipe, folder: Path, textures: Textures, progress: Progress) -> list[Path]:
    settings, lenses = recipe.synthesis, _lenses(recipe)
    jobs = [
        partial(
            synthesise, folder, shard, settings.specimens_per_shard, recipe.seed, textures, lenses, settings.delta_u
        )
        for shard in range(settings.shards)
    ]
    return _made("rendering pairs", jobs, progress)


def bands_of_all(recipe: BandsRecipe, folder: Path, textures: Textures, progress: Progress) -> list[BandPairs]:
    """The rendered shards as a network on bands is shown them."""
    jobs = [partial(bands_of_chains, path) for path in _render(recipe, folder, textures, progress)]
    return [read_band_pairs(path) for path in _made("bands of rendered pairs", jobs, progress)]


def draw_all(recipe: BandsRecipe, folder: Path, textures: Textures, progress: Progress) -> list[BandPairs]:
    """All shards of pairs that are drawn without a picture."""
    lenses, delta_u = _lenses(recipe), recipe.synthesis.delta_u
    jobs = [
        partial(draw_band_pairs, folder, shard, recipe.seed, textures, lenses, delta_u)
        for shard in range(recipe.drawn_shards)
    ]
    return [read_band_pairs(path) for path in _made("drawing pairs", jobs, progress)]


def _lenses(recipe: Recipe | BandsRecipe) -> tuple[Objective, ...]:
    return (OBJECTIVE_20X,) if recipe.synthesis.one_lens else ()


def _made(what: str, jobs: Sequence[Callable[[], Path]], progress: Progress) -> list[Path]:
    paths = []
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, len(jobs))) as pool:
        for path in pool.imap(_run, jobs):
            paths.append(path)
            progress(what, len(paths), len(jobs), "")
    return paths


def _run(job: Callable[[], Path]) -> Path:
    return job()
