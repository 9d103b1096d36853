"""The paper's training (section 2.4.3): SGD in two phases, each to convergence, the best epoch kept.

Labels and losses are in µm, as in the paper; the exported network speaks in u like every other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from parfocal.errors import FileError, SettingsError
from parfocal.focus.difference import PREPARATIONS
from parfocal.stacks.public import split_by_slide
from parfocal.stacks.stack import FocalStack
from parfocal.training.band_net import BandNet, WithDoubt
from parfocal.training.checkpoint import read_checkpoint, write_checkpoint
from parfocal.training.curves import draw_curves, log_scalars
from parfocal.training.device import seed_torch
from parfocal.training.export import export_onnx
from parfocal.training.loss import doubting_loss, sample_weight, weighted_loss
from parfocal.training.model import FocusNet, ModelSettings
from parfocal.training.pairs import Pair, cut, objective_of, pairs_of, usable
from parfocal.training.recipe import PaperRecipe
from parfocal.training.shards import Progress
from parfocal.training.team import ALONE, Team
from parfocal.training.warm_start import freeze_statistics, read_network

_CHECKPOINT_EVERY_S = 120.0
_PHASES = 2
T = TypeVar("T")


@dataclass(frozen=True)
class Epoch:
    """One epoch as it is written down: losses by equation 3, errors patch by patch in µm."""

    phase: int
    epoch: int
    learning_rate: float
    loss: float
    validation_loss: float
    mean_abs_um: float
    wrong_direction: float


@dataclass
class _Place:
    """Where training is. `best` holds the weights of the phase's best epoch."""

    phase: int = 1
    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    first_rate: float = 0.0
    best_loss: float = math.inf
    best_epoch: int = -1
    best_rate: float = 0.0
    best: dict[str, Tensor] | None = None
    best_errors: tuple[float, float] = (math.nan, math.nan)
    before: tuple[float, float] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class HeldOut:
    """Errors on the held-out slides, patch by patch: mean |error| in µm, share told the wrong direction."""

    mean_abs_um: float
    wrong_direction: float


@dataclass(frozen=True)
class Trained:
    """What came of a training: the network's file, and its errors. `before` is the network's that it began from."""

    network: Path
    held_out: HeldOut
    before: HeldOut | None = None


