"""Late fusion of a network, which sees pixels, and boosted trees, which see measures of the mouth."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fer_pipeline import console
from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.models.classical import BoostedTrees, fit_trees
from fer_pipeline.models.data import Crops
from fer_pipeline.models.model_module import ModelModule, input_batches

EQUAL = (0.5, 0.5)


class Fusion(ModelModule):
    """Crops and measures to probabilities: the weighted geometric mean of both models' (Genest & Zidek 1986)."""

    inputs = ("crops", "measures")

    def __init__(self, pixels: ModelModule, geometry: BoostedTrees, weights: tuple[float, float] = EQUAL) -> None:
        super().__init__()
        self.pixels, self.geometry, self.weights = pixels, geometry, weights

    def tta_logits(self, *inputs: Tensor) -> Tensor:
        return self.with_features(*inputs)[0]

    def with_features(self, *inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        images, measures = inputs
        first, second = self.weights
        logits, features = self.pixels.with_features(images)
        fused = first * logits.log_softmax(dim=2) + second * self.geometry.tta_logits(measures).log_softmax(dim=2)
        return fused, features


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

    outputs: list[list[NDArray[np.float64]]] = []
    with torch.inference_mode():
        for images, measures in input_batches(fusion, validation):
            network = fusion.pixels.tta_logits(images).log_softmax(dim=2).double().numpy()
            trees = fusion.geometry.tta_logits(measures).log_softmax(dim=2).double().numpy()
            outputs.append([network, np.broadcast_to(trees, network.shape)])
    pixels, geometry = (np.concatenate([both[index] for both in outputs], axis=1) for index in (0, 1))
    picked = (np.arange(len(validation.targets)), validation.targets)

    def loss(weights: NDArray[np.float64]) -> float:
        from scipy.special import softmax

        mixed = softmax(weights[0] * pixels + weights[1] * geometry, axis=2).mean(axis=0)
        return float(-np.log(np.maximum(mixed[picked], 1e-12)).mean())

    found = minimize(loss, np.array(EQUAL), method="L-BFGS-B", bounds=[(0.01, 10.0)] * 2)
    return round(float(found.x[0]), 4), round(float(found.x[1]), 4)
