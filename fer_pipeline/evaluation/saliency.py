"""What a network looked at: Grad-CAM (Selvaraju et al. 2017) on its last feature map that still has a shape.

The weights come from the run's checkpoint, since the model file holds no gradients.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.models.classifier import Classifier, build_classifier
from fer_pipeline.models.model_file import Card

SMALLEST = 4  # pixels: a coarser map says nothing about the place


def load_trained(run: Path, card: Card) -> Classifier:
    """The classifier of a run with the weights that became its model; raises what reading them raises."""
    config = TrainConfig.model_validate(card.settings).model_copy(update={"weights": None})  # nothing is downloaded
    classifier = build_classifier(config, card.labels, card.size)
    state = torch.load(run / "checkpoints" / f"{config.keep}.ckpt", map_location="cpu", weights_only=True)
    prefix = "classifier."
    own = {key.removeprefix(prefix): one for key, one in state["state_dict"].items() if key.startswith(prefix)}
    classifier.load_state_dict(own)
    return classifier.eval()


def explain(classifier: Classifier, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What spoke for the class each crop (n, size, size, 3) was given, (n, size, size) from 0 to 1.

    Raises ValueError for a network without a feature map.
    """
    pictures = torch.from_numpy(np.array(crops)).permute(0, 3, 1, 2).float() / 255
    side = classifier.center_crop or pictures.shape[-1]
    start = (pictures.shape[-1] - side) // 2
    window = pictures[:, :, start : start + side, start : start + side]
    layer = find_layer(classifier, window[:1])
    heat = _cam(classifier, layer, window)
    if classifier.flip:
        heat = heat + _cam(classifier, layer, window.flip(3)).flip(3)
    heat = functional.interpolate(heat, (side, side), mode="bilinear", align_corners=False)
    heat = heat / heat.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-9)
    far = pictures.shape[-1] - side - start
    return np.asarray(functional.pad(heat, (start, far, start, far))[:, 0].numpy(), dtype=np.float32)


def find_layer(classifier: Classifier, picture: Tensor) -> nn.Module:
    """The last module to answer with a feature map (B, C, H, W) of four pixels a side or more."""
    seen: list[tuple[nn.Module, int]] = []
    with torch.inference_mode(), _watching(list(classifier.network.modules()), seen):
        classifier.logits(picture)
    maps = [place for place, (_, sides) in enumerate(seen) if sides >= SMALLEST]
    # Transformers go on with tokens (B, N, C) after their only convolution: a map before them explains nothing.
    if not maps or any(sides < 0 for _, sides in seen[maps[-1] :]):
        raise ValueError("the network has no feature map")
    return seen[maps[-1]][0]


@contextmanager
def _watching(modules: list[nn.Module], seen: list[tuple[nn.Module, int]]) -> Iterator[None]:
    """Note every answer with the shorter side of its map: 0 for vectors, -1 for tokens."""

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            seen.append((module, {4: min(output.shape[-2:]), 3: -1}.get(output.ndim, 0)))

    hooks = [module.register_forward_hook(note) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _cam(classifier: Classifier, layer: nn.Module, pictures: Tensor) -> Tensor:
    """Maps (B, 1, h, w): channels weighed by the mean gradient of the winning logit, what spoke against it left out."""
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _module, _input, output: kept.append(output))
    try:
        logits = classifier.logits(pictures.clone().requires_grad_())
    finally:
        hook.remove()
    winning = logits.max(dim=1).values.sum()
    (gradient,) = torch.autograd.grad(winning, kept[-1])
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * kept[-1]).sum(dim=1, keepdim=True).clamp_min(0).detach()
