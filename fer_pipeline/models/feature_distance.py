"""How far a crop's features lie from those of training, which tells pictures of something else from those known.

The Mahalanobis distance to the nearest class, with a covariance that all classes share (Lee et al. 2018). It is stored
in the model file in multiples of a limit: the distance that a share of the validation crops does not exceed, by the
quantile of split conformal prediction (Vovk et al. 2005), so that as many pictures of the same kind stay known.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_pipeline import console
from fer_pipeline.models.data import Crops
from fer_pipeline.models.model_module import ModelModule, WithDistance, input_batches

Features = NDArray[np.float64]  # (n, d)

SAMPLED = 5_000  # training crops that are looked at, evenly over their files
SHRINKAGE = 0.01  # towards features that do not correlate: few crops leave directions without any deviation


class FeatureDistance(nn.Module):
    """Compute distances (B,) of features (B, d) from those of training, in multiples of the limit."""

    centre: Tensor
    means: Tensor
    whitening: Tensor

    def __init__(self, means: Features, whitening: Features, limit: float = 1.0) -> None:
        """`means` are the classes' (classes, d); `whitening` (d, d) makes the shared covariance the identity."""
        super().__init__()
        centre = means.mean(axis=0)
        for name, array in (("centre", centre), ("means", (means - centre) @ whitening), ("whitening", whitening)):
            self.register_buffer(name, torch.from_numpy(array.astype(np.float32)))
        self.limit = limit

    def forward(self, features: Tensor) -> Tensor:
        apart = ((features - self.centre) @ self.whitening).unsqueeze(1) - self.means
        return apart.square().sum(dim=2).amin(dim=1).sqrt() / self.limit


def fit_distance(model: ModelModule, training: Crops, validation: Crops, share: float) -> FeatureDistance | None:
    """Fit means and covariance on training crops, and the limit that a `share` of the validation crops stays within.

    Says why and returns None where the model has no features, or too few validation crops for such a limit.
    """
    if not share:
        return None
    place = math.ceil((len(validation.targets) + 1) * share)  # of the limit, in the order of distances
    if place > len(validation.targets):
        needed = math.ceil(share / (1 - share))
        told = f"{len(validation.targets)} validation images are too few to tell what is unknown, it takes {needed}"
        console.note(f"train: {told}: nothing will be")
        return None
    chosen = np.unique(np.linspace(0, len(training.targets) - 1, SAMPLED).round().astype(int))
    sample = training.part(chosen.tolist())
    features = gather_features(model, sample)
    if features is None:
        console.note("train: this model has no features to measure a distance of: nothing will be unknown")
        return None
    distance = FeatureDistance(*_fit_gaussians(features, sample.targets))
    known = np.sort(measure_distances(distance, model, validation))
    distance.limit = max(float(known[place - 1]), 1e-6)
    return distance


def gather_features(model: ModelModule, crops: Crops) -> Features | None:
    """Compute the features (n, d) of crops; None for a model that has none."""
    parts = []
    with torch.inference_mode():
        for inputs in input_batches(model, crops):
            features = model.with_features(*inputs)[1]
            if features is None:
                return None
            parts.append(features.double().numpy())
    return np.concatenate(parts)


def measure_distances(distance: FeatureDistance, model: ModelModule, crops: Crops) -> NDArray[np.float32]:
    """Compute the distances (n,) of crops."""
    whole = WithDistance(model, distance)
    with torch.inference_mode():
        return np.concatenate([whole(*inputs)[1].numpy() for inputs in input_batches(model, crops)])


def _fit_gaussians(features: Features, targets: NDArray[np.int64]) -> tuple[Features, Features]:
    """Fit the mean of each class (classes, d), and a matrix (d, d) that whitens the covariance they share."""
    classes, places = np.unique(targets, return_inverse=True)
    means = np.stack([np.mean(features[targets == one], axis=0) for one in classes])
    left = features - means[places]
    deviations = left.std(axis=0) + 1e-6
    correlations = (left / deviations).T @ (left / deviations) / len(left)
    correlations = (1 - SHRINKAGE) * correlations + SHRINKAGE * np.eye(len(correlations))
    # inv(C) = W @ W.T, so that |x @ W| is the Mahalanobis length of x.
    return means, np.linalg.cholesky(np.linalg.inv(correlations)) / deviations[:, None]
