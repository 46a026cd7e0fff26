"""Promises of `fer_pipeline.models.tutorial_networks`: the layers and parameter counts of the articles."""

import pytest
import torch
from torch import nn

from fer_pipeline.models.networks import build_network

torch.set_num_threads(1)


def kinds(network: nn.Module) -> list[str]:
    """The layers in their order."""
    return [type(layer).__name__ for layer in network.children()]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def shapes(network: nn.Module, kind: type[nn.Module]) -> list[tuple[int, ...]]:
    return [tuple(next(layer.parameters()).shape) for layer in network.modules() if isinstance(layer, kind)]


def test_fer_cnn_has_the_parameters_of_the_blog_layer_by_layer() -> None:
    network = build_network("fer_cnn", 7, 48)
    counts = [count(layer) for layer in network.children() if count(layer)]
    convolutions = [640, 128, 204_928, 256, 590_336, 1024, 2_359_808, 1024]
    assert counts == [*convolutions, 1_179_904, 512, 131_584, 1024, 3591]
    assert count(network) == 4_474_759
    assert network.eval()(torch.rand(2, 3, 48, 48)).shape == (2, 7)


def test_fer_cnn_has_the_order_of_the_blog() -> None:
    layers = kinds(build_network("fer_cnn", 7, 48))
    assert layers[1:6] == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Dropout"]
    assert layers[1:21] == layers[1:6] * 4
    assert layers[21:] == ["Flatten", *["Linear", "BatchNorm1d", "ReLU", "Dropout"] * 2, "Linear"]
    dropouts = [layer.p for layer in build_network("fer_cnn", 7, 48).modules() if isinstance(layer, nn.Dropout)]
    assert dropouts == [0.25] * 6


def test_fer_cnn_sees_brightness_alone() -> None:
    network = build_network("fer_cnn", 2, 16).eval()
    picture = torch.rand(1, 3, 16, 16)
    assert torch.allclose(network(picture), network(picture[:, [2, 0, 1]]), atol=1e-5)


def test_prelu_cnn_has_the_layers_of_the_contest() -> None:
    with torch.device("meta"):
        network = build_network("prelu_cnn", 5, 64)
    assert shapes(network, nn.Conv2d) == [(32, 3, 1, 1), (64, 32, 3, 3), (64, 64, 5, 5)]
    assert shapes(network, nn.Linear) == [(2048, 64 * 32 * 32), (1024, 2048), (5, 1024)]
    assert kinds(network)[:7] == ["Conv2d", "ReLU", "Conv2d", "PReLU", "Conv2d", "PReLU", "MaxPool2d"]
    assert kinds(network)[7:] == ["Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.5, 0.5]


def test_vgg_small_has_the_layers_of_the_web_service() -> None:
    network = build_network("vgg_small", 7, 64)
    assert [shape[:2] for shape in shapes(network, nn.Conv2d)] == [
        (32, 3), (32, 32), (64, 32), (64, 64), (128, 64), (128, 128),
    ]  # fmt: skip
    assert shapes(network, nn.Linear) == [(512, 128 * 8 * 8), (7, 512)]
    assert kinds(network)[:6] == ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d", "Dropout"]
    assert kinds(network)[:18] == kinds(network)[:6] * 3
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.25, 0.25, 0.25, 0.5]


@pytest.mark.parametrize(("name", "size"), [("fer_cnn", 15), ("vgg_small", 7), ("simpleconv3", 14)])
def test_a_picture_too_small_is_told_with_the_remedy(name: str, size: int) -> None:
    with pytest.raises(ValueError, match=rf"{name} needs pictures of \d+ px or more, not {size}: set the size to"):
        build_network(name, 2, size)
    build_network(name, 2, size + 1)


def dropouts_before_the_end(network: nn.Module) -> list[float]:
    """The shares of the dropouts among the last three modules."""
    return [layer.p for layer in list(network.modules())[-3:] if isinstance(layer, nn.Dropout)]


@pytest.mark.parametrize(
    ("name", "size"),
    [("compact_resnet", 32), ("vgg_small", 16), ("simpleconv3", 16), ("resnet50", 32), ("resnet18", 32),
     ("mobilenet_v3_small", 32), ("googlenet", 32), pytest.param("vit_b_32", 32, marks=pytest.mark.slow)],
)  # fmt: skip
def test_dropout_stands_before_the_last_layer_once(name: str, size: int) -> None:
    network = build_network(name, 2, size, dropout=0.4)
    assert dropouts_before_the_end(network) == [0.4]
    assert network.eval()(torch.rand(2, 3, size, size)).shape == (2, 2)


def test_a_frozen_backbone_drops_features_out_in_training_alone() -> None:
    network = build_network("resnet18", 2, 32, dropout=0.5)
    picture = torch.rand(1, 3, 32, 32)
    assert not torch.equal(network.train()(picture), network(picture))
    assert torch.equal(network.eval()(picture), network(picture))
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {"network.fc.1.weight", "network.fc.1.bias"}


def test_a_network_without_a_dense_head_refuses_dropout() -> None:
    with pytest.raises(ValueError, match=r"squeezenet1_1 has no dense layer for train\.dropout .*: leave it out"):
        build_network("squeezenet1_1", 2, 64, dropout=0.5)
