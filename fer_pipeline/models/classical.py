"""Models that are no networks, by the name `train.network` gives them, each as a graph that is served like a network.

`hog_svm` is a support vector machine on histograms of oriented gradients (Dalal & Triggs 2005), `geometry` boosted
trees over measures of the mouth. scikit-learn fits both; torch modules compute what scikit-learn's models would.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fer_pipeline import console
from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.models.data import Crops
from fer_pipeline.models.model_module import ModelModule, input_batches
from fer_pipeline.vision.mouth import OUTLINE

# by name, the side in pixels of the crops it is meant for
CLASSICAL = {"hog_svm": 64, "geometry": 96}


def wanted_measures(config: TrainConfig) -> tuple[str, ...]:
    """List the measures of the mouth that the model takes of every crop; none for one that sees pixels alone."""
    return OUTLINE if config.geometry or config.network == "geometry" else ()


def fit_classical(config: TrainConfig, training: Crops, validation: Crops) -> ModelModule:
    """Fit one of `CLASSICAL`; there are no epochs and so no checkpoints or curves."""
    if config.network == "geometry":
        return fit_trees(training, config.seed)
    return fit_hog_svm(training, validation, flip=config.flip, seed=config.seed)


BINS, CELL, BLOCK = 9, 8, 2  # orientations of 20 degrees, pixels a side of a cell, cells a side of a block
CLIP = 0.2  # of a normalised block


class Hog(nn.Module):
    """Histograms of oriented gradients: crops uint8 (B, size, size, 3) to features (B, blocks x 36), 1764 at 64 px.

    As in the article: square-root gamma, the colour channel with the largest gradient, nine unsigned orientations,
    cells of 8 px, votes shared between neighbouring bins and cells, overlapping 2x2 blocks normalised by L2-Hys.
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
    """Compute the central differences (B, 1, H, W), across and down, of the channel with the largest gradient."""
    across = _beside(pictures, 3)
    down = _beside(pictures, 2)
    most = (across.square() + down.square()).argmax(dim=1, keepdim=True)
    return across.gather(1, most), down.gather(1, most)


def _beside(pictures: Tensor, dim: int) -> Tensor:
    """Subtract the pixel before from the next along a dimension; at the border the pixel itself stands for either."""
    last = pictures.shape[dim] - 1
    after = torch.cat([pictures.narrow(dim, 1, last), pictures.narrow(dim, last, 1)], dim)
    return after - torch.cat([pictures.narrow(dim, 0, 1), pictures.narrow(dim, 0, last)], dim)


def _blocks(cells: Tensor) -> Tensor:
    """Join cells (B, 9, h, w) to blocks (B, 36, h - 1, w - 1), normalised, clipped and normalised again."""
    corners = [cells[:, :, y : y - 1 or None, x : x - 1 or None] for y in range(BLOCK) for x in range(BLOCK)]
    blocks = _normalise(torch.cat(corners, dim=1))
    return _normalise(blocks.clamp_max(CLIP))


def _normalise(blocks: Tensor) -> Tensor:
    return blocks / (blocks.square().sum(dim=1, keepdim=True) + 1e-4).sqrt()


MAX_KERNEL_VECTORS = 6_000  # up to which the SVM has an RBF kernel: its file and its time grow with them
C, C_LINEAR = 3.0, 0.01  # penalty of a wrong side, of the kernel SVM and the linear one
Features = NDArray[np.float32]


class SvmParameters(NamedTuple):
    """A one-vs-rest SVM of K classes: support `vectors` (n, d), their `weights` (n, K), and `offsets` (K,).

    `gamma` is that of the RBF kernel exp(-gamma |x - y|^2); None: a linear SVM, with one vector a class.
    """

    vectors: Features
    weights: NDArray[np.float64]
    offsets: NDArray[np.float64]
    gamma: float | None


class Svm(nn.Module):
    """Compute one decision value for each class (B, K) from features (B, d)."""

    vectors: Tensor
    weights: Tensor
    offsets: Tensor

    def __init__(self, machine: SvmParameters) -> None:
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


