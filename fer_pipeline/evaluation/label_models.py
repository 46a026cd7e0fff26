"""Predict every label out of fold by linear models, which take seconds, to find wrong labels.

On histograms of oriented gradients (Dalal and Triggs 2005) they come near a network on crops of mouths, and one label
in ten being wrong cost them a point: docs/audit.md has what each finds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.console import note
from fer_pipeline.dataset.rows import Row
from fer_pipeline.models.data import Crops
from fer_pipeline.vision.hog import hog_features

# Inverse strength of the penalty: gradients are 1,764 numbers, the mouth's ratios 11.
PENALTIES = {"gradients": 0.001, "geometry": 0.1}


def predict_labels(crops: Crops, folds: NDArray[np.int64], *, mirror: bool = True) -> dict[str, NDArray[np.float64]]:
    """Probabilities (n, classes) by each model, trained without the image's fold."""
    features = {"gradients": hog_features(crops.images, mirror=mirror)}
    ratios = mouth_ratios(crops.rows)
    if ratios is not None:
        features["geometry"] = ratios
    for name, values in features.items():
        note(f"audit: predicting {len(values)} labels by {name}")
    classes = len(crops.labels)
    return {
        name: _out_of_fold(values, crops.targets, folds, classes, PENALTIES[name]) for name, values in features.items()
    }


def mouth_ratios(rows: Sequence[Row]) -> NDArray[np.float32] | None:
    """Lengths and ratios of the mouth (n, k) as `crop` noted them; None unless every row has them."""
    mouths: list[dict[str, float]] = [row.attributes.get("mouth") or {} for row in rows]
    if not mouths[0] or any(mouth.keys() != mouths[0].keys() for mouth in mouths):
        return None
    return np.array([list(mouth.values()) for mouth in mouths], dtype=np.float32)


def _out_of_fold(
    features: NDArray[np.float32], targets: NDArray[np.int64], folds: NDArray[np.int64], classes: int, penalty: float
) -> NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probabilities = np.zeros((len(targets), classes))
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        model: Any = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=500))
        model.fit(features[~held], targets[~held])
        probabilities[np.ix_(held, model.classes_)] = model.predict_proba(features[held])
    return probabilities
