"""Train a focus network on simulated pairs: synthesise, train stage by stage, keep the best, export.

Everything is under one folder, and running again with the same folder goes on where it stopped.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from parfocal.errors import FileError
from parfocal.focus.difference import standardise
from parfocal.training.export import export_onnx
from parfocal.training.loss import weighted_loss
from parfocal.training.model import FocusNet, ModelSettings
from parfocal.training.recipe import Recipe, Stage
from parfocal.training.synthesis import Pairs, read_pairs, synthesise

_VALIDATION_STRIDE = 4
_GREY_SHARE = 0.15

Progress = Callable[[str, int, int, str], None]
"""Called with what is being done, how much of it is done, of how much, and a remark."""


@dataclass(frozen=True)
class Validation:
    """Error on held-out specimens, patch by patch, in units of u."""

    mean_abs_u: float
    near_mean_abs_u: float
    wrong_direction: float


@dataclass
class _Place:
    """Where training is: stage, batches done in it, and how good the network was at the end of each epoch."""

    stage: int = 0
    batch: int = 0
    history: tuple[dict[str, Any], ...] = ()


def train(recipe: Recipe, out: Path, progress: Progress) -> Path:
    """Train a network by a recipe and export it.

    Args:
        recipe: what to do.
        out: folder for pairs, checkpoint and network; what is there already is not done again.
        progress: is told how it goes.

    Returns:
        Path of the ONNX file.

    Raises:
        FileError: if the folder cannot be written, or holds the checkpoint of another recipe.
    """
    try:
        (out / "pairs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"training folder {out} cannot be made: {error.strerror}") from error
    net, place, optimiser_state = _start(recipe, out)
    shards = _synthesise_all(recipe, out / "pairs", progress)
    held_out = recipe.synthesis.validation_shards
    fresh, known = shards[held_out:], shards[:held_out]
    for index in range(place.stage, len(recipe.stages)):
        stage = recipe.stages[index]
        if net.settings.patch_px != stage.patch_px:
            net = net.resized(stage.patch_px)
        if place.stage != index:
            place, optimiser_state = _Place(index, 0, place.history), None
        _run_stage(net, stage, place, optimiser_state, (fresh, known), recipe, out, progress)
    contract = {"history": list(place.history), "recipe": recipe.model_dump(mode="json")}
    return export_onnx(net, out / "network.onnx", contract)


def _synthesise_all(recipe: Recipe, folder: Path, progress: Progress) -> list[Pairs]:
    """All shards, rendered by one process per core."""
    settings = recipe.synthesis
    jobs = [(folder, shard, settings.specimens_per_shard, recipe.seed) for shard in range(settings.shards)]
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, len(jobs))) as pool:
        paths = []
        for path in pool.imap(_synthesise_job, jobs):
            paths.append(path)
            progress("rendering pairs", len(paths), len(jobs), "")
    return [read_pairs(path) for path in paths]


def _synthesise_job(job: tuple[Path, int, int, int]) -> Path:
    return synthesise(*job)


def _run_stage(
    net: FocusNet,
    stage: Stage,
    place: _Place,
    optimiser_state: dict[str, Any] | None,
    shards: tuple[list[Pairs], list[Pairs]],
    recipe: Recipe,
    out: Path,
    progress: Progress,
) -> None:
    fresh, known = shards
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), lr=stage.learning_rate, weight_decay=recipe.weight_decay)
    if optimiser_state is not None:
        optimiser.load_state_dict(optimiser_state)
    net.tied = False  # the stage before may have been tied, at the same patch size
    if stage.tied:
        net.tie()
    what, running = f"stage {place.stage + 1}, {stage.patch_px} px", math.nan
    net.train()
    last = min(stage.batches, stage.stop_after or stage.batches)
    while place.batch < last:
        rng = np.random.default_rng((recipe.seed, place.stage, place.batch))
        until = min(last, (place.batch // recipe.validate_every + 1) * recipe.validate_every)
        chosen = _choose(fresh, recipe.batch * (until - place.batch), stage, rng)
        for patches, defocus, sd in _batches(fresh, chosen, recipe.batch, stage.patch_px, rng):
            for group in optimiser.param_groups:
                group["lr"] = stage.learning_rate * _schedule(place.batch / stage.batches)
            loss = weighted_loss(net(patches), defocus, sd, by_distance=stage.by_distance)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            running = loss.item() if math.isnan(running) else 0.99 * running + 0.01 * loss.item()
            place.batch += 1
            if place.batch % 20 == 0:
                progress(what, place.batch, last, f"loss {running:.4f}")
        result = validate(net, known)
        net.train()
        entry = {"stage": place.stage, "batch": place.batch, "loss": running, **asdict(result)}
        place.history = (*place.history, entry)
        note = f"held out {result.mean_abs_u:.3f} u, near {result.near_mean_abs_u:.3f}"
        progress(what, place.batch, last, note)
        _save(net, optimiser, place, recipe, out)


def _schedule(done: float) -> float:
    """Rises over the first twentieth, then falls as a cosine to a hundredth."""
    return min(done / 0.05, 1.0) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _choose(shards: list[Pairs], count: int, stage: Stage, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count, 2) shard and row of pairs in random order; no pair comes twice before all came once."""
    known = np.concatenate([np.stack([np.full(len(p), i), np.arange(len(p))], 1) for i, p in enumerate(shards)])
    if stage.near_u is not None:
        defocus = np.concatenate([p.defocus_u for p in shards])
        near = (defocus >= stage.near_u[0]) & (defocus <= stage.near_u[1])
        known = known[near | (rng.random(len(known)) < stage.far_share)]
    rounds = [rng.permutation(known) for _ in range(-(-count // len(known)))]
    return np.concatenate(rounds)[:count]


def _batches(
    shards: list[Pairs], chosen: NDArray[np.int64], size: int, patch_px: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Minibatches of the chosen pairs, cropped, turned and flipped at random; a few made grey."""
    for start in range(0, len(chosen), size):
        batch = chosen[start : start + size]
        patches = np.stack([_augment(shards[shard].difference[row], patch_px, rng) for shard, row in batch])
        defocus = np.array([shards[shard].defocus_u[row] for shard, row in batch], dtype=np.float32)
        sd = np.array([shards[shard].sd[row] for shard, row in batch], dtype=np.float32)
        tensor = torch.from_numpy(patches).contiguous(memory_format=torch.channels_last)
        yield tensor, torch.from_numpy(defocus), torch.from_numpy(sd)


def _augment(image: NDArray[np.int8], patch_px: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random crop of a difference image, turned and flipped, standardised: float32 (3, P, P)."""
    top, left = rng.integers(0, image.shape[0] - patch_px + 1, 2)
    crop = np.rot90(image[top : top + patch_px, left : left + patch_px], int(rng.integers(4)))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < _GREY_SHARE:
        crop = np.repeat(crop.astype(np.int16).mean(axis=2, keepdims=True), 3, axis=2).astype(np.int16)
    return standardise(crop)


def validate(net: FocusNet, shards: list[Pairs]) -> Validation:
    """Error of a network on every fourth pair, the central crop of each; weights are not used."""
    net.eval()
    size, errors, truth = net.settings.patch_px, [], []
    with torch.no_grad():
        for pairs in shards:
            edge = (pairs.difference.shape[1] - size) // 2
            rows = np.arange(0, len(pairs), _VALIDATION_STRIDE)
            for chosen in np.array_split(rows, -(-len(rows) // 32)):
                crops = pairs.difference[chosen, edge : edge + size, edge : edge + size]
                patches = torch.from_numpy(np.stack([standardise(crop) for crop in crops]))
                predicted = net(patches.contiguous(memory_format=torch.channels_last)).numpy()
                errors.append(predicted - pairs.defocus_u[chosen])
                truth.append(pairs.defocus_u[chosen])
    error, defocus = np.concatenate(errors), np.concatenate(truth)
    near, far = np.abs(defocus) <= 8, np.abs(defocus) > 1
    wrong = np.sign(defocus + error) != np.sign(defocus)
    return Validation(float(np.abs(error).mean()), float(np.abs(error[near]).mean()), float(wrong[far].mean()))


def _save(net: FocusNet, optimiser: torch.optim.Optimizer, place: _Place, recipe: Recipe, out: Path) -> None:
    """Write the checkpoint aside, then rename: a kill leaves the old one or the new one."""
    state = {
        "net": net.state_dict(),
        "optimiser": optimiser.state_dict(),
        "stage": place.stage,
        "batch": place.batch,
        "history": list(place.history),
        "recipe": recipe.model_dump(mode="json"),
    }
    aside = out / "checkpoint.new"
    torch.save(state, aside)
    aside.replace(out / "checkpoint.pt")


def _start(recipe: Recipe, out: Path) -> tuple[FocusNet, _Place, dict[str, Any] | None]:
    """Network, place and optimiser's state: of the checkpoint if there is one, else of a beginning."""
    torch.manual_seed(recipe.seed)
    path = out / "checkpoint.pt"
    if not path.exists():
        return FocusNet(ModelSettings(recipe.alpha, recipe.stages[0].patch_px)), _Place(), None
    try:
        state = torch.load(path, weights_only=True)
        # Through the model, so that a key which came later counts with its default.
        made_by = Recipe.model_validate(state["recipe"])
    except (UnpicklingError, RuntimeError, EOFError, KeyError, ValidationError) as error:
        # The message of a failed load is a page of advice to programmers.
        raise FileError(f"checkpoint {path} cannot be read: it is damaged ({type(error).__name__})") from error
    if made_by != recipe:
        raise FileError(f"checkpoint {path} was made by another recipe: choose another folder, or that recipe")
    place = _Place(state["stage"], state["batch"], tuple(state["history"]))
    net = FocusNet(ModelSettings(recipe.alpha, recipe.stages[place.stage].patch_px))
    net.load_state_dict(state["net"])
    return net, place, state["optimiser"]
