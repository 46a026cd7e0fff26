"""Saliency maps as pictures: Grad-CAM if the run's checkpoint and torch are there, else occlusion."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.models.predictor import Predictor
from fer_pipeline.report.pictures import Picture, embed_image
from fer_pipeline.report.predictions_table import PredictedImage, spread
from fer_pipeline.vision.crop import as_crop
from fer_pipeline.vision.image_io import BadImage, Image, read_image

Heat = NDArray[np.float32]
Classify = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
STEPS = 6  # places of the patch along a side
GRAD_CAM = (
    "Grad-CAM (Selvaraju et al. 2017): bright places raise the score of the predicted class. The map is as coarse as "
    "the last feature map of the network."
)
OCCLUSION = (
    "Occlusion (Zeiler and Fergus 2014): a grey patch is moved over the crop; covering bright places lowers the "
    "probability of the predicted class."
)


class Pair(NamedTuple):
    """A crop, its heat map, and its prediction."""

    crop: Picture
    heat: Picture
    image: PredictedImage


class Attention(NamedTuple):
    """Crops and heat maps by class, and the method, or why there are none."""

    by_label: dict[str, list[Pair]]
    method: str


def look(run: Path, predictor: Predictor, folder: Path, images: list[PredictedImage], total: int = 64) -> Attention:
    """Explain some right and some wrong predictions of each class; never raises for what it cannot explain."""
    labels = predictor.card.labels
    each = max(1, min(4, total // (2 * max(1, len(labels)))))
    chosen = [one for label in labels for right in (True, False) for one in _choose(images, label, right, each)]
    found = [(one, crop) for one in chosen if (crop := _read(folder / one.path, predictor.card.size)) is not None]
    if not found:
        return Attention({}, "None of the images measured on can be opened any more.")
    try:
        heats, method = _explain(run, predictor, np.stack([crop for _, crop in found]))
    except Exception as error:  # noqa: BLE001  any kind of model may be in the file, and a page needs no picture
        return Attention(
            {}, f"The predictions of this model cannot be explained by places in the crop ({type(error).__name__})."
        )
    by_label: dict[str, list[Pair]] = {}
    for (one, crop), heat in zip(found, heats, strict=True):
        by_label.setdefault(one.label, []).append(_pair(one, crop, heat))
    return Attention(by_label, method)


def _choose(images: list[PredictedImage], label: str, right: bool, count: int) -> list[PredictedImage]:
    return spread(images, lambda one: one.label == label and one.right == right, count)


def _read(path: Path, size: int) -> Image | None:
    try:
        return as_crop(read_image(path), size)
    except (BadImage, OSError):
        return None


def _explain(run: Path, predictor: Predictor, crops: NDArray[np.uint8]) -> tuple[Heat, str]:
    folder = run if run.is_dir() else run.parent
    if (folder / "checkpoints").is_dir() and find_spec("torch") and find_spec("lightning"):
        heats = _try_gradients(folder, predictor, crops)
        if heats is not None:
            return heats, GRAD_CAM
    return occlude(predictor.classify, crops), OCCLUSION


def _try_gradients(folder: Path, predictor: Predictor, crops: NDArray[np.uint8]) -> Heat | None:
    """Grad-CAM, unless the network has no feature map or the checkpoint is not what the model file was made of."""
    try:
        import torch

        from fer_pipeline.evaluation.saliency import explain, load_trained

        classifier = load_trained(folder, predictor.card)
        with torch.inference_mode():
            same = classifier(torch.from_numpy(crops.copy())).numpy().argmax(axis=1)
        if (same == predictor.classify(crops).argmax(axis=1)).mean() < 0.95:
            return None
        return explain(classifier, crops)
    except Exception:  # noqa: BLE001  a damaged checkpoint, another kind of model: occlusion needs neither
        return None


def occlude(classify: Classify, crops: NDArray[np.uint8]) -> Heat:
    """Occlusion map: the drop in the predicted class's probability by covering a place, (n, size, size) from 0 to 1."""
    count, size = len(crops), crops.shape[1]
    before = classify(crops)
    rows, classes = np.arange(count), before.argmax(axis=1)
    side = max(2, size // 4)
    starts = np.linspace(0, size - side, STEPS).round().astype(int)
    grey = crops.mean(axis=(1, 2), keepdims=True).astype(np.uint8)
    heat, seen = np.zeros((count, size, size), np.float32), np.zeros((size, size), np.float32)
    for y in starts:
        for x in starts:
            covered = crops.copy()
            covered[:, y : y + side, x : x + side] = grey
            drop = before[rows, classes] - classify(covered)[rows, classes]
            heat[:, y : y + side, x : x + side] += np.maximum(drop, 0)[:, None, None]
            seen[y : y + side, x : x + side] += 1
    heat /= seen
    return np.asarray(heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-9), dtype=np.float32)


def _pair(image: PredictedImage, crop: Image, heat: Heat) -> Pair:
    told = f"{image.label}, predicted {image.predicted}"
    plain = embed_image(crop, f"Crop: {told}", side=88)
    return Pair(plain, embed_image(_blend(crop, heat), f"Heat map: {told}", side=88), image)


def _blend(crop: Image, heat: Heat) -> Image:
    """The crop, darkened, under the colours of its heat map."""
    import cv2

    colours = cv2.cvtColor(cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    grey = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(np.clip(0.5 * grey + 0.6 * colours, 0, 255), dtype=np.uint8)
