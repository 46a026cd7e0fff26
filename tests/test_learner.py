"""Promises of `fer_pipeline.training.learner`, its losses, and of what `fer_pipeline.training.fit` chooses for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.drawn import tiny_training, write_split
from torch import Tensor, nn
from torch.nn import functional

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.dataset.rows import Row
from fer_pipeline.models.classifier import Classifier
from fer_pipeline.models.data import Crops
from fer_pipeline.training.fit import class_weights, computes_bf16
from fer_pipeline.training.history import read_history
from fer_pipeline.training.learner import Learner, weigh_losses
from fer_pipeline.training.train import train

torch.set_num_threads(1)
HALF = (0.5, 0.5, 0.5)


class Watched(nn.Module):
    """Remembers the pictures it was shown; its logits are two pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: Tensor = torch.zeros(0)

    def forward(self, pictures: Tensor) -> Tensor:
        self.seen = pictures.detach()
        return pictures[:, 0, 0, :2] * self.scale


def learner(seed: int = 0, **changes: Any) -> Learner:
    settings: dict[str, Any] = {"augment": "none", "flip": False, "seed": seed, "label_smoothing": 0} | changes
    config = TrainConfig(input=Path("in"), output=Path("out"), **settings)
    made = Learner(Classifier(Watched(), HALF, HALF, center_crop=config.center_crop), config, None)
    made.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    return made


def batch(count: int = 6, side: int = 19) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (count, side, side, 3), generator=rng, dtype=torch.uint8)
    return images, torch.arange(count) % 2


def shown(made: Learner, epoch: int = 0) -> Tensor:
    """The pictures of one step of an epoch, as the network saw them."""
    made.random.seed(epoch)
    made.rng.manual_seed(epoch)
    made.training_step(batch(), 0)
    seen: Tensor = made.classifier.network.seen  # type: ignore[assignment]
    return seen


def normalised() -> Tensor:
    return (batch()[0].permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def test_training_sees_a_window_of_the_crop_the_same_for_a_batch() -> None:
    made, places = learner(center_crop=16), set()
    for epoch in range(40):
        seen = shown(made, epoch)
        assert seen.shape == (6, 3, 16, 16)
        corners = [
            (y, x) for y in range(4) for x in range(4) if torch.equal(seen, normalised()[..., y : y + 16, x : x + 16])
        ]
        assert len(corners) == 1
        places.update(corners)
    assert len(places) > 10, "windows of sixteen places"


def test_windows_by_area_are_resized_to_the_side_the_network_sees() -> None:
    seen = shown(learner(center_crop=16, strength={"area_lowest": 0.2, "aspect": 0.3}))
    assert seen.shape == (6, 3, 16, 16)
    assert torch.isfinite(seen).all()


def test_without_a_window_training_sees_the_crop() -> None:
    torch.testing.assert_close(shown(learner()), normalised())


def test_mixup_shows_blends_of_neighbours_and_blends_their_losses() -> None:
    made = learner(mixup=1.0)
    seen, plain = shown(made), normalised()
    before = plain.roll(1, 0)
    share = float(((seen - before) * (plain - before)).sum() / (plain - before).square().sum())
    assert 0 < share < 1
    torch.testing.assert_close(seen, share * plain + (1 - share) * before, rtol=1e-4, atol=1e-4)
    made.random.seed(0)
    loss = float(made.training_step(batch(), 0).detach())
    logits, targets = seen[:, 0, 0, :2], batch()[1]
    entropy = nn.functional.cross_entropy
    expected = share * entropy(logits, targets) + (1 - share) * entropy(logits, targets.roll(1, 0))
    assert loss == pytest.approx(float(expected), abs=1e-4)


def test_the_gradient_is_clipped_to_the_norm_asked_for_or_not_at_all() -> None:
    for limit, expected in ((0.5, 0.5), (0, 300.0), (1000, 300.0)):
        made = learner(gradient_clip=limit)
        scale = made.classifier.network.scale
        assert isinstance(scale, nn.Parameter)
        scale.grad = torch.tensor(300.0)
        made.configure_gradient_clipping()
        assert float(scale.grad) == pytest.approx(expected, rel=1e-4)


def test_balanced_class_weights_make_every_class_count_the_same() -> None:
    targets = np.repeat([0, 1, 2], [50, 30, 20])
    rows = [Row(path=str(number)) for number in range(100)]
    crops = Crops(np.zeros((100, 4, 4, 3), np.uint8), targets, rows, ["a", "b", "c"])
    config = TrainConfig(input=Path("in"), output=Path("out"), class_weights="balanced")
    weights = class_weights(crops, config)
    assert weights is not None
    torch.testing.assert_close(weights * torch.tensor([50.0, 30.0, 20.0]), torch.full((3,), 100 / 3))
    assert class_weights(crops, config.model_copy(update={"class_weights": "none"})) is None


@pytest.mark.parametrize(
    ("precision", "device", "cuda", "amx", "expected"),
    [
        ("32", "auto", True, True, False),
        ("bf16", "cpu", False, False, True),
        ("auto", "cpu", True, False, False),
        ("auto", "cpu", True, True, True),
        ("auto", "auto", True, False, True),
        ("auto", "cuda", True, True, True),
        ("auto", "auto", False, True, True),
        ("auto", "auto", False, False, False),
        ("auto", "mps", False, True, False),
    ],
)
def test_bf16_is_computed_where_asked_for_or_where_the_processor_does(
    monkeypatch: pytest.MonkeyPatch, precision: str, device: str, cuda: bool, amx: bool, expected: bool
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: True)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx)
    config = TrainConfig.model_validate({"input": "in", "output": "out", "precision": precision, "device": device})
    assert computes_bf16(config) == expected


