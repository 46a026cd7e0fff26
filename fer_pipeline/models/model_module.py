"""What every trained model is, whatever it is made of: named inputs in, probabilities out, as one graph."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_pipeline.models.data import Crops


class Scorer(nn.Module):
    """From `inputs` to probabilities (B, classes), averaged over views of the same crop.

    `crops` are uint8 (B, size, size, 3) RGB; `measures` float32 (B, m), the mouth in numbers, NaN where missing.
    """

    inputs: tuple[str, ...] = ("crops",)
    temperature: float = 1.0

    def forward(self, *inputs: Tensor) -> Tensor:
        return (self.view_logits(*inputs) / self.temperature).softmax(dim=2).mean(dim=0)

    def view_logits(self, *inputs: Tensor) -> Tensor:
        """Logits (views, B, classes) of every view that is averaged over."""
        raise NotImplementedError


def feed(scorer: Scorer, crops: Crops, batch: int = 256) -> Iterator[tuple[Tensor, ...]]:
    """What a model wants of some crops, in its order, in batches; copied, since torch warns of mapped memory."""
    arrays: dict[str, NDArray[Any]] = {"crops": crops.images, "measures": crops.known_measures()}
    for start in range(0, len(crops.targets), batch):
        yield tuple(torch.from_numpy(np.array(arrays[name][start : start + batch])) for name in scorer.inputs)
