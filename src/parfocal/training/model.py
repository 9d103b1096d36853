"""MobileNetV2 with the paper's head (section 2.3): flatten, one dense output, no activation.

For the baseline of Jiang et al. (2018) the same head stands on the features of ResNet-50.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from parfocal.focus.difference import CHANNELS
from parfocal.training.resnet import resnet_features

# Expansion, channels, repeats, stride of each group of blocks (Sandler et al. 2018, table 2).
_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_STEM_CHANNELS = 32
_FEATURE_CHANNELS = 1280
_TOTAL_STRIDE = 32


@dataclass(frozen=True)
class ModelSettings:
    """Size of the network.

    Attributes:
        alpha: width multiplier; the paper uses 1.0 on the open data set and 0.5 on its microscope.
        patch_px: side of the square input in pixels.
        input: what it is shown: a name in `focus.difference.PREPARATIONS`.
        architecture: `mobilenet-v2`, `resnet-50`, or `bands` (`band_net.BandNet`).
    """

    alpha: float = 0.5
    patch_px: int = 224
    input: str = "difference"
    architecture: str = "mobilenet-v2"


class FocusNet(nn.Module):
    """Difference image in (or difference and mean), defocus out.

    2,286,593 / 750,401 / 458,849 parameters at 224 px for α = 1.0 / 0.5 / 0.35 and three channels.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.tied = False
        make = {"mobilenet-v2": _mobilenet_features, "resnet-50": resnet_features}[settings.architecture]
        self.features, self._feature_channels = make(CHANNELS[settings.input], settings.alpha)
        side = -(-settings.patch_px // _TOTAL_STRIDE)
        self.head = nn.Linear(self._feature_channels * side * side, 1)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)

    def forward(self, patches: Tensor) -> Tensor:
        """Predict from prepared pairs (N, channels, P, P) the defocus (N,) in units of u."""
        features = self.features(patches)  # (N, 1280, P/32, P/32)
        if self.tied:
            pooled = features.sum(dim=(2, 3))  # (N, 1280)
            shared = self.head.weight.view(self._feature_channels, -1).mean(dim=1, keepdim=True)  # (1280, 1)
            tied: Tensor = (pooled @ shared + self.head.bias).squeeze(1)
            return tied
        prediction: Tensor = self.head(features.flatten(1)).squeeze(1)
        return prediction

    def tie(self) -> None:
        """Give the dense layer the same weights at every place, and keep them the same while training."""
        with torch.no_grad():
            weight = self.head.weight.view(self._feature_channels, -1)
            weight.copy_(weight.mean(dim=1, keepdim=True).expand_as(weight))
        self.tied = True

    def resized(self, patch_px: int) -> FocusNet:
        """The same network for another patch size: the dense layer is spread over the new grid, its sum kept."""
        other = FocusNet(replace(self.settings, patch_px=patch_px))
        other.features.load_state_dict(self.features.state_dict())
        old, new = (-(-px // _TOTAL_STRIDE) for px in (self.settings.patch_px, patch_px))
        grid = self.head.weight.detach().view(1, self._feature_channels, old, old)
        spread = nn.functional.interpolate(grid, size=(new, new), mode="bilinear", align_corners=True)
        with torch.no_grad():
            other.head.weight.copy_((spread * (old / new) ** 2).reshape(1, -1))
            other.head.bias.copy_(self.head.bias)
        return other


def _mobilenet_features(input_channels: int, alpha: float) -> tuple[nn.Sequential, int]:
    """MobileNetV2 without its top, and how many channels come out."""
    channels = _rounded(_STEM_CHANNELS * alpha)
    layers: list[nn.Module] = [_convolution(input_channels, channels, kernel=3, stride=2)]
    for expansion, width, repeats, stride in _BLOCKS:
        for repeat in range(repeats):
            out = _rounded(width * alpha)
            layers.append(_Block(channels, out, expansion, stride if repeat == 0 else 1))
            channels = out
    layers.append(_convolution(channels, _FEATURE_CHANNELS, kernel=1, stride=1))
    return nn.Sequential(*layers), _FEATURE_CHANNELS


class _Block(nn.Module):
    """Inverted residual with a linear bottleneck."""

    def __init__(self, channels: int, out: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = channels * expansion
        layers = [_convolution(channels, hidden, kernel=1, stride=1)] if expansion != 1 else []
        layers += [
            _convolution(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Sequential(nn.Conv2d(hidden, out, 1, bias=False), nn.BatchNorm2d(out)),
        ]
        self.body = nn.Sequential(*layers)
        self.is_residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.is_residual else y


def _convolution(channels: int, out: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU6(inplace=True),
    )


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that is not more than 10 % below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
