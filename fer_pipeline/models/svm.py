"""A support vector machine on HOG features: fitted by scikit-learn, served as part of the graph."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_pipeline import console
from fer_pipeline.models.data import Crops
from fer_pipeline.models.hog import Hog
from fer_pipeline.models.model_module import Scorer, feed

MOST = 6_000  # vectors up to which the machine has a kernel: its file and its time grow with them
C, C_LINEAR = 3.0, 0.01
Features = NDArray[np.float32]


class Machine(NamedTuple):
    """One against the rest, for each of K classes: `weights` (n, K) of `vectors` (n, d) under the kernel, and offsets.

    `gamma` is that of exp(-gamma |x - y|^2); None: the product of x and y, with a single vector a class.
    """

    vectors: Features
    weights: NDArray[np.float64]
    offsets: NDArray[np.float64]
    gamma: float | None


class Svm(nn.Module):
    """Features (B, d) to one decision value for each class (B, K)."""

    vectors: Tensor
    weights: Tensor
    offsets: Tensor

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.gamma = machine.gamma
        self.register_buffer("vectors", torch.from_numpy(machine.vectors))
        self.register_buffer("weights", torch.from_numpy(machine.weights.astype(np.float32)))
        self.register_buffer("offsets", torch.from_numpy(machine.offsets.astype(np.float32)))

    def forward(self, features: Tensor) -> Tensor:
        products = features @ self.vectors.T
        if self.gamma is None:
            return products @ self.weights + self.offsets
        squares = features.square().sum(dim=1, keepdim=True) + self.vectors.square().sum(dim=1)
        return torch.exp(-self.gamma * (squares - 2 * products).clamp_min(0)) @ self.weights + self.offsets


class HogSvm(Scorer):
    """Crops to probabilities: HOG, SVM, then a multinomial logistic over its decisions (Platt 1999, for K classes)."""

    slopes: Tensor
    offsets: Tensor

    def __init__(self, machine: Machine, *, flip: bool) -> None:
        super().__init__()
        self.hog, self.svm, self.flip = Hog(), Svm(machine), flip
        classes = len(machine.offsets)
        self.register_buffer("slopes", 2 * torch.eye(classes))
        self.register_buffer("offsets", torch.zeros(classes))

    def decide(self, images: Tensor) -> Tensor:
        """Decision values (views, B, K)."""
        views = [images, images.flip(2)] if self.flip else [images]
        return torch.stack([self.svm(self.hog(view)) for view in views])

    def view_logits(self, *inputs: Tensor) -> Tensor:
        return self.decide(*inputs) @ self.slopes + self.offsets


def fit_hog_svm(training: Crops, validation: Crops, *, flip: bool, seed: int) -> HogSvm:
    """Fitted on training crops and their mirror images; the logistic on validation crops the machine never saw."""
    console.note(f"train: HOG features of {len(training.targets)} crops")
    features, targets = describe(training, flip=False), training.targets
    if flip:
        features, targets = np.concatenate([features, describe(training, flip=True)]), np.tile(targets, 2)
    console.note(f"train: support vector machine on {len(targets)} vectors of {features.shape[1]}")
    machine = fit_machine(features, targets, len(training.labels), seed)
    scorer = HogSvm(machine, flip=flip).eval()
    _fit_logistic(scorer, validation)
    return scorer


def describe(crops: Crops, *, flip: bool) -> Features:
    """HOG features (n, d) of crops or of their mirror images."""
    hog, parts = Hog(), []
    with torch.inference_mode():
        for start in range(0, len(crops.targets), 256):
            images = torch.from_numpy(np.array(crops.images[start : start + 256]))
            parts.append(hog(images.flip(2) if flip else images).numpy())
    return np.concatenate(parts)


def fit_machine(features: Features, targets: NDArray[np.int64], classes: int, seed: int) -> Machine:
    """Each class against the rest: with an RBF kernel, or a linear one where there are more than `MOST` vectors."""
    from sklearn.svm import SVC, LinearSVC

    if len(features) > MOST:
        linear = [LinearSVC(C=C_LINEAR, random_state=seed).fit(features, targets == one) for one in range(classes)]
        vectors = np.concatenate([one.coef_ for one in linear]).astype(np.float32)
        return Machine(vectors, np.eye(classes), np.concatenate([one.intercept_ for one in linear]), None)
    gamma = 1 / (features.shape[1] * float(features.var()))
    kernel = _kernel(features, gamma)
    weights, offsets = np.zeros((len(features), classes)), np.zeros(classes)
    for one in range(classes):
        fitted = SVC(C=C, kernel="precomputed").fit(kernel, targets == one)
        weights[fitted.support_, one] = fitted.dual_coef_[0]
        offsets[one] = fitted.intercept_[0]
    used = np.flatnonzero(np.abs(weights).sum(axis=1))
    return Machine(features[used], weights[used], offsets, gamma)


def _kernel(features: Features, gamma: float) -> NDArray[np.float64]:
    """exp(-gamma |x - y|^2) of all pairs (n, n), computed once for all classes."""
    from sklearn.metrics.pairwise import rbf_kernel

    return np.asarray(rbf_kernel(features.astype(np.float64), gamma=gamma))


def _fit_logistic(scorer: HogSvm, validation: Crops) -> None:
    """Decisions to probabilities; left as they are where the validation part lacks a class."""
    from sklearn.linear_model import LogisticRegression

    classes = len(validation.labels)
    if len(set(validation.targets.tolist())) < classes:
        console.note("train: the validation part lacks a class, the probabilities are not calibrated")
        return
    with torch.inference_mode():
        parts = [scorer.decide(*inputs).mean(dim=0) for inputs in feed(scorer, validation)]
        decisions = torch.cat(parts).numpy()
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(decisions, validation.targets)
    slopes, offsets = fitted.coef_.T, fitted.intercept_
    if classes == 2:  # scikit-learn gives the second class alone
        slopes, offsets = np.hstack([-slopes, slopes]) / 2, np.hstack([-offsets, offsets]) / 2
    scorer.slopes = torch.from_numpy(slopes.astype(np.float32))
    scorer.offsets = torch.from_numpy(offsets.astype(np.float32))
