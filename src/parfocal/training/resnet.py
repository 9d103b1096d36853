"""ResNet-50 (He et al. 2016) without its top: the features of the baseline of Jiang et al. (2018)."""

from __future__ import annotations

from torch import Tensor, nn

_STEM_CHANNELS = 64
_GROUPS = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # channels of the bottleneck, blocks, stride of the first
_EXPANSION = 4


def resnet_features(input_channels: int, alpha: float) -> tuple[nn.Sequential, int]:
    """Features at a thirty-second of the input's size, and how many channels they have.

    Args:
        input_channels: of the input.
        alpha: width; with 1 and three channels there are 23,508,032 parameters.
    """
    channels = round(_STEM_CHANNELS * alpha)
    layers: list[nn.Module] = [
        nn.Conv2d(input_channels, channels, 7, 2, 3, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    for width, blocks, stride in _GROUPS:
        for block in range(blocks):
            layers.append(_Bottleneck(channels, round(width * alpha), stride if block == 0 else 1))
            channels = round(width * alpha) * _EXPANSION
    return nn.Sequential(*layers), channels


class _Bottleneck(nn.Module):
    """1 × 1, 3 × 3 and 1 × 1 convolution beside a shortcut, which is projected where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * _EXPANSION
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.end = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.end(self.body(x) + self.shortcut(x))
        return y