def train_by_phases(
    recipe: PaperRecipe,
    stacks: Sequence[FocalStack],
    out: Path,
    progress: Progress,
    device: torch.device,
    begin_from: Path | None = None,
    team: Team = ALONE,
) -> Trained:
    """Train on z-stacks by the paper's schedule and export the best network of the last phase.

    Args:
        recipe: the schedule.
        stacks: with their focus; a share of their slides is held out. Rejected and unlabelled ones are left out.
        out: folder for checkpoint, curves and network; a checkpoint there is gone on from.
        progress: is told how it goes.
        device: where to train.
        begin_from: network file to train further, its batch statistics as they are; None: from the beginning. The
            better of it and what came of it is kept.
        team: the processes that train together.

    Raises:
        FileError: if a plane cannot be read, or the folder holds another recipe's checkpoint.
        SettingsError: if the stacks are not of one objective and two slides, or hold no pair.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"training folder {out} cannot be made: {error.strerror}") from error
    kept = usable(stacks)
    if len(kept) < len(stacks):
        progress("stacks", len(kept), len(stacks), f"{len(stacks) - len(kept)} rejected, unlabelled or in steps")
    lens = objective_of(kept)
    fresh, known = (
        pairs_of(part, recipe.delta_um, recipe.patch_px)
        for part in split_by_slide(kept, recipe.held_out_share, recipe.seed)
    )
    for name, pairs in (("training", fresh), ("validation", known)):
        if not pairs:
            raise SettingsError(f"the {name} stacks have no two planes {recipe.delta_um:g} µm apart")
    net, place, optimiser_state = _start(recipe, out, begin_from, lens.canonical_z_um)
    run = _Run(net.to(device), recipe, (fresh, known), lens.canonical_z_um, out, progress, device, team)
    run.keeps_statistics = begin_from is not None
    if begin_from is not None and place.best is None:
        run.judge_start(place)
    while place.phase <= _PHASES:
        run.phase(place, optimiser_state)
        optimiser_state = None
        if place.best is None:
            raise SettingsError(
                f"phase {place.phase} came to no loss that is a number: "
                f"try a learning_rate of less than {place.first_rate:g}"
            )
        net.load_state_dict(place.best)
        if place.phase == _PHASES:
            break
        before = place.before
        place = _Place(place.phase + 1, first_rate=place.best_rate, history=place.history, before=before)
        if begin_from is not None:
            run.judge_start(place)
    network = out / "network.onnx"
    if team.leads:
        _export(net, recipe, place, lens.canonical_z_um, _reach_um(fresh), network)
    team.wait()
    return Trained(network, HeldOut(*place.best_errors), None if place.before is None else HeldOut(*place.before))


class _Run:
    """One training, bound to its pairs."""

    def __init__(
        self,
        net: FocusNet | BandNet,
        recipe: PaperRecipe,
        pairs: tuple[list[Pair], list[Pair]],
        unit_um: float,
        out: Path,
        progress: Progress,
        device: torch.device,
        team: Team,
    ) -> None:
        self._team = team
        self._net, self._recipe, self._out, self._progress, self._device = net, recipe, out, progress, device
        self._fresh, self._known = pairs
        self._unit_um = unit_um
        self.keeps_statistics = False
        self._bands: dict[Pair, tuple[NDArray[np.float32], float]] = {}  # the same in every epoch, and 2 kB each

    def judge_start(self, place: _Place) -> None:
        """Let the weights that a phase begins with count as its best so far."""
        loss, *errors = self.validate(place.phase)
        self._keep(place, loss, place.first_rate, (errors[0], errors[1]))
        place.before = place.before or place.best_errors

    def _keep(self, place: _Place, validation_loss: float, rate: float, errors: tuple[float, float]) -> None:
        place.best_loss, place.best_rate, place.best_errors = validation_loss, rate, errors
        place.best = {name: value.detach().cpu().clone() for name, value in self._net.state_dict().items()}

    def phase(self, place: _Place, optimiser_state: dict[str, Any] | None) -> None:
        """Epochs until the validation loss has not fallen for `patience` of them."""
        recipe = self._recipe
        if not self.keeps_statistics:
            self._team.normalise(self._net, self._device)
        optimiser = torch.optim.SGD(self._net.parameters(), lr=place.first_rate, momentum=recipe.momentum)
        if optimiser_state is not None:
            optimiser.load_state_dict(optimiser_state)
        limit, together = recipe.max_epochs or math.inf, self._team.together(_with_all(self._net), self._device)
        while place.epoch < limit and place.epoch - 1 - place.best_epoch < recipe.patience:
            rate = place.first_rate * 0.5 ** (place.epoch // recipe.halve_every)
            for group in optimiser.param_groups:
                group["lr"] = rate
            self._epoch(place, optimiser, together)
            loss = place.loss_sum / max(place.batch, 1)
            validation_loss, mean_abs_um, wrong = self.validate(place.phase)
            done = Epoch(place.phase, place.epoch, rate, loss, validation_loss, mean_abs_um, wrong)
            place.history.append(asdict(done))
            if validation_loss < place.best_loss:
                self._keep(place, validation_loss, rate, (mean_abs_um, wrong))
                place.best_epoch = place.epoch
            place.epoch, place.batch, place.loss_sum = place.epoch + 1, 0, 0.0
            self._save(optimiser, place)
            if self._team.leads:
                draw_curves(place.history, self._out / "curves.png")
                log_scalars(self._out / "tensorboard", place.history[-1], len(place.history))

    def _epoch(self, place: _Place, optimiser: torch.optim.Optimizer, together: nn.Module) -> None:
        recipe, saved_s = self._recipe, time.monotonic()
        order = np.random.default_rng((recipe.seed, place.phase, place.epoch)).permutation(len(self._fresh))
        batches = list(_in_batches(order.tolist(), recipe.batch))
        if len(batches[-1]) <= self._team.size and len(batches) > 1:
            batches.pop()  # one sample has no batch statistics
        self._net.train()
        if self.keeps_statistics:
            freeze_statistics(self._net)
        for chosen in batches[place.batch :]:
            patches, defocus_um, sd = self._batch([self._fresh[index] for index in self._team.share(chosen)])
            by_distance = place.phase == _PHASES
            seed_torch(recipe.seed, place.phase, place.epoch, place.batch, self._team.rank)
            told, doubt_u = together(patches), None
            if isinstance(told, tuple):
                told, doubt_u = told
            loss = weighted_loss(told, defocus_um, sd, by_distance=by_distance)
            loss = loss * self._team.part_of(sample_weight(defocus_um, sd, by_distance=by_distance).sum())
            if doubt_u is not None:  # it follows what the paper's loss makes of the prediction
                loss = loss + doubting_loss(told.detach() / self._unit_um, doubt_u, defocus_um / self._unit_um)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            place.loss_sum += loss.item()
            place.batch += 1
            note = f"epoch {place.epoch + 1}, loss {place.loss_sum / place.batch:.4f}"
            self._progress(f"phase {place.phase}", place.batch, len(batches), note)
            if time.monotonic() - saved_s > _CHECKPOINT_EVERY_S:
                self._save(optimiser, place)
                saved_s = time.monotonic()

    def _batch(self, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor, Tensor]:
        patches, sd = zip(*map(self._prepared, pairs), strict=True)
        return (
            torch.from_numpy(np.stack(patches)).to(self._device),
            torch.tensor([pair.defocus_um for pair in pairs], dtype=torch.float32, device=self._device),
            torch.tensor(sd, dtype=torch.float32, device=self._device),
        )

    def _prepared(self, pair: Pair) -> tuple[NDArray[np.float32], float]:
        """Input of the network, and the standard deviation of I1."""
        if pair in self._bands:
            return self._bands[pair]
        first, second = cut(pair, self._recipe.patch_px)
        known = PREPARATIONS[self._recipe.input](first, second, pair.delta_um / self._unit_um), float(first.std())
        if self._recipe.input == "bands":
            self._bands[pair] = known
        return known

    def validate(self, phase: int) -> tuple[float, float, float]:
        """(loss by equation 3 over all held-out pairs, mean |error| in µm, share in the wrong direction)."""
        loss, error_um, wrong = self._team.agree(self._judge(phase) if self._team.leads else None, 3)
        return loss, error_um, wrong

    def _judge(self, phase: int) -> tuple[float, float, float]:
        self._net.eval()
        told: list[tuple[Tensor, Tensor, Tensor]] = []
        with torch.no_grad():
            for pairs in _in_batches(self._known, self._recipe.batch):
                patches, defocus_um, sd = self._batch(pairs)
                told.append((self._net(patches).cpu(), defocus_um.cpu(), sd.cpu()))
        predicted, defocus_um, sd = (torch.cat(column) for column in zip(*told, strict=True))
        loss = weighted_loss(predicted, defocus_um, sd, by_distance=phase == _PHASES)
        wrong = (torch.sign(predicted) != torch.sign(defocus_um)) & (defocus_um != 0)
        return float(loss), float((predicted - defocus_um).abs().mean()), float(wrong.float().mean())

    def _save(self, optimiser: torch.optim.Optimizer, place: _Place) -> None:
        if not self._team.leads:
            return
        state = {"net": self._net.state_dict(), "optimiser": optimiser.state_dict(), "place": vars(place)}
        write_checkpoint(self._out, self._recipe, state)


def _in_batches(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _start(
    recipe: PaperRecipe, out: Path, begin_from: Path | None, unit_um: float
) -> tuple[FocusNet | BandNet, _Place, dict[str, Any] | None]:
    """Network in µm, place and optimiser's state: of the checkpoint if there is one, else of a beginning."""
    torch.manual_seed(recipe.seed)
    net = _new_network(recipe)
    if begin_from is None and recipe.input == "bands":
        raise SettingsError("a network on bands is not begun on z-stacks: say with --from which to train further")
    if begin_from is not None:
        known = read_network(begin_from)
        if known.settings != net.settings:
            raise SettingsError(f"network {begin_from} has {known.settings}, the recipe wants {net.settings}")
        net = known
        _scale_head(net, unit_um)
    state = read_checkpoint(out, recipe)
    if state is None:
        return net, _Place(first_rate=recipe.learning_rate), None
    net.load_state_dict(state["net"])
    return net, _Place(**state["place"]), state["optimiser"]


