"""The base class of every trained model: named inputs in, class probabilities out, exportable as one ONNX graph."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_pipeline.models.data import Crops


class ModelModule(nn.Module):
    """Map `inputs` to probabilities (B, classes), averaged over T augmented versions of each crop.

    `crops` are uint8 (B, size, size, 3) RGB; `measures` float32 (B, m), measures of the mouth, NaN where missing.
    """

    inputs: tuple[str, ...] = ("crops",)
    temperature: float = 1.0

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.average(self.tta_logits(*inputs))

    def average(self, logits: Tensor) -> Tensor:
        """Average logits (T, B, classes) to probabilities (B, classes)."""
        return (logits / self.temperature).softmax(dim=2).mean(dim=0)

    def tta_logits(self, *inputs: Tensor) -> Tensor:
        """Compute logits (T, B, classes), one slice for each test-time augmentation."""
        raise NotImplementedError

    def with_features(self, *inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute `tta_logits`, and in the same pass the features (B, d) they come from; None if the model has none."""
        return self.tta_logits(*inputs), None


def input_batches(model: ModelModule, crops: Crops, batch: int = 256) -> Iterator[tuple[Tensor, ...]]:
    """Yield the tensors `model` takes, in its order, for `batch` crops at a time."""
    arrays: dict[str, NDArray[Any]] = {"crops": crops.images, "measures": crops.known_measures()}
    for start in range(0, len(crops.targets), batch):
        # Copied, since torch warns of memory-mapped arrays.
        yield tuple(torch.from_numpy(np.array(arrays[name][start : start + batch])) for name in model.inputs)


def predict(model: ModelModule, crops: Crops) -> NDArray[np.float32]:
    """Compute probabilities (n, classes) with a model in memory."""
    with torch.inference_mode():
        return np.concatenate([model(*inputs).numpy() for inputs in input_batches(model, crops)])
