"""The curves of a training: a picture, and scalars for TensorBoard where that is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw_curves(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Losses and held-out error over the epochs of all phases, as a PNG.

    Args:
        history: an entry for each epoch, with the names of `phases.Epoch`.
        path: where to draw it.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    losses, errors = figure.subplots(2, 1, sharex=True)
    epochs = range(1, len(history) + 1)
    losses.plot(epochs, [entry["loss"] for entry in history], label="training")
    losses.plot(epochs, [entry["validation_loss"] for entry in history], label="held out")
    losses.set(ylabel="loss (equation 3)", yscale="log")
    losses.legend()
    errors.plot(epochs, [entry["mean_abs_um"] for entry in history], color="black")
    errors.set(xlabel="epoch", ylabel="held-out mean |error| in µm", ylim=(0, None))
    for axes in (losses, errors):
        for number, (before, after) in enumerate(pairwise(history), start=1):
            if before["phase"] != after["phase"]:
                axes.axvline(number + 0.5, color="grey", linestyle=":")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def log_scalars(folder: Path, entry: Mapping[str, Any], step: int) -> None:
    """Write an epoch's numbers for TensorBoard; nothing where it is not installed."""
    if find_spec("tensorboard") is None:
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), purge_step=step) as writer:
        for name, value in entry.items():
            writer.add_scalar(name, value, step)
