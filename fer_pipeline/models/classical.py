"""Models that are no networks, by the name `train.network` gives them: scikit-learn's, converted to ONNX by skl2onnx.

`hog_svm` is a linear support vector machine on histograms of oriented gradients, as in Dalal & Triggs 2005; `geometry`
boosted trees over measures of the mouth.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_pipeline import console
from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.errors import InputError
from fer_pipeline.models.data import Crops
from fer_pipeline.models.graph import FLOOR, join
from fer_pipeline.models.model_file import OPSET, Card
from fer_pipeline.models.model_module import ModelModule
from fer_pipeline.vision.hog import hog_features
from fer_pipeline.vision.mouth import OUTLINE

if TYPE_CHECKING:
    from onnx import ModelProto

# by name, the side in pixels of the crops it is meant for
CLASSICAL = {"hog_svm": 64, "geometry": 96}


def wanted_measures(config: TrainConfig) -> tuple[str, ...]:
    """List the measures of the mouth that the model takes of every crop; none for one that sees pixels alone."""
    return OUTLINE if config.geometry or config.network == "geometry" else ()


class Estimator(ModelModule):
    """A fitted classifier of scikit-learn that takes one input, `hog` or `measures`."""

    def __init__(self, fitted: Any, takes: str) -> None:
        super().__init__()
        self.fitted, self.inputs = fitted, (takes,)

    def tta_logits(self, *inputs: Tensor) -> Tensor:
        probabilities = self.fitted.predict_proba(inputs[0].numpy())
        return torch.from_numpy(np.log(np.maximum(probabilities, FLOOR), dtype=np.float32))[None]

    def to_onnx(self, example: dict[str, Tensor], card: Card, distance: nn.Module | None = None) -> "ModelProto":
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType

        del distance  # it has no features to measure one of
        (name,), opsets = self.inputs, {"": OPSET, "ai.onnx.ml": 3}
        wanted = [(name, FloatTensorType([None, example[name].shape[1]]))]
        graph = to_onnx(self.fitted, initial_types=wanted, options={"zipmap": False}, target_opset=opsets)
        own = card.model_copy(update={"inputs": list(self.inputs)})
        return join([(graph, own)], own, [1 / self.temperature])


def fit_classical(config: TrainConfig, training: Crops) -> Estimator:
    """Fit one of `CLASSICAL`; there are no epochs and so no checkpoints or curves."""
    return fit_trees(training, config.seed) if config.network == "geometry" else fit_hog_svm(training, config.seed)


def fit_hog_svm(training: Crops, seed: int) -> Estimator:
    """Fit a linear SVM for each class against the rest, its probabilities by Platt scaling on three folds."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import LinearSVC

    console.note(f"train: support vector machine on HOG features of {console.counted(len(training.targets), 'crop')}")
    fewest, label = min(zip(np.bincount(training.targets).tolist(), training.labels, strict=True))
    if fewest < 2:
        raise InputError(f"train.network: class {label!r} has one crop to train on: add more, or train a network")
    machine = LinearSVC(C=0.1, random_state=seed)
    fitted = CalibratedClassifierCV(machine, cv=min(3, fewest), ensemble=False)
    return Estimator(fitted.fit(hog_features(training.images), training.targets), "hog").eval()


def fit_trees(training: Crops, seed: int) -> Estimator:
    """Fit gradient-boosted trees on the measures of training crops; a missing one is taken for the median."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    trees = GradientBoostingClassifier(
        n_estimators=150,
        learning_rate=0.06,
        max_leaf_nodes=8,
        max_features="sqrt",
        min_samples_leaf=max(2, min(15, len(training.targets) // 12)),
        random_state=seed,
    )
    fitted = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), trees)
    return Estimator(fitted.fit(training.known_measures(), training.targets), "measures").eval()
