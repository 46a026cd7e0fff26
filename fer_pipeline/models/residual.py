"""Our own networks: small residual nets (He et al. 2015) that train from scratch on a laptop."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, (B, inner, H, W) to (B, outer, H/stride, W/stride); He et al. 2015."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        first, second = _convolution(inner, outer, stride), _convolution(outer, outer, 1)
        self.body = nn.Sequential(*first, nn.ReLU(inplace=True), *second)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            # Rounded up as the padded convolutions do it, else odd sides would not add up.
            pool = nn.AvgPool2d(stride, ceil_mode=True)
            self.shortcut = nn.Sequential(pool, nn.Conv2d(inner, outer, 1, bias=False))
        # A block that starts as the identity trains steadily at the high peak rate of one cycle (Goyal et al. 2017).
        nn.init.zeros_(second[1].weight)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.body(features) + self.shortcut(features))


class ResidualNet(nn.Module):
    """A stem that halves the side, two blocks a width (one at `last_single`), average pooling, one dense layer."""

    def __init__(
        self, classes: int, widths: Sequence[int], *, deep_stem: bool = False, last_single: bool = False
    ) -> None:
        super().__init__()
        first = [*_convolution(3, widths[0] // 2, 1), nn.ReLU(inplace=True)] if deep_stem else []
        inner = widths[0] // 2 if deep_stem else 3
        self.stem = nn.Sequential(*first, *_convolution(inner, widths[0], 2), nn.ReLU(inplace=True))
        blocks: list[nn.Module] = []
        for depth, width in enumerate(widths):
            blocks.append(Residual(widths[max(depth - 1, 0)], width, stride=1 if depth == 0 else 2))
            if depth < len(widths) - 1 or not last_single:
                blocks.append(Residual(width, width, stride=1))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0), nn.Linear(widths[-1], classes))

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.stem(pictures)))
        return logits


def _convolution(inner: int, outer: int, stride: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outer)


def compact_resnet(classes: int) -> ResidualNet:
    """About 0.4 M parameters, four scales, for pictures of 64 px: 330 crops/s on one core."""
    return ResidualNet(classes, (16, 32, 64, 128), last_single=True)


def medium_resnet(classes: int) -> ResidualNet:
    """About 2.8 M parameters, three scales, so that a 48 px picture ends as 6x6: for tens of thousands of faces."""
    return ResidualNet(classes, (64, 128, 256), deep_stem=True)