@pytest.mark.slow
def test_the_best_epoch_is_that_of_the_highest_accuracy_if_asked_for(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=12, test=1)
    # A rate at which accuracy and loss do not agree on the best epoch.
    changes = {"network": "simpleconv3", "epochs": 8, "learning_rate": 0.02, "schedule": "constant", "batch": 6}
    for monitor in ("loss", "accuracy"):
        train(tiny_training(data, tmp_path / monitor, monitor=monitor, **changes))
    rows = read_history(tmp_path / "accuracy")
    for monitor, best in (("loss", min), ("accuracy", max)):
        values = [row[f"val_{monitor}"] for row in rows]
        kept = torch.load(tmp_path / monitor / "checkpoints" / "best.ckpt", weights_only=True)
        assert kept["epoch"] == values.index(best(values)), monitor


def random_logits() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return 3 * torch.randn(64, 4, generator=rng), torch.randint(0, 4, (64,), generator=rng)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_gamma_it_is_torchs_cross_entropy(smoothing: float) -> None:
    logits, targets = random_logits()
    expected = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(weigh_losses(logits, targets, smoothing=smoothing), expected)


def test_focal_loss_is_that_of_the_paper() -> None:
    logits, targets = random_logits()
    chance = logits.softmax(dim=1)[torch.arange(64), targets]
    torch.testing.assert_close(weigh_losses(logits, targets, gamma=2), -((1 - chance) ** 2) * chance.log())


def test_an_easy_crop_counts_less_than_a_hard_one() -> None:
    logits, targets = torch.tensor([[4.0, 0.0], [0.5, 0.0]]), torch.tensor([0, 0])
    kept = weigh_losses(logits, targets, gamma=2) / weigh_losses(logits, targets)
    assert float(kept[0]) < 0.01
    assert float(kept[1]) > 0.1


def test_class_weights_are_those_of_the_targets() -> None:
    logits, targets = random_logits()
    weights = torch.tensor([1.0, 2.0, 0.5, 4.0])
    for gamma in (0, 2):
        plain = weigh_losses(logits, targets, gamma=gamma, smoothing=0.1)
        weighed = weigh_losses(logits, targets, gamma=gamma, smoothing=0.1, weights=weights)
        torch.testing.assert_close(weighed, plain * weights[targets])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_are_finite_however_sure_the_network_is(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    weigh_losses(logits, torch.tensor([0, 0]), gamma=gamma, smoothing=0.1).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
