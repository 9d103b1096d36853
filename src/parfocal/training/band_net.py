"""A small network on what a pair shows in bands of frequency: defocus, and the error to expect of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from parfocal.focus.bands import BANDS, ROWS
from parfocal.training.model import ModelSettings

_WIDTHS = (384, 192, 96)
_DROPOUT = 0.05
_FARTHEST_SD = 6.0
_LOG_DOUBT = (-4.0, 4.0)


class BandNet(nn.Module):
    """Three hidden layers on the 16 × 27 values of `focus.bands`; 258,914 parameters at α = 1.

    Args:
        settings: with the input `bands`; α widens the layers.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("mean", torch.zeros(ROWS * BANDS))
        self.register_buffer("scale", torch.ones(ROWS * BANDS))
        layers: list[nn.Module] = []
        size = ROWS * BANDS
        for width in (round(width * settings.alpha) for width in _WIDTHS):
            layers += [nn.Linear(size, width), nn.GELU(), nn.Dropout(_DROPOUT)]
            size = width
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(size, 1)
        self.doubt = nn.Linear(size, 1)

    def standardise_by(self, pairs: Tensor) -> None:
        """Take mean and deviation of each value from pairs (N, 16, 27); one that never changes keeps its scale."""
        values = pairs.flatten(1)
        deviation = values.std(dim=0)
        self.mean.copy_(values.mean(dim=0))
        self.scale.copy_(torch.where(deviation > 1e-6, 1 / (deviation + 1e-2), 1.0))

    def forward(self, pairs: Tensor) -> Tensor:
        """Defocus (N,) of pairs (N, 16, 27), in units of u."""
        defocus: Tensor = self.head(self._hidden(pairs)).squeeze(1)
        return defocus

    def with_doubt(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Defocus (N,) and the mean |error| to expect of it (N,), in units of u."""
        hidden = self._hidden(pairs)
        defocus: Tensor = self.head(hidden).squeeze(1)
        return defocus, torch.exp(self.doubt(hidden).squeeze(1).clamp(*_LOG_DOUBT))

    def _hidden(self, pairs: Tensor) -> Tensor:
        values = ((pairs.flatten(1) - self.mean) * self.scale).clamp(-_FARTHEST_SD, _FARTHEST_SD)
        hidden: Tensor = self.trunk(values)
        return hidden


class WithDoubt(nn.Module):
    """A band network that says both, for export."""

    def __init__(self, net: BandNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """As `BandNet.with_doubt`."""
        return self.net.with_doubt(pairs)
