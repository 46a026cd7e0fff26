"""Promises of `fer_pipeline.model.classifier`."""

import numpy as np
import torch
from drawn import draw_mouth
from torch import Tensor

from fer_pipeline.model.classifier import Classifier
from fer_pipeline.model.networks import build_network

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
