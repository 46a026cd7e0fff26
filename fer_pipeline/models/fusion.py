"""Late fusion of a network, which sees pixels, and boosted trees, which see measures of the mouth."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_pipeline import console
from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.models.classical import Estimator, fit_trees
from fer_pipeline.models.data import Crops
from fer_pipeline.models.graph import FLOOR, join
from fer_pipeline.models.model_file import Card
from fer_pipeline.models.model_module import ModelModule, input_batches

if TYPE_CHECKING:
    from onnx import ModelProto

EQUAL = (0.5, 0.5)


class Fusion(ModelModule):
    """Both models' inputs to probabilities: the weighted geometric mean of theirs (Genest & Zidek 1986)."""

    def __init__(self, pixels: ModelModule, geometry: Estimator, weights: tuple[float, float] = EQUAL) -> None:
        super().__init__()
        self.pixels, self.geometry, self.weights = pixels, geometry, weights
        self.inputs = (*pixels.inputs, *geometry.inputs)

    def member_logs(self, *inputs: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Compute the log-probabilities (B, classes) of pixels and of geometry, and the features of the pixels."""
        logits, features = self.pixels.with_features(*inputs[:1])
        both = (self.pixels.average(logits), self.geometry(*inputs[1:]))
        return [probabilities.clamp_min(FLOOR).log() for probabilities in both], features

    def tta_logits(self, *inputs: Tensor) -> Tensor:
        return self.with_features(*inputs)[0]

    def with_features(self, *inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        (pixels, geometry), features = self.member_logs(*inputs)
        return (self.weights[0] * pixels + self.weights[1] * geometry)[None], features

    def to_onnx(self, example: dict[str, Tensor], card: Card, distance: nn.Module | None = None) -> "ModelProto":
        cards = [card.model_copy(update={"inputs": list(each.inputs)}) for each in (self.pixels, self.geometry, self)]
        cards[1] = cards[1].model_copy(update={"known": 0})
        graphs = [self.pixels.to_onnx(example, cards[0], distance), self.geometry.to_onnx(example, cards[1])]
        weights = [weight / self.temperature for weight in self.weights]
        return join(list(zip(graphs, cards[:2], strict=True)), cards[2], weights)


def fuse(pixels: ModelModule, training: Crops, validation: Crops, config: TrainConfig) -> Fusion:
    """Fit trees beside a trained network, weighted by `geometry_share` or else by the validation crops.

    On sources in the training set pixels are better, so that validation crops give geometry almost no weight; for other
    sources set a share (docs/geometry.md).
    """
    fusion = Fusion(pixels.eval().cpu(), fit_trees(training, config.seed)).eval()
    share = config.geometry_share
    fusion.weights = _weigh(fusion, validation) if share is None else (1 - share, share)
    pixels_weight, geometry_weight = fusion.weights
    console.note(f"train: pixels weigh {pixels_weight:.2f}, geometry {geometry_weight:.2f}")
    return fusion


def _weigh(fusion: Fusion, validation: Crops) -> tuple[float, float]:
    """Fit the weights of pixels and geometry, both positive, that minimise the validation negative log-likelihood."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    with torch.inference_mode():
        parts = [fusion.member_logs(*inputs)[0] for inputs in input_batches(fusion, validation)]
    pixels, geometry = (torch.cat([both[index] for both in parts]).double().numpy() for index in (0, 1))
    picked = (np.arange(len(validation.targets)), validation.targets)

    def loss(weights: NDArray[np.float64]) -> float:
        return -float(log_softmax(weights[0] * pixels + weights[1] * geometry, axis=1)[picked].mean())

    found = minimize(loss, np.array(EQUAL), method="L-BFGS-B", bounds=[(0.01, 10.0)] * 2)
    return round(float(found.x[0]), 4), round(float(found.x[1]), 4)
