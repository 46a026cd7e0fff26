"""Promises of `fer_pipeline.models.networks`."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from fer_pipeline.errors import UsageError
from fer_pipeline.models.networks import (
    OWN,
    build_network,
    check_network,
    default_normalisation,
    default_size,
    network_names,
)

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("name", "size", "classes"),
    [
        ("compact_resnet", 64, 3),
        ("compact_resnet", 33, 2),
        ("medium_resnet", 48, 7),
        ("simpleconv3", 48, 4),
        ("resnet18", 64, 2),
    ],
)
def test_every_network_answers_one_logit_per_class(name: str, size: int, classes: int) -> None:
    network = build_network(name, classes, size).eval()
    assert network(torch.rand(2, 3, size, size)).shape == (2, classes)


def test_any_torchvision_classifier_is_known_by_its_name() -> None:
    assert "mobilenet_v3_small" in network_names()
    network = build_network("mobilenet_v3_small", 5, 64).eval()
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 5)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_simpleconv3_has_the_layers_of_the_article() -> None:
    network = build_network("simpleconv3", 4, 48)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    dense = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_channels, layer.out_channels, layer.stride) for layer in convolutions] == [
        (3, 12, (2, 2)),
        (12, 24, (2, 2)),
        (24, 48, (2, 2)),
    ]
    assert [(layer.in_features, layer.out_features) for layer in dense] == [(1200, 1200), (1200, 128), (128, 4)]


def test_simpleconv3_says_which_size_it_needs() -> None:
    with pytest.raises(ValueError, match="needs pictures of 15 px or more, not 8"):
        build_network("simpleconv3", 2, 8)


def test_compact_resnet_is_compact() -> None:
    parameters = sum(parameter.numel() for parameter in build_network("compact_resnet", 4, 64).parameters())
    assert 300_000 < parameters < 500_000


def test_resnet18_learns_by_its_head_alone() -> None:
    network = build_network("resnet18", 2, 64)
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {"network.fc.weight", "network.fc.bias"}


def test_training_leaves_the_frozen_batch_norms_alone() -> None:
    network = build_network("resnet18", 2, 64).train()
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.rand(4, 3, 64, 64)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["resnet5000", "Compact_ResNet", "", "fcn_resnet50", "raft_small"])
def test_an_unknown_name_is_refused_with_the_choices(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown network .*choose compact_resnet, .* or a torchvision"):
        build_network(name, 2, 64)


def test_weights_from_a_file_are_taken(tmp_path: Path) -> None:
    torch.manual_seed(1)
    donor = build_network("simpleconv3", 3, 32)
    torch.save(donor.state_dict(), tmp_path / "weights.pt")
    network = build_network("simpleconv3", 3, 32, weights=str(tmp_path / "weights.pt"))
    assert all(torch.equal(value, donor.state_dict()[name]) for name, value in network.state_dict().items())


def test_a_head_for_other_classes_starts_afresh(tmp_path: Path) -> None:
    donor = build_network("compact_resnet", 7, 32)
    torch.save(donor.state_dict(), tmp_path / "weights.pt")
    network = build_network("compact_resnet", 2, 32, weights=str(tmp_path / "weights.pt"))
    assert torch.equal(network.state_dict()["stem.0.weight"], donor.state_dict()["stem.0.weight"])
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 2)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(build_network("simpleconv3", 2, 32).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"fits 0 of .* layers: weights of another network"):
        build_network("compact_resnet", 2, 32, weights=str(tmp_path / "weights.pt"))


def test_weights_that_nobody_knows_are_refused_without_a_download() -> None:
    with pytest.raises(ValueError, match="'nosuch': neither a file nor torchvision weights of resnet18"):
        build_network("resnet18", 2, 64, weights="nosuch")
    with pytest.raises(ValueError, match="'DEFAULT': neither a file nor torchvision weights of compact_resnet"):
        build_network("compact_resnet", 2, 64, weights="DEFAULT")


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_text("no weights")
    with pytest.raises(ValueError, match="weights"):
        build_network("compact_resnet", 2, 64, weights=str(path))
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="weights"):
        build_network("compact_resnet", 2, 64, weights=str(path))


def test_size_and_normalisation_fit_the_network() -> None:
    assert [default_size(name) for name in ("compact_resnet", "simpleconv3", "resnet18")] == [64, 48, 224]
    assert default_normalisation("compact_resnet") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert default_normalisation("mobilenet_v3_small")[0] == (0.485, 0.456, 0.406)


def test_the_page_of_networks_names_them_all_with_their_size_and_parameters() -> None:
    page = (Path(__file__).parent.parent / "docs" / "networks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*?\| (\d+) px \| ([\d,]+) \|", page, flags=re.M)
    assert {name for name, _, _ in rows} == {*OWN, "resnet50"}
    for name, size, told in rows:
        with torch.device("meta"):
            network = build_network(name, 7, default_size(name))
        counted = sum(parameter.numel() for parameter in network.parameters())
        assert (int(size), told) == (default_size(name), f"{counted:,}"), name


def test_a_misspelt_network_is_told_with_the_one_that_was_meant() -> None:
    with pytest.raises(
        UsageError, match=r"train.network: unknown network 'compact_resnt': did you mean compact_resnet"
    ):
        check_network("compact_resnt")
    for name in ("compact_resnet", "hog_svm", "mobilenet_v3_small"):
        check_network(name)
