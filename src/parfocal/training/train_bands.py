"""Train a network on bands: many pairs drawn without a picture, and rendered ones among them, in every minibatch.

Everything is under one folder, and running again with the same folder goes on where it stopped.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parfocal.training.band_net import BandNet
from parfocal.training.band_pairs import BandPairs
from parfocal.training.checkpoint import read_checkpoint, write_checkpoint
from parfocal.training.device import seed_torch
from parfocal.training.export import export_onnx
from parfocal.training.loss import doubting_loss
from parfocal.training.model import ModelSettings
from parfocal.training.recipe import BandsRecipe
from parfocal.training.shards import Progress, bands_of_all, claim_pairs, draw_all, find_textures, make_folders
from parfocal.training.train import Validation, schedule

_CHECKPOINT_EVERY_S = 120.0


@dataclass
class _Place:
    """Where training is: epoch, batches done in it, the sum of their losses, and what was found after each epoch."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


def train_bands(
    recipe: BandsRecipe,
    out: Path,
    progress: Progress,
    textures: Path | None = None,
    device: torch.device | None = None,
    pairs: Path | None = None,
) -> Path:
    """Train a network on bands by a recipe and export it.

    Args:
        recipe: what to do.
        out: folder for pairs, checkpoint and network; what is there already is not done again.
        progress: is told how it goes.
        textures: folder of the recipe's textures; None if it names none.
        device: where to train; the CPU if None.
        pairs: folder of the pairs, which recipes with the same seed and synthesis may share; `out`/pairs if None.

    Returns:
        Path of the ONNX file.

    Raises:
        FileError: if the folder cannot be written or holds the checkpoint of another recipe, or a texture is missing.
        SettingsError: if the pairs in their folder are those of another seed or synthesis.
    """
    pairs = make_folders(out, pairs)
    state = read_checkpoint(out, recipe)
    claim_pairs(pairs, recipe)
    images, held_out = find_textures(recipe, textures), recipe.synthesis.validation_shards
    rendered = bands_of_all(recipe, pairs, images, progress)
    known, fresh = _joined(rendered[:held_out]), _joined(rendered[held_out:])
    drawn = _joined(draw_all(recipe, pairs, images, progress))

    torch.manual_seed(recipe.seed)
    net = BandNet(ModelSettings(recipe.alpha, input="bands", architecture="bands"))
    net.standardise_by(fresh[0])
    run = _Run(net.to(device or "cpu"), recipe, drawn, fresh, known, out, progress)
    run.train(state)
    provenance = {"history": run.place.history, "recipe": recipe.model_dump(mode="json")}
    return export_onnx(net, out / "network.onnx", provenance, delta_u=recipe.synthesis.delta_u)


class _Run:
    """A training in progress."""

    def __init__(
        self,
        net: BandNet,
        recipe: BandsRecipe,
        drawn: tuple[Tensor, Tensor],
        rendered: tuple[Tensor, Tensor],
        known: tuple[Tensor, Tensor],
        out: Path,
        progress: Progress,
    ) -> None:
        self._net, self._recipe, self._out, self._progress = net, recipe, out, progress
        self._drawn, self._rendered, self._known = drawn, rendered, known
        self._optimiser = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.place = _Place()

    def train(self, state: dict[str, Any] | None) -> None:
        """To the end, from a checkpoint's state if there is one."""
        if state is not None:
            self._net.load_state_dict(state["net"])
            self._optimiser.load_state_dict(state["optimiser"])
            self.place = _Place(**state["place"])
        while self.place.epoch < self._recipe.epochs:
            self._epoch()

    def _epoch(self) -> None:
        recipe, place, saved_s = self._recipe, self.place, time.monotonic()
        from_rendered = min(max(1, round(recipe.batch * recipe.rendered_share)), recipe.batch - 1)
        from_drawn = recipe.batch - from_rendered
        rng = np.random.default_rng((recipe.seed, place.epoch))
        order = torch.from_numpy(rng.permutation(len(self._drawn[1])))
        batches = max(1, len(order) // from_drawn)
        self._net.train()
        while place.batch < batches:
            done = (place.epoch + place.batch / batches) / recipe.epochs
            for group in self._optimiser.param_groups:
                group["lr"] = recipe.learning_rate * schedule(done)
            seed_torch(recipe.seed, place.epoch, place.batch)
            chosen = order[place.batch * from_drawn : (place.batch + 1) * from_drawn]
            place.loss_sum += self._step(chosen, torch.randint(len(self._rendered[1]), (from_rendered,)))
            place.batch += 1
            if place.batch % 50 == 0:
                note = f"loss {place.loss_sum / place.batch:.4f}"
                self._progress(f"epoch {place.epoch + 1} of {recipe.epochs}", place.batch, batches, note)
            if time.monotonic() - saved_s > _CHECKPOINT_EVERY_S:
                self._save()
                saved_s = time.monotonic()
        found = self.validate()
        place.history.append({"epoch": place.epoch, "loss": place.loss_sum / batches, **asdict(found)})
        note = f"held out {found.mean_abs_u:.3f} u, near {found.near_mean_abs_u:.3f}"
        self._progress(f"epoch {place.epoch + 1} of {recipe.epochs}", batches, batches, note)
        place.epoch, place.batch, place.loss_sum = place.epoch + 1, 0, 0.0
        self._save()

    def _step(self, drawn: Tensor, rendered: Tensor) -> float:
        values, defocus = (
            torch.cat([these[drawn], those[rendered]]) for these, those in zip(self._drawn, self._rendered, strict=True)
        )
        noise = torch.randn_like(values) * (self._recipe.noise / self._net.scale.cpu().view(values.shape[1:]))
        device = self._net.head.weight.device
        predicted, doubt = self._net.with_doubt((values + noise).to(device))
        loss = doubting_loss(predicted, doubt, defocus.to(device))
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return loss.item()

    def validate(self) -> Validation:
        """Error on the held-out rendered pairs."""
        self._net.eval()
        values, truth = self._known
        with torch.no_grad():
            predicted = self._net(values.to(self._net.head.weight.device)).cpu()
        return Validation.of(predicted.numpy(), truth.numpy())

    def _save(self) -> None:
        state = {
            "net": self._net.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "place": vars(self.place),
        }
        write_checkpoint(self._out, self._recipe, state)


def _joined(shards: list[BandPairs]) -> tuple[Tensor, Tensor]:
    values = np.concatenate([pairs.values for pairs in shards])
    return torch.from_numpy(values), torch.from_numpy(np.concatenate([pairs.defocus_u for pairs in shards]))
