"""The networks a run can train, each from normalised pictures (B, 3, size, size) to logits (B, classes).

Our own residual networks, those of `tutorial_networks`, and every classifier of torchvision.
"""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import torch
from torch import Tensor, nn
from torchvision import models

from fer_pipeline.errors import UsageError
from fer_pipeline.models.classical import CLASSICAL
from fer_pipeline.models.tutorial_networks import fer_cnn, prelu_cnn, simpleconv3, vgg_small


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, (B, inner, H, W) to (B, outer, H/stride, W/stride); He et al. 2015."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        first, second = _convolution(inner, outer, stride), _convolution(outer, outer, 1)
        self.body = nn.Sequential(*first, nn.ReLU(inplace=True), *second)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            # Rounded up as the padded convolutions do it, else odd sides would not add up.
            pool = nn.AvgPool2d(stride, ceil_mode=True)
            self.shortcut = nn.Sequential(pool, nn.Conv2d(inner, outer, 1, bias=False))
        # A block that starts as the identity trains steadily at the high peak rate of one cycle (Goyal et al. 2017).
        nn.init.zeros_(second[1].weight)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.body(features) + self.shortcut(features))


class ResidualNet(nn.Module):
    """A small ResNet: a stem that halves the side, two blocks for each width, average pooling, one dense layer.

    With `last_single` the last width has one block.
    """

    def __init__(
        self, classes: int, widths: Sequence[int], *, deep_stem: bool = False, last_single: bool = False
    ) -> None:
        super().__init__()
        first = [*_convolution(3, widths[0] // 2, 1), nn.ReLU(inplace=True)] if deep_stem else []
        inner = widths[0] // 2 if deep_stem else 3
        self.stem = nn.Sequential(*first, *_convolution(inner, widths[0], 2), nn.ReLU(inplace=True))
        blocks: list[nn.Module] = []
        for depth, width in enumerate(widths):
            blocks.append(Residual(widths[max(depth - 1, 0)], width, stride=1 if depth == 0 else 2))
            if depth < len(widths) - 1 or not last_single:
                blocks.append(Residual(width, width, stride=1))
        self.blocks = nn.Sequential(*blocks)
        self.last_blocks = 1 if last_single else 2
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0), nn.Linear(widths[-1], classes))

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.stem(pictures)))
        return logits

    def block_before_last(self) -> nn.Module:
        """Return the last block of the width before the last, of maps (B, width, H, W) twice as fine as the last."""
        return self.blocks[-1 - self.last_blocks]


def _convolution(inner: int, outer: int, stride: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outer)


def compact_resnet(classes: int) -> ResidualNet:
    """Build a ResNet of 0.4 M parameters and four scales, for pictures of 64 px: 330 crops/s on one core."""
    return ResidualNet(classes, (16, 32, 64, 128), last_single=True)


def medium_resnet(classes: int) -> ResidualNet:
    """Build a ResNet of 2.8 M parameters and three scales, for tens of thousands of faces of 48 px."""
    return ResidualNet(classes, (64, 128, 256), deep_stem=True)


FROZEN = "resnet18"
# name: (side in pixels it is meant for, from (classes, size) to the network)
OWN: dict[str, tuple[int, Callable[[int, int], nn.Module]]] = {
    "compact_resnet": (64, lambda classes, _: compact_resnet(classes)),
    "medium_resnet": (48, lambda classes, _: medium_resnet(classes)),
    "simpleconv3": (48, simpleconv3),
    "fer_cnn": (48, fer_cnn),
    "prelu_cnn": (64, prelu_cnn),
    "vgg_small": (64, vgg_small),
}
TORCHVISION_SIZE = 224
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Both would otherwise answer with a tuple of main and side outputs while training.
WITHOUT_SIDE_HEADS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def default_size(name: str) -> int:
    """Return the side in pixels of the crops that a network or classical model is meant for."""
    return CLASSICAL[name] if name in CLASSICAL else OWN[name][0] if name in OWN else TORCHVISION_SIZE


def default_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of pictures in 0..1: ImageNet's for torchvision, else .5."""
    return HALF if name in OWN else IMAGENET


