"""Histograms of oriented gradients (Dalal & Triggs 2005), as a graph that fits and serves alike."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

BINS, CELL, BLOCK = 9, 8, 2
CLIP = 0.2


class Hog(nn.Module):
    """Crops uint8 (B, size, size, 3) to features float (B, blocks x 36), 1764 of a 64 px crop.

    As in the article: square-root gamma, the colour channel with the largest gradient, nine unsigned orientations,
    cells of 8 px, votes shared between neighbouring bins and cells, overlapping 2x2 blocks by L2-Hys.
    """

    centres: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", (torch.arange(BINS) + 0.5).view(1, BINS, 1, 1))
        ramp = 1 - (torch.arange(2 * CELL) + 0.5 - CELL).abs() / CELL
        self.register_buffer("spread", (ramp[:, None] * ramp).repeat(BINS, 1, 1, 1) / CELL)

    def forward(self, images: Tensor) -> Tensor:
        across, down = _gradients((images.permute(0, 3, 1, 2).float() / 255).sqrt())
        strength = (across.square() + down.square() + 1e-12).sqrt()
        # In bins: 0 to 9 for 0 to 180 degrees, the sign of the edge thrown away.
        # ONNX has no atan2: the exporter divides, and where nothing changes 0 / 0 would be no number.
        across = torch.where(across.abs() < 1e-9, torch.full_like(across, 1e-9), across)
        angle = torch.remainder(torch.atan2(down, across) / math.pi, 1.0) * BINS
        apart = (angle - self.centres).abs()
        votes = strength * (1 - torch.minimum(apart, BINS - apart)).clamp_min(0)
        cells = functional.conv2d(votes, self.spread, stride=CELL, padding=CELL // 2, groups=BINS)
        return _blocks(cells).flatten(1)


def _gradients(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences (B, 1, H, W) of the channel that changes most at each pixel."""
    across = _beside(pictures, 3)
    down = _beside(pictures, 2)
    most = (across.square() + down.square()).argmax(dim=1, keepdim=True)
    return across.gather(1, most), down.gather(1, most)


def _beside(pictures: Tensor, dim: int) -> Tensor:
    """The next pixel less the one before along a dimension; at the border the pixel itself stands for the missing."""
    last = pictures.shape[dim] - 1
    after = torch.cat([pictures.narrow(dim, 1, last), pictures.narrow(dim, last, 1)], dim)
    return after - torch.cat([pictures.narrow(dim, 0, 1), pictures.narrow(dim, 0, last)], dim)


def _blocks(cells: Tensor) -> Tensor:
    """Cells (B, 9, h, w) to blocks (B, 36, h - 1, w - 1), normalised, clipped and normalised again."""
    corners = [cells[:, :, y : y - 1 or None, x : x - 1 or None] for y in range(BLOCK) for x in range(BLOCK)]
    blocks = _normalise(torch.cat(corners, dim=1))
    return _normalise(blocks.clamp_max(CLIP))


def _normalise(blocks: Tensor) -> Tensor:
    return blocks / (blocks.square().sum(dim=1, keepdim=True) + 1e-4).sqrt()
