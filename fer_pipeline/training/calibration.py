"""Temperature scaling (Guo et al. 2017): one number that makes a confidence mean what it says."""

import numpy as np
import torch
from numpy.typing import NDArray

from fer_pipeline import console
from fer_pipeline.evaluation.confidence import measure_calibration
from fer_pipeline.models.data import Crops
from fer_pipeline.models.model_file import TemperatureFit
from fer_pipeline.models.model_module import Scorer, feed

FEWEST = 30  # validation images below which a temperature would be luck
RANGE = (0.1, 10.0)


def calibrate(classifier: Scorer, validation: Crops) -> TemperatureFit:
    """Set the temperature with the least negative log-likelihood of the averaged probabilities of validation crops.

    What it tells of before and after is measured on those same crops; `eval` has the error on images it never saw.
    """
    from scipy.optimize import minimize_scalar

    logits, targets = _gather_logits(classifier, validation), validation.targets
    if len(targets) < FEWEST:
        told = f"{len(targets)} validation images are too few to fit a temperature, it takes {FEWEST}"
        console.note(f"train: {told}: it stays 1")
        return _tell(logits, targets, 1.0)
    found = minimize_scalar(
        lambda exponent: _likelihood(_average(logits, float(np.exp(exponent))), targets),
        bounds=np.log(RANGE).tolist(),
        method="bounded",
    )
    classifier.temperature = round(float(np.exp(found.x)), 4)
    return _tell(logits, targets, classifier.temperature)


def _gather_logits(classifier: Scorer, crops: Crops) -> NDArray[np.float64]:
    """Logits (views, n, classes) of every window and mirror image."""
    with torch.inference_mode():
        parts = [classifier.view_logits(*inputs).double().numpy() for inputs in feed(classifier, crops)]
    return np.concatenate(parts, axis=1)


def _average(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Probabilities (n, classes): what `Scorer.forward` gives at that temperature."""
    from scipy.special import softmax

    return np.asarray(softmax(logits / temperature, axis=2).mean(axis=0))


def _likelihood(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """The mean negative log-likelihood of the true classes."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], 1e-12)).mean())


def _tell(logits: NDArray[np.float64], targets: NDArray[np.int64], temperature: float) -> TemperatureFit:
    before, after = _average(logits, 1.0), _average(logits, temperature)
    return TemperatureFit(
        temperature=temperature,
        images=len(targets),
        nll_before=round(_likelihood(before, targets), 4),
        nll_after=round(_likelihood(after, targets), 4),
        ece_before=measure_calibration(targets, before.astype(np.float32)).ece,
        ece_after=measure_calibration(targets, after.astype(np.float32)).ece,
    )
