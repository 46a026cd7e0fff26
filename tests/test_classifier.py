"""Promises of `fer_pipeline.models.classifier`."""

from http.client import IncompleteRead
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from support.drawn import draw_mouth
from torch import Tensor

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.errors import UsageError
from fer_pipeline.models.classifier import Classifier, build_classifier
from fer_pipeline.models.networks import build_network

torch.set_num_threads(1)
HALF = (0.5, 0.5, 0.5)


def crops(count: int = 4) -> Tensor:
    return torch.from_numpy(np.stack([draw_mouth("open", number, 32) for number in range(count)]))


def classifier(*, grey: bool = False, flip: bool = False) -> Classifier:
    torch.manual_seed(0)
    return Classifier(build_network("simpleconv3", 3, 32), HALF, HALF, grey=grey, flip=flip).eval()


def test_crops_become_probabilities() -> None:
    with torch.inference_mode():
        probabilities = classifier()(crops())
    assert probabilities.shape == (4, 3)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(4))
    assert float(probabilities.min()) >= 0


def test_with_flip_a_mirrored_crop_gets_the_same_answer() -> None:
    images = crops()
    mirrored = images.flip(2)
    assert not torch.equal(images, mirrored)
    both = classifier(flip=True)
    assert torch.allclose(both(images), both(mirrored), atol=1e-6)
    single = classifier(flip=False)
    assert not torch.allclose(single(images), single(mirrored), atol=1e-6)
    assert torch.allclose(both(images), (single(images) + single(mirrored)) / 2, atol=1e-6)


def test_grey_looks_at_brightness_alone() -> None:
    images = crops()
    luma = (images.float() @ torch.tensor([0.299, 0.587, 0.114])).round().to(torch.uint8)
    colourless = luma[..., None].expand(-1, -1, -1, 3)
    grey, coloured = classifier(grey=True), classifier(grey=False)
    assert torch.allclose(grey(images), grey(colourless), atol=1e-3)
    assert torch.allclose(grey(colourless), coloured(colourless), atol=1e-5)
    assert not torch.allclose(coloured(images), coloured(colourless), atol=1e-3)


def test_a_higher_temperature_makes_the_answer_less_sure() -> None:
    plain = classifier()
    sure = plain(crops()).max(dim=1).values
    plain.temperature = 4.0
    assert bool((plain(crops()).max(dim=1).values < sure).all())


def test_mean_and_deviation_are_part_of_it() -> None:
    seen = Classifier(torch.nn.Flatten(), (0.2, 0.2, 0.2), (0.4, 0.4, 0.4), grey=False, flip=False)
    assert torch.allclose(seen.logits(torch.full((1, 3, 2, 2), 0.6)), torch.ones(1, 12))


class Corner(torch.nn.Module):
    """Two logits from the first pixel of a window alone: which window it is."""

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.stack([pictures[:, 0, 0, 0] * 8, torch.zeros(len(pictures))], dim=1)


def numbered(side: int = 8) -> Tensor:
    """One picture whose pixels are all different."""
    values = torch.arange(side * side, dtype=torch.uint8).view(1, side, side, 1) * 3
    return values.expand(-1, -1, -1, 3)


def seen_at(image: Tensor, y: int, x: int) -> Tensor:
    return torch.sigmoid((image[:, y, x, 0].float() / 255 - 0.5) / 0.5 * 8)


def test_one_view_is_the_middle_window() -> None:
    one = Classifier(Corner(), HALF, HALF, center_crop=4, tta_crops=1)
    assert torch.allclose(one(numbered())[:, 0], seen_at(numbered(), 2, 2))
    odd = Classifier(Corner(), HALF, HALF, center_crop=5, tta_crops=1)
    assert torch.allclose(odd(numbered())[:, 0], seen_at(numbered(), 1, 1))


def test_five_views_are_the_middle_and_the_corners_and_their_mean_the_answer() -> None:
    image = numbered()
    five = Classifier(Corner(), HALF, HALF, center_crop=6, tta_crops=5)
    places = [(1, 1), (0, 0), (0, 2), (2, 0), (2, 2)]
    expected = torch.stack([seen_at(image, y, x) for y, x in places]).mean(dim=0)
    assert torch.allclose(five(image)[:, 0], expected)
    assert torch.allclose(five.predict_center(image)[:, 0], seen_at(image, 1, 1)), (
        "epochs are compared by the middle alone"
    )


def test_views_and_mirror_images_are_averaged_together() -> None:
    both = Classifier(Corner(), HALF, HALF, center_crop=6, tta_crops=5, flip=True)
    single = Classifier(Corner(), HALF, HALF, center_crop=6, tta_crops=5)
    image = numbered()
    assert torch.allclose(both(image), (single(image) + single(image.flip(2))) / 2)


def test_standardised_crops_have_mean_zero_and_deviation_one_and_no_exposure() -> None:
    seen = Classifier(torch.nn.Flatten(), HALF, HALF, standardise=True)
    pictures = torch.rand(3, 3, 16, 16)
    values = seen.logits(pictures)
    assert torch.allclose(values.mean(dim=1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(values.std(dim=1), torch.ones(3), atol=1e-2)
    assert torch.allclose(seen.logits(pictures * 0.5 + 0.2), values, atol=1e-2)


def test_a_blank_crop_standardises_to_nothing_rather_than_no_number() -> None:
    seen = Classifier(torch.nn.Flatten(), HALF, HALF, standardise=True)
    assert torch.equal(seen.logits(torch.full((1, 3, 4, 4), 0.7)).round(decimals=3), torch.zeros(1, 48))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"center_crop": 40}, r"train\.center_crop: 40 px is more than the crop's 32: set train\.size larger"),
        ({"tta_crops": 5}, r"train\.tta_crops: 5 windows of which side\? Set train\.center_crop below 32"),
        (
            {"network": "squeezenet1_1", "dropout": 0.5},
            r"train\.network: squeezenet1_1 has no dense layer .*leave it out",
        ),
    ],
)
def test_a_window_or_network_that_cannot_be_is_told_with_the_remedy(changes: dict[str, Any], told: str) -> None:
    config = TrainConfig(input=Path("in"), output=Path("out"), **changes)
    with pytest.raises(UsageError, match=told):
        build_classifier(config, ["a", "b"], 32)


@pytest.mark.parametrize("error", [URLError("no route"), IncompleteRead(b""), RuntimeError("invalid hash value")])
def test_weights_that_cannot_be_fetched_are_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    config = TrainConfig(input=Path("in"), output=Path("out"), network="resnet18", weights="DEFAULT")
    with pytest.raises(
        UsageError, match=r"train\.weights: DEFAULT cannot be fetched .*: go online once, or set"
    ) as told:
        build_classifier(config, ["a", "b"], 32)
    assert "\n" not in str(told.value)