def network_names() -> list[str]:
    """List every name that `build_network` knows, our own first."""
    return [*OWN, *models.list_models(module=models)]


def check_network(name: str) -> None:
    """Raise UsageError for an unknown network, before any data is read."""
    known = [*CLASSICAL, *network_names()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]}?" if near else f"choose {', '.join([*OWN, *CLASSICAL])}, or one of torchvision"
        raise UsageError(f"train.network: unknown network {name!r}: {meant}")


def build_network(
    name: str,
    classes: int,
    size: int,
    *,
    dropout: float | None = None,
    weights: str | None = None,
) -> nn.Module:
    """Build a network from float (B, 3, size, size) to logits (B, classes).

    `dropout` is that before the last dense layer, in place of the network's own. `weights` is a torchvision weights
    name ("DEFAULT", "IMAGENET1K_V1") or a file holding a state dict; layers of another shape, such as the head, start
    afresh.
    `resnet18` trains its head alone, as the lips article did; any other torchvision classifier trains whole.
    Raises ValueError for an unknown name, and for weights that do not fit the network.
    """
    if name not in network_names():
        raise ValueError(
            f"unknown network {name!r}: choose {', '.join([*OWN, *CLASSICAL])} or a torchvision classifier"
        )
    network = OWN[name][1](classes, size) if name in OWN else _torchvision_network(name, classes, size)
    if weights is not None:
        _load_matching(network, _read_weights(name, weights), weights)
    if dropout is not None:
        _set_dropout(name, network, dropout)
    return FrozenBackbone(network) if name == FROZEN else network


class FrozenBackbone(nn.Module):
    """A torchvision ResNet of which the last layer alone is trained, (B, 3, H, W) to (B, classes)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.network.get_submodule("fc").requires_grad_(True)

    def train(self, mode: bool = True) -> Self:
        """Keep the backbone in eval mode: batch norms would otherwise drift with each batch, frozen or not."""
        super().train(mode)
        self.network.eval()
        self.network.get_submodule("fc").train(mode)
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.network(pictures)
        return logits


def _torchvision_network(name: str, classes: int, size: int) -> nn.Module:
    options = dict(WITHOUT_SIDE_HEADS.get(name, {}))
    if name.startswith("vit_"):
        options["image_size"] = size
    network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
    return network


def _set_dropout(name: str, network: nn.Module, share: float) -> None:
    """Set the dropout before the last dense layer, adding one where there is none."""
    modules = dict(network.named_modules())
    dense = [key for key, module in modules.items() if isinstance(module, nn.Linear)]
    if not dense:
        raise ValueError(f"{name} has no dense layer for train.dropout to stand before: leave it out")
    above, _, own = dense[-1].rpartition(".")
    siblings = list(modules[above].named_children())
    place = [key for key, _ in siblings].index(own)
    before = siblings[place - 1][1] if place else None
    if isinstance(before, nn.Dropout):
        before.p = share
    else:
        setattr(modules[above], own, nn.Sequential(nn.Dropout(share), modules[dense[-1]]))


def _read_weights(name: str, weights: str) -> Mapping[str, Tensor]:
    """Read a state dict from a file, or from torchvision, which downloads it once."""
    if Path(weights).is_file():
        return _read_file(weights)
    try:
        known = models.get_model_weights(name)[weights]
    except (KeyError, ValueError):
        raise ValueError(f"weights {weights!r}: neither a file nor torchvision weights of {name}") from None
    try:
        fetched: OrderedDict[str, Tensor] = known.get_state_dict(progress=False, check_hash=True)
    except (HTTPException, RuntimeError) as error:  # broken off, or of another hash
        raise OSError(error) from None
    return fetched


def _read_file(path: str) -> Mapping[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError):
        state = None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"weights {path}: not a file of weights as torch.save writes a state dict")
    return state


def _load_matching(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy the layers that agree in name and shape; raises ValueError where these are fewer than 80 %."""
    own = network.state_dict()
    matching = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    if len(matching) < 0.8 * len(own):
        raise ValueError(f"{source} fits {len(matching)} of {len(own)} layers: weights of another network?")
    network.load_state_dict(matching, strict=False)
