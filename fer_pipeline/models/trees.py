"""Boosted trees over the mouth's measures: grown by scikit-learn, served as part of the graph."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fer_pipeline.models.data import Crops
from fer_pipeline.models.model_module import Scorer

ROUNDS = 150


class BoostedTrees(Scorer):
    """Measures (B, m) to probabilities; a missing measure goes the way most of the training went.

    All trees are walked at once: `place` (B, trees) is the node each row has come to, and a leaf leads to itself.
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
        """`trees` are scikit-learn's node arrays, round by round and score by score; `start` (scores,) comes first."""
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

    def view_logits(self, *inputs: Tensor) -> Tensor:
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
    """The next float32 at or below: for measures in float32 each comparison then ends as in float64."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def grow_trees(measures: NDArray[np.float32], targets: NDArray[np.int64], seed: int) -> Any:
    """scikit-learn's histogram gradient boosting of small trees, on one thread: the work is too small for more."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    settings = {"max_iter": ROUNDS, "learning_rate": 0.06, "max_leaf_nodes": 8, "l2_regularization": 1.0}
    leaf = max(2, min(15, len(targets) // 12))
    trees = HistGradientBoostingClassifier(**settings, min_samples_leaf=leaf, early_stopping=False, random_state=seed)
    with threadpool_limits(1):
        return trees.fit(measures, targets)


def fit_trees(training: Crops, seed: int) -> BoostedTrees:
    """Grown on the measures of training crops."""
    grown = grow_trees(training.known_measures(), training.targets, seed)
    nodes = [tree.nodes for trees in grown._predictors for tree in trees]
    return BoostedTrees(nodes, np.asarray(grown._baseline_prediction, np.float64).reshape(-1)).eval()
