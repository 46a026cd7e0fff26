"""Temperature scaling (Guo et al. 2017): calibrate confidences by one number, fitted on the validation part."""

import numpy as np
import torch
from numpy.typing import NDArray

from fer_pipeline import console
from fer_pipeline.evaluation.confidence import measure_calibration
from fer_pipeline.models.data import Crops
from fer_pipeline.models.model_file import TemperatureFit
from fer_pipeline.models.model_module import ModelModule, input_batches

MIN_IMAGES = 30  # of the validation part, below which a temperature would be chance
TEMPERATURES = (0.1, 10.0)  # the range that is searched


def calibrate(classifier: ModelModule, validation: Crops) -> TemperatureFit:
    """Set the temperature with the least negative log-likelihood of the averaged probabilities of validation crops.

    The figures it returns, before and after, are of those same crops; `fer eval` measures the calibration on others.
    """
    from scipy.optimize import minimize_scalar

    logits, targets = _gather_logits(classifier, validation), validation.targets
    if len(targets) < MIN_IMAGES:
        told = f"{len(targets)} validation images are too few to fit a temperature, it takes {MIN_IMAGES}"
        console.note(f"train: {told}: it stays 1")
        return _measure(logits, targets, 1.0)
    found = minimize_scalar(
        lambda exponent: _likelihood(_average(logits, float(np.exp(exponent))), targets),
        bounds=np.log(TEMPERATURES).tolist(),
        method="bounded",
    )
    classifier.temperature = round(float(np.exp(found.x)), 4)
    return _measure(logits, targets, classifier.temperature)


def _gather_logits(classifier: ModelModule, crops: Crops) -> NDArray[np.float64]:
    """Collect the logits (T, n, classes) of all crops, a slice for each test-time augmentation."""
    with torch.inference_mode():
        parts = [classifier.tta_logits(*inputs).double().numpy() for inputs in input_batches(classifier, crops)]
    return np.concatenate(parts, axis=1)


def _average(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Average logits (T, n, classes) to probabilities (n, classes), as `ModelModule.forward` does."""
    from scipy.special import softmax

    return np.asarray(softmax(logits / temperature, axis=2).mean(axis=0))


def _likelihood(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Compute the mean negative log-likelihood of the true classes."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], 1e-12)).mean())


def _measure(logits: NDArray[np.float64], targets: NDArray[np.int64], temperature: float) -> TemperatureFit:
    before, after = _average(logits, 1.0), _average(logits, temperature)
    return TemperatureFit(
        temperature=temperature,
        images=len(targets),
        nll_before=round(_likelihood(before, targets), 4),
        nll_after=round(_likelihood(after, targets), 4),
        ece_before=measure_calibration(targets, before.astype(np.float32)).ece,
        ece_after=measure_calibration(targets, after.astype(np.float32)).ece,
    )
