"""Promises of `fer_pipeline.evaluation.saliency` and `fer_pipeline.report.saliency`."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from fer_pipeline.evaluation.saliency import explain, find_layer
from fer_pipeline.models.classifier import Classifier
from fer_pipeline.models.networks import build_network
from fer_pipeline.report.saliency import occlude

torch.set_num_threads(1)
HALF = (0.5, 0.5, 0.5)


class Corner(nn.Module):
    """Tells how bright the picture is in its upper left quarter, and sees nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(4)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        mean = self.pool(pictures)[:, 0, :4, :4].mean(dim=(1, 2))
        return torch.stack([mean, -mean], dim=1)


class Tokens(nn.Module):
    """A transformer's way in miniature: one convolution into patches, then tokens (B, N, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        tokens = self.mix(self.patches(pictures).flatten(2).transpose(1, 2))
        logits: torch.Tensor = self.head(tokens.mean(dim=1))
        return logits


def bright(count: int = 2, size: int = 32) -> NDArray[np.uint8]:
    """Black but for the upper left quarter."""
    crops = np.zeros((count, size, size, 3), np.uint8)
    crops[:, : size // 2, : size // 2] = 230
    return crops


def test_grad_cam_finds_the_place_that_counts() -> None:
    heat = explain(Classifier(Corner(), HALF, HALF), bright())
    assert heat.shape == (2, 32, 32)
    assert heat[:, :12, :12].min() > 0.5
    assert heat[:, 20:, :].max() == heat[:, :, 20:].max() == 0


def test_mirror_images_are_looked_at_where_the_answer_is_averaged_over_them() -> None:
    half = bright()
    half[:, :16] = 230
    heat = explain(Classifier(Corner(), HALF, HALF, flip=True), half)
    np.testing.assert_allclose(heat, heat[:, :, ::-1], atol=1e-6)
    assert heat[:, :12].min() > 0.4
    assert heat[:, 20:].max() == 0


def test_a_window_keeps_its_place_in_the_crop() -> None:
    heat = explain(Classifier(Corner(), HALF, HALF, center_crop=24), bright())
    assert heat.shape == (2, 32, 32)
    assert heat[:, :4].max() == heat[:, :, :4].max() == 0, "outside the window"
    assert heat[:, 6:10, 6:10].min() > 0


@pytest.mark.parametrize("name", ["compact_resnet", "simpleconv3", "mobilenet_v3_small", "resnet18"])
def test_networks_of_several_kinds_have_a_map_to_explain(name: str) -> None:
    torch.manual_seed(0)
    classifier = Classifier(build_network(name, 3, 64), HALF, HALF).eval()
    heat = explain(classifier, np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8))
    assert heat.shape == (2, 64, 64)
    assert heat.min() >= 0
    assert heat.max() <= 1


def test_the_map_of_a_residual_net_is_that_after_the_shortcut() -> None:
    network = build_network("compact_resnet", 3, 64)
    classifier = Classifier(network, HALF, HALF).eval()
    assert find_layer(classifier, torch.rand(1, 3, 64, 64)) is network.get_submodule("blocks")


def test_a_network_of_tokens_has_none() -> None:
    with pytest.raises(ValueError, match="no feature map"):
        find_layer(Classifier(Tokens(), HALF, HALF).eval(), torch.rand(1, 3, 32, 32))


def test_covering_the_place_that_counts_costs_confidence() -> None:
    def classify(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        share = crops[:, 20:, 20:].mean(axis=(1, 2, 3)) / 255
        return np.stack([share, 1 - share], axis=1).astype(np.float32)

    crops = np.zeros((1, 32, 32, 3), np.uint8)
    crops[:, 20:, 20:] = 255
    heat = occlude(classify, crops)
    assert heat[0, 22:, 22:].mean() > 0.5
    assert heat[0, :16, :16].max() < 0.1


def test_a_model_that_nothing_moves_has_cold_maps() -> None:
    heat = occlude(lambda crops: np.full((len(crops), 2), 0.5, np.float32), bright())
    assert heat.max() == 0
    assert np.isfinite(heat).all()
