"""Promises of `fer_pipeline.training.calibration`."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fer_pipeline import console
from fer_pipeline.dataset.rows import Row
from fer_pipeline.models.classifier import Classifier
from fer_pipeline.models.data import Crops
from fer_pipeline.training.calibration import calibrate

torch.set_num_threads(1)


class Brightness(nn.Module):
    """Logits of two classes that grow with the brightness: an honest forecast times `excess`."""

    def __init__(self, excess: float) -> None:
        super().__init__()
        self.excess = excess

    def forward(self, pictures: Tensor) -> Tensor:
        lean = (pictures.mean(dim=(1, 2, 3)) - 0.5) * 8
        return torch.stack([-lean, lean], dim=1) / 2 * self.excess


def forecasts(count: int) -> Crops:
    """Crops whose true class is drawn by the honest forecast of their brightness."""
    rng = np.random.default_rng(1)
    levels = rng.integers(0, 256, count)
    chances = 1 / (1 + np.exp(-(levels / 255 - 0.5) * 8))
    images = np.broadcast_to(levels[:, None, None, None], (count, 4, 4, 3)).astype(np.uint8)
    rows = [Row(path=f"{index}.png") for index in range(count)]
    return Crops(images, (rng.random(count) < chances).astype(np.int64), rows, ["dark", "light"])


def over_confident(excess: float, *, flip: bool = False) -> Classifier:
    return Classifier(Brightness(excess), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), flip=flip).eval()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("excess", [4.0, 0.5])
def test_the_temperature_undoes_too_much_and_too_little_confidence(excess: float, flip: bool) -> None:
    classifier = over_confident(excess, flip=flip)
    told = calibrate(classifier, forecasts(3000))
    assert classifier.temperature == told.temperature == pytest.approx(excess, rel=0.15)
    assert told.ece_after < 0.03 < told.ece_before
    assert told.nll_after < told.nll_before
    assert told.images == 3000


def test_too_few_validation_images_leave_it_at_one_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    console.set_level()  # another test of this process may have asked for quiet
    classifier = over_confident(4.0)
    told = calibrate(classifier, forecasts(29))
    assert classifier.temperature == told.temperature == 1
    assert told.ece_before == told.ece_after
    assert "29 validation images are too few to fit a temperature" in capsys.readouterr().err


def test_a_model_that_is_never_wrong_gets_a_temperature_all_the_same() -> None:
    crops = forecasts(200)
    sure = Crops(crops.images, (crops.images[:, 0, 0, 0] > 127).astype(np.int64), crops.rows, crops.labels)
    classifier = over_confident(1.0)
    assert 0.1 <= calibrate(classifier, sure).temperature < 1
