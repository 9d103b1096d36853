"""Train a focus network on simulated pairs: synthesise, train stage by stage, keep the best, export.

Everything is under one folder, and running again with the same folder goes on where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parfocal.focus.difference import PREPARATIONS
from parfocal.training.checkpoint import read_checkpoint, write_checkpoint
from parfocal.training.export import export_onnx
from parfocal.training.loss import sample_weight, weighted_loss
from parfocal.training.model import FocusNet, ModelSettings
from parfocal.training.recipe import Recipe, Stage
from parfocal.training.shards import Progress, claim_pairs, find_textures, make_folders, render_all
from parfocal.training.synthesis import GREY_SHARE, Chains, made_grey
from parfocal.training.team import ALONE, Team

_VALIDATION_STRIDE = 4
_SPECTRUM_SHARE = 0.4


@dataclass(frozen=True)
class Validation:
    """Error on held-out specimens, patch by patch, in units of u."""

    mean_abs_u: float
    near_mean_abs_u: float
    wrong_direction: float

    @staticmethod
    def of(predicted: NDArray[np.float32], truth: NDArray[np.float32]) -> Validation:
        """Of predicted and true defocus (N,), in units of u; directions count beyond 1 u of focus."""
        error, near, far = np.abs(predicted - truth), np.abs(truth) <= 8, np.abs(truth) > 1
        wrong = np.sign(predicted) != np.sign(truth)
        return Validation(float(error.mean()), float(error[near].mean()), float(wrong[far].mean()))


@dataclass
class _Place:
    """Where training is: stage, batches done in it, and how good the network was at the end of each epoch."""

    stage: int = 0
    batch: int = 0
    history: tuple[dict[str, Any], ...] = ()


def train(
    recipe: Recipe,
    out: Path,
    progress: Progress,
    textures: Path | None = None,
    device: torch.device | None = None,
    pairs: Path | None = None,
    team: Team = ALONE,
) -> Path:
    """Train a network by a recipe and export it.

    Args:
        recipe: what to do.
        out: folder for pairs, checkpoint and network; what is there already is not done again.
        progress: is told how it goes.
        textures: folder of the recipe's textures; None if it names none.
        device: where to train; the CPU if None.
        pairs: folder of rendered pairs, which recipes with the same seed and synthesis may share; `out`/pairs if None.
        team: the processes that train together.

    Returns:
        Path of the ONNX file.

    Raises:
        FileError: if the folder cannot be written or holds the checkpoint of another recipe, or a texture is missing.
        SettingsError: if the pairs in their folder are those of another seed or synthesis.
    """
    pairs = make_folders(out, pairs)
    net, place, optimiser_state = _start(recipe, out)
    if team.leads:
        claim_pairs(pairs, recipe)
        shards = render_all(recipe, pairs, find_textures(recipe, textures), progress)
    team.wait()
    if not team.leads:
        shards = render_all(recipe, pairs, find_textures(recipe, textures), progress)
    held_out = recipe.synthesis.validation_shards
    fresh, known = shards[held_out:], shards[:held_out]
    for index in range(place.stage, len(recipe.stages)):
        stage = recipe.stages[index]
        if net.settings.patch_px != stage.patch_px:
            net = net.cpu().resized(stage.patch_px)
        net = net.to(device or "cpu")
        if place.stage != index:
            place, optimiser_state = _Place(index, 0, place.history), None
        _run_stage(net, stage, place, optimiser_state, (fresh, known), recipe, out, progress, team)
    contract = {"history": list(place.history), "recipe": recipe.model_dump(mode="json")}
    network = out / "network.onnx"
    if team.leads:
        export_onnx(net, network, contract, delta_u=recipe.synthesis.delta_u)
    team.wait()
    return network


def _run_stage(
    net: FocusNet,
    stage: Stage,
    place: _Place,
    optimiser_state: dict[str, Any] | None,
    shards: tuple[list[Chains], list[Chains]],
    recipe: Recipe,
    out: Path,
    progress: Progress,
    team: Team,
) -> None:
    fresh, known = shards
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), lr=stage.learning_rate, weight_decay=recipe.weight_decay)
    if optimiser_state is not None:
        optimiser.load_state_dict(optimiser_state)
    net.tied = False  # the stage before may have been tied, at the same patch size
    if stage.tied:
        net.tie()
    device = net.head.weight.device
    team.normalise(net, device)
    together = team.together(net, device)
    what, running = f"stage {place.stage + 1}, {stage.patch_px} px", math.nan
    net.train()
    last = min(stage.batches, stage.stop_after or stage.batches)
    while place.batch < last:
        rng = np.random.default_rng((recipe.seed, place.stage, place.batch))
        until = min(last, (place.batch // recipe.validate_every + 1) * recipe.validate_every)
        chosen = _choose(fresh, recipe.batch * (until - place.batch), stage, rng)
        if team.size > 1:
            rng = np.random.default_rng((recipe.seed, place.stage, place.batch, team.rank))
        for patches, defocus, sd in _batches(fresh, chosen, recipe, stage.patch_px, rng, team):
            for group in optimiser.param_groups:
                group["lr"] = stage.learning_rate * schedule(place.batch / stage.batches)
            patches, defocus, sd = (tensor.to(device) for tensor in (patches, defocus, sd))
            weight = sd if recipe.by_content else torch.ones_like(sd)
            by_distance = stage.by_distance
            loss = weighted_loss(together(patches), defocus, weight, by_distance=by_distance, per_sample=recipe.loss)
            loss = loss * team.part_of(sample_weight(defocus, weight, by_distance=by_distance).sum())
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            running = loss.item() if math.isnan(running) else 0.99 * running + 0.01 * loss.item()
            place.batch += 1
            if place.batch % 20 == 0:
                progress(what, place.batch, last, f"loss {running:.4f}")
        if not team.leads:
            continue
        result = validate(net, known, recipe.input)
        net.train()
        entry = {"stage": place.stage, "batch": place.batch, "loss": running, **asdict(result)}
        place.history = (*place.history, entry)
        note = f"held out {result.mean_abs_u:.3f} u, near {result.near_mean_abs_u:.3f}"
        progress(what, place.batch, last, note)
        _save(net, optimiser, place, recipe, out)


def schedule(done: float) -> float:
    """Rises over the first twentieth, then falls as a cosine to a hundredth."""
    return min(done / 0.05, 1.0) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _choose(shards: list[Chains], count: int, stage: Stage, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count, 3) shard, specimen and second frame of pairs in random order; none comes twice before all came once."""
    known = np.concatenate([_pairs_of(chains, shard) for shard, chains in enumerate(shards)])
    if stage.near_u is not None:
        defocus = np.array([shards[shard].defocus_u[row, second] for shard, row, second in known])
        near = (defocus >= stage.near_u[0]) & (defocus <= stage.near_u[1])
        known = known[near | (rng.random(len(known)) < stage.far_share)]
    rounds = [rng.permutation(known) for _ in range(-(-count // len(known)))]
    return np.concatenate(rounds)[:count]


def _pairs_of(chains: Chains, shard: int) -> NDArray[np.int64]:
    """(N, 3) shard, specimen and second frame of all pairs of a shard."""
    row, second = np.mgrid[: len(chains), 1 : chains.frames.shape[1]].reshape(2, -1)
    return np.stack([np.full_like(row, shard), row, second], axis=1)


def _batches(
    shards: list[Chains],
    chosen: NDArray[np.int64],
    recipe: Recipe,
    patch_px: int,
    rng: np.random.Generator,
    team: Team,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Minibatches of the chosen pairs, cropped, turned, flipped and changed at random."""
    for start in range(0, len(chosen), recipe.batch):
        patches, defocus, sd = [], [], []
        for shard, row, second in team.share(chosen[start : start + recipe.batch].tolist()):
            chains = shards[shard]
            pair = _crop(chains.frames[row, second - 1 : second + 1], patch_px, rng)
            patches.append(PREPARATIONS[recipe.input](pair[0], pair[1], float(chains.delta_u[row])))
            if recipe.lift_bands:
                patches[-1] = _change_spectrum(patches[-1], rng)
            defocus.append(chains.defocus_u[row, second])
            sd.append(float(pair[0].std()))
        tensor = torch.from_numpy(np.stack(patches)).contiguous(memory_format=torch.channels_last)
        yield tensor, torch.tensor(defocus, dtype=torch.float32), torch.tensor(sd, dtype=torch.float32)


def _crop(pair: NDArray[np.uint8], patch_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The same random crop of both images (2, Y, X, 3), turned and flipped; some are made grey."""
    top, left = rng.integers(0, pair.shape[1] - patch_px + 1, 2)
    crop = np.rot90(pair[:, top : top + patch_px, left : left + patch_px], int(rng.integers(4)), axes=(1, 2))
    if rng.random() < 0.5:
        crop = crop[:, :, ::-1]
    if rng.random() < GREY_SHARE:
        crop = made_grey(crop)
    return np.ascontiguousarray(crop)


def _change_spectrum(patch: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A band lifted or lowered in some patches (C, P, P), as a specimen with another spectrum would have it."""
    if rng.random() >= _SPECTRUM_SHARE:
        return patch
    image = np.ascontiguousarray(patch.transpose(1, 2, 0))
    size_px = float(np.exp(rng.uniform(np.log(0.6), np.log(4.0))))
    image = image + np.float32(rng.uniform(-0.9, 0.8)) * (image - cv2.GaussianBlur(image, (0, 0), size_px))
    scale = np.sqrt(np.mean(image[..., -3:] ** 2, axis=(0, 1)))  # of the difference, or of the mean where there is one
    scale = np.tile(np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0), image.shape[2] // 3)
    return np.asarray((image * scale).transpose(2, 0, 1), dtype=np.float32)


def validate(net: FocusNet, shards: list[Chains], preparation: str) -> Validation:
    """Error of a network on every fourth pair, the central crop of each; weights are not used."""
    net.eval()
    size, predicted, truth = net.settings.patch_px, [], []
    known = np.concatenate([_pairs_of(chains, shard) for shard, chains in enumerate(shards)])[::_VALIDATION_STRIDE]
    with torch.no_grad():
        for chosen in np.array_split(known, -(-len(known) // 32)):
            patches = []
            for shard, row, second in chosen:
                chains = shards[shard]
                edge = (chains.frames.shape[2] - size) // 2
                pair = chains.frames[row, second - 1 : second + 1, edge : edge + size, edge : edge + size]
                first, last = (np.ascontiguousarray(image) for image in pair)
                patches.append(PREPARATIONS[preparation](first, last, float(chains.delta_u[row])))
                truth.append(chains.defocus_u[row, second])
            tensor = torch.from_numpy(np.stack(patches)).contiguous(memory_format=torch.channels_last)
            predicted.append(net(tensor.to(net.head.weight.device)).cpu().numpy())
    return Validation.of(np.concatenate(predicted), np.array(truth))


def _save(net: FocusNet, optimiser: torch.optim.Optimizer, place: _Place, recipe: Recipe, out: Path) -> None:
    state = {
        "net": net.state_dict(),
        "optimiser": optimiser.state_dict(),
        "stage": place.stage,
        "batch": place.batch,
        "history": list(place.history),
    }
    write_checkpoint(out, recipe, state)


def _start(recipe: Recipe, out: Path) -> tuple[FocusNet, _Place, dict[str, Any] | None]:
    """Network, place and optimiser's state: of the checkpoint if there is one, else of a beginning."""
    torch.manual_seed(recipe.seed)
    state = read_checkpoint(out, recipe)
    if state is None:
        return FocusNet(_settings(recipe, 0)), _Place(), None
    place = _Place(state["stage"], state["batch"], tuple(state["history"]))
    net = FocusNet(_settings(recipe, place.stage))
    net.load_state_dict(state["net"])
    return net, place, state["optimiser"]


def _settings(recipe: Recipe, stage: int) -> ModelSettings:
    return ModelSettings(recipe.alpha, recipe.stages[stage].patch_px, recipe.input, recipe.architecture)
