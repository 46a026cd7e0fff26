"""Chance for a batch of pictures, the same however many processes hold it."""

import torch
from torch import Tensor

from fer_pipeline.models.distributed import Share


class BatchRng:
    """Draws one value a picture, always on the generator's device, so that a seed means the same on every machine.

    Values are drawn for the whole batch, also where a process holds a share of it: the shares of all processes are
    changed as the one batch of a single process is.
    """

    def __init__(self, generator: torch.Generator, share: Share, device: torch.device) -> None:
        self.generator, self.share, self.device = generator, share, device

    def between(self, low: float, high: float, channels: int = 1) -> Tensor:
        """Uniform (B, channels) values."""
        drawn = torch.rand(self.share.total, channels, generator=self.generator, device=self.generator.device)
        return (low + (high - low) * drawn[self.share.start : self.share.stop]).to(self.device)

    def level(self) -> float:
        """One uniform value in 0..1 for the whole batch."""
        return float(torch.rand(1, generator=self.generator, device=self.generator.device))

    def chosen(self, chance: float) -> Tensor:
        """Booleans (B,), true with the given chance."""
        return self.between(0, 1)[:, 0] < chance