class HogSvm(ModelModule):
    """Crops to probabilities: HOG, SVM, then multinomial logistic regression on its decisions (Platt scaling, 1999)."""

    slopes: Tensor
    offsets: Tensor

    def __init__(self, machine: SvmParameters, *, flip: bool) -> None:
        super().__init__()
        self.hog, self.svm, self.flip = Hog(), Svm(machine), flip
        classes = len(machine.offsets)
        self.register_buffer("slopes", 2 * torch.eye(classes))
        self.register_buffer("offsets", torch.zeros(classes))

    def decide(self, images: Tensor) -> Tensor:
        """Compute decision values (T, B, K) of the crops and, with `flip`, of their mirror images."""
        versions = [images, images.flip(2)] if self.flip else [images]
        return torch.stack([self.svm(self.hog(view)) for view in versions])

    def tta_logits(self, *inputs: Tensor) -> Tensor:
        return self.decide(*inputs) @ self.slopes + self.offsets


def fit_hog_svm(training: Crops, validation: Crops, *, flip: bool, seed: int) -> HogSvm:
    """Fit the SVM on training crops (with `flip` also mirrored), and the logistic regression on validation crops."""
    console.note(f"train: HOG features of {console.counted(len(training.targets), 'crop')}")
    features, targets = hog_features(training, flip=False), training.targets
    if flip:
        features, targets = np.concatenate([features, hog_features(training, flip=True)]), np.tile(targets, 2)
    console.note(f"train: support vector machine on {len(targets)} vectors of {features.shape[1]}")
    machine = fit_svm(features, targets, len(training.labels), seed)
    model = HogSvm(machine, flip=flip).eval()
    _fit_logistic(model, validation)
    return model


def hog_features(crops: Crops, *, flip: bool) -> Features:
    """Compute HOG features (n, d) of crops or, with `flip`, of their mirror images."""
    hog, parts = Hog(), []
    with torch.inference_mode():
        for start in range(0, len(crops.targets), 256):
            images = torch.from_numpy(np.array(crops.images[start : start + 256]))
            parts.append(hog(images.flip(2) if flip else images).numpy())
    return np.concatenate(parts)


def fit_svm(features: Features, targets: NDArray[np.int64], classes: int, seed: int) -> SvmParameters:
    """Fit each class against the rest: with an RBF kernel, or linearly above `MAX_KERNEL_VECTORS` vectors."""
    from sklearn.svm import SVC, LinearSVC

    if len(features) > MAX_KERNEL_VECTORS:
        linear = [LinearSVC(C=C_LINEAR, random_state=seed).fit(features, targets == one) for one in range(classes)]
        vectors = np.concatenate([one.coef_ for one in linear]).astype(np.float32)
        return SvmParameters(vectors, np.eye(classes), np.concatenate([one.intercept_ for one in linear]), None)
    gamma = 1 / (features.shape[1] * float(features.var()))
    kernel = _kernel(features, gamma)
    weights, offsets = np.zeros((len(features), classes)), np.zeros(classes)
    for one in range(classes):
        fitted = SVC(C=C, kernel="precomputed").fit(kernel, targets == one)
        weights[fitted.support_, one] = fitted.dual_coef_[0]
        offsets[one] = fitted.intercept_[0]
    used = np.flatnonzero(np.abs(weights).sum(axis=1))
    return SvmParameters(features[used], weights[used], offsets, gamma)


def _kernel(features: Features, gamma: float) -> NDArray[np.float64]:
    """Compute exp(-gamma |x - y|^2) of all pairs (n, n), once for all classes."""
    from sklearn.metrics.pairwise import rbf_kernel

    return np.asarray(rbf_kernel(features.astype(np.float64), gamma=gamma))


