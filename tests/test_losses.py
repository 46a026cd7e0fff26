"""Promises of `fer_pipeline.models.losses`."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fer_pipeline.models.losses import weigh_losses

torch.set_num_threads(1)


def drawn() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return 3 * torch.randn(64, 4, generator=rng), torch.randint(0, 4, (64,), generator=rng)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_gamma_it_is_torchs_cross_entropy(smoothing: float) -> None:
    logits, targets = drawn()
    expected = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(weigh_losses(logits, targets, smoothing=smoothing), expected)


def test_focal_loss_is_that_of_the_paper() -> None:
    logits, targets = drawn()
    chance = logits.softmax(dim=1)[torch.arange(64), targets]
    torch.testing.assert_close(weigh_losses(logits, targets, gamma=2), -((1 - chance) ** 2) * chance.log())


def test_an_easy_crop_counts_less_than_a_hard_one() -> None:
    logits, targets = torch.tensor([[4.0, 0.0], [0.5, 0.0]]), torch.tensor([0, 0])
    kept = weigh_losses(logits, targets, gamma=2) / weigh_losses(logits, targets)
    assert float(kept[0]) < 0.01
    assert float(kept[1]) > 0.1


def test_class_weights_are_those_of_the_targets() -> None:
    logits, targets = drawn()
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
