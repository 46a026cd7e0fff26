"""The base class of every trained model: named inputs in, class probabilities out, exportable as one ONNX graph."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_pipeline.models.data import Crops
from fer_pipeline.models.model_file import DISTANCE, OPSET, PROBABILITIES, Card
from fer_pipeline.vision.hog import hog_features

if TYPE_CHECKING:
    from onnx import ModelProto


class ModelModule(nn.Module):
    """Map `inputs` to probabilities (B, classes), averaged over T augmented versions of each crop.

    `crops` are uint8 (B, size, size, 3) RGB; `hog` float32 (B, 1764), their histograms of oriented gradients;
    `measures` float32 (B, m), measures of the mouth, NaN where missing.
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

    def with_distance(self, distance: nn.Module | None) -> nn.Module:
        """The model with the `distance` of its features as a second output; None: the model as it is."""
        return self if distance is None else WithDistance(self, distance).eval()

    def to_onnx(self, example: dict[str, Tensor], card: Card, distance: nn.Module | None = None) -> "ModelProto":
        """Export to ONNX; `example` holds a tensor for each of `inputs`, `card` describes the model.

        With a `distance` of features it is the graph's second output.
        """
        import onnx

        del card
        outputs = [PROBABILITIES] if distance is None else [PROBABILITIES, DISTANCE]
        with TemporaryDirectory() as folder:
            file = Path(folder, "model.onnx")
            # The tracing exporter: the newer one takes half a minute a network, and these graphs have no branches.
            torch.onnx.export(
                self.with_distance(distance),
                tuple(example[name] for name in self.inputs),
                file,
                dynamo=False,
                opset_version=OPSET,
                input_names=list(self.inputs),
                output_names=outputs,
                dynamic_axes={name: {0: "count"} for name in (*self.inputs, *outputs)},
            )
            return onnx.load(str(file))


class WithDistance(nn.Module):
    """Map the inputs of a model to its probabilities (B, classes) and the distance (B,) of its features."""

    def __init__(self, model: ModelModule, distance: nn.Module) -> None:
        super().__init__()
        self.model, self.distance = model, distance

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        logits, features = self.model.with_features(*inputs)
        return self.model.average(logits), self.distance(features)


def input_batches(model: ModelModule, crops: Crops, batch: int = 256) -> Iterator[tuple[Tensor, ...]]:
    """Yield the tensors `model` takes, in its order, for `batch` crops at a time."""
    arrays: dict[str, NDArray[Any]] = {"crops": crops.images, "measures": crops.known_measures()}
    if "hog" in model.inputs:
        arrays["hog"] = hog_features(crops.images)
    for start in range(0, len(crops.targets), batch):
        # Copied, since torch warns of memory-mapped arrays.
        yield tuple(torch.from_numpy(np.array(arrays[name][start : start + batch])) for name in model.inputs)


def predict(model: ModelModule, crops: Crops) -> NDArray[np.float32]:
    """Compute probabilities (n, classes) with a model in memory."""
    with torch.inference_mode():
        return np.concatenate([model(*inputs).numpy() for inputs in input_batches(model, crops)])