def _with_all(net: FocusNet | BandNet) -> nn.Module:
    """What is trained of a network: all that it says."""
    return WithDoubt(net) if isinstance(net, BandNet) else net


def _new_network(recipe: PaperRecipe) -> FocusNet | BandNet:
    if recipe.input == "bands":
        return BandNet(ModelSettings(recipe.alpha, recipe.patch_px, "bands", "bands"))
    return FocusNet(ModelSettings(recipe.alpha, recipe.patch_px, recipe.input))


def _scale_head(net: FocusNet | BandNet, factor: float) -> None:
    """Another unit for what the network says."""
    with torch.no_grad():
        net.head.weight.mul_(factor)
        net.head.bias.mul_(factor)


def _reach_um(pairs: Sequence[Pair]) -> float:
    """Largest |defocus| that was trained on, in µm."""
    defocus_um: NDArray[np.float64] = np.array([pair.defocus_um for pair in pairs])
    return float(np.abs(defocus_um).max())


def _export(
    net: FocusNet | BandNet, recipe: PaperRecipe, place: _Place, unit_um: float, reach_um: float, network: Path
) -> None:
    """Export a network that was trained in µm, its last layer scaled to speak in u."""
    _scale_head(net, 1 / unit_um)
    delta_u = recipe.delta_um / unit_um
    provenance = {"recipe": recipe.model_dump(mode="json"), "history": place.history}
    export_onnx(net, network, provenance, delta_u=(delta_u, delta_u), range_u=reach_um / unit_um)