def _fit_logistic(model: HogSvm, validation: Crops) -> None:
    """Fit the logistic regression; leave it as it is where the validation part lacks a class."""
    from sklearn.linear_model import LogisticRegression

    classes = len(validation.labels)
    if len(set(validation.targets.tolist())) < classes:
        console.note("train: the validation part lacks a class, the probabilities are not calibrated")
        return
    with torch.inference_mode():
        parts = [model.decide(*inputs).mean(dim=0) for inputs in input_batches(model, validation)]
        decisions = torch.cat(parts).numpy()
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(decisions, validation.targets)
    slopes, offsets = fitted.coef_.T, fitted.intercept_
    if classes == 2:  # scikit-learn gives the second class alone
        slopes, offsets = np.hstack([-slopes, slopes]) / 2, np.hstack([-offsets, offsets]) / 2
    model.slopes = torch.from_numpy(slopes.astype(np.float32))
    model.offsets = torch.from_numpy(offsets.astype(np.float32))


ROUNDS = 150  # of boosting


class BoostedTrees(ModelModule):
    """Gradient-boosted trees: measures (B, m) to probabilities; NaN goes the way most training rows went.

    All trees are walked at once: `place` (B, trees) is the node each row has reached, and a leaf leads to itself.
    """

    inputs = ("measures",)
    feature: Tensor
    threshold: Tensor
    missing_left: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    roots: Tensor
    start: Tensor

    def __init__(self, trees: list[NDArray[Any]], start: NDArray[np.float64]) -> None:
        """`trees` are scikit-learn's node arrays, by round and then by score; `start` (scores,) is the baseline."""
        super().__init__()
        sizes = np.array([len(tree) for tree in trees])
        roots = np.cumsum(sizes) - sizes
        nodes, shift = np.concatenate(trees), np.repeat(roots, sizes)
        own, leaf = np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
        arrays = {
            "feature": np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
            "threshold": _round_down(np.where(leaf, 0.0, nodes["num_threshold"])),
            "missing_left": nodes["missing_go_to_left"].astype(bool),
            "left": np.where(leaf, own, nodes["left"] + shift).astype(np.int64),
            "right": np.where(leaf, own, nodes["right"] + shift).astype(np.int64),
            "value": nodes["value"].astype(np.float32),
            "roots": roots.astype(np.int64),
            "start": start.astype(np.float32),
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array))
        self.depth, self.scores = int(nodes["depth"].max()), len(start)

    def with_features(self, *inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.tta_logits(*inputs), inputs[0]

    def tta_logits(self, *inputs: Tensor) -> Tensor:
        (measures,) = inputs
        place = self.roots.expand(measures.shape[0], -1)
        for _ in range(self.depth):
            found = measures.gather(1, self.feature[place])
            # NaN is not below any threshold.
            goes_left = (found <= self.threshold[place]) | (found.isnan() & self.missing_left[place])
            place = torch.where(goes_left, self.left[place], self.right[place])
        values = self.value[place]
        scores = values.reshape(values.shape[0], -1, self.scores).sum(dim=1) + self.start
        # Of two classes scikit-learn scores the second alone.
        logits = scores if self.scores > 1 else torch.cat([torch.zeros_like(scores), scores], dim=1)
        return logits.unsqueeze(0)


def _round_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round down to float32: for measures in float32 each comparison then ends as in float64."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def fit_boosting(measures: NDArray[np.float32], targets: NDArray[np.int64], seed: int) -> Any:
    """Fit scikit-learn's histogram gradient boosting, on one thread: the work is too small for more."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    settings = {"max_iter": ROUNDS, "learning_rate": 0.06, "max_leaf_nodes": 8, "l2_regularization": 1.0}
    leaf = max(2, min(15, len(targets) // 12))
    trees = HistGradientBoostingClassifier(**settings, min_samples_leaf=leaf, early_stopping=False, random_state=seed)
    with threadpool_limits(1):
        return trees.fit(measures, targets)


def fit_trees(training: Crops, seed: int) -> BoostedTrees:
    """Fit the trees on the measures of training crops."""
    grown = fit_boosting(training.known_measures(), training.targets, seed)
    nodes = [tree.nodes for trees in grown._predictors for tree in trees]
    return BoostedTrees(nodes, np.asarray(grown._baseline_prediction, np.float64).reshape(-1)).eval()
