"""Promises of `fer_pipeline.models.batches`."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.dataset.rows import Row
from fer_pipeline.models import batches as module
from fer_pipeline.models.batches import Balanced, Loader, make_batches
from fer_pipeline.models.data import Crops

COUNTS = (40, 9, 3)


def crops() -> Crops:
    """Crops whose first pixel is their number."""
    targets = np.repeat(np.arange(3), COUNTS)
    images = np.zeros((len(targets), 8, 8, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(targets))
    return Crops(images, targets, [Row(path=str(number)) for number in range(len(targets))], ["a", "b", "c"])


def batches(batch: int = 8, *, shuffle: bool = True, **changes: Any) -> Loader:
    return make_batches(crops(), TrainConfig(input=Path("in"), output=Path("out"), **changes), batch, shuffle=shuffle)


def epoch_of(loader: Loader, epoch: int = 0) -> tuple[list[int], list[int]]:
    """The numbers and targets of an epoch in their order."""
    if hasattr(loader.sampler, "set_epoch"):
        loader.sampler.set_epoch(epoch)
    parts = list(loader)
    numbers = torch.cat([images[:, 0, 0, 0] for images, _ in parts]).tolist()
    return numbers, torch.cat([targets for _, targets in parts]).tolist()


def test_validation_sees_every_crop_once_in_order() -> None:
    assert epoch_of(batches(shuffle=False))[0] == list(range(52))


def test_pictures_and_targets_belong_together() -> None:
    targets = crops().targets
    for sampler in ("shuffled", "balanced"):
        numbers, seen = epoch_of(batches(sampler=sampler))
        assert seen == [int(targets[number]) for number in numbers]


def test_the_order_is_that_of_seed_and_epoch() -> None:
    for sampler in ("shuffled", "balanced"):
        first = epoch_of(batches(sampler=sampler), 3)
        assert first == epoch_of(batches(sampler=sampler), 3)
        assert first != epoch_of(batches(sampler=sampler), 4)
        assert first != epoch_of(batches(sampler=sampler, seed=9), 3)


def test_a_balanced_epoch_has_as_many_crops_of_each_class() -> None:
    numbers, targets = epoch_of(batches(batch=18, sampler="balanced"))
    assert Counter(targets) == {0: 18, 1: 18, 2: 18}
    seen = Counter(numbers)
    assert {seen[number] for number in range(40)} <= {0, 1}, "of a large class no crop comes twice"
    assert {seen[number] for number in range(40, 49)} == {2}
    assert {seen[number] for number in range(49, 52)} == {6}


def test_balanced_by_sources_a_class_keeps_its_size_and_takes_as_many_of_each() -> None:
    targets = torch.tensor([0] * 30 + [1] * 10)
    sources = torch.tensor([0] * 26 + [1] * 4 + [0] * 10)  # the small class has one source
    drawn = list(Balanced(TensorDataset(targets), targets, 0, sources))
    chosen = Counter(zip(targets[drawn].tolist(), sources[drawn].tolist(), strict=True))
    assert chosen == {(0, 0): 15, (0, 1): 15, (1, 0): 10}


def test_over_the_epochs_every_crop_of_a_large_class_is_seen() -> None:
    loader = batches(sampler="balanced")
    seen = {number for epoch in range(12) for number in epoch_of(loader, epoch)[0]}
    assert seen == set(range(52))


def test_a_last_batch_of_one_is_left_out_and_a_larger_one_of_few_batches_is_not() -> None:
    assert len(epoch_of(batches(batch=51))[0]) == 51
    assert len(epoch_of(batches(batch=50))[0]) == 52
    assert len(epoch_of(batches(batch=8))[0]) == 48, "four crops of fifty-two are a noisy step"


@pytest.mark.parametrize("sampler", ["shuffled", "balanced", "sources"])
def test_processes_share_out_an_epoch(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Counter(epoch_of(batches(1, sampler=sampler), 3)[0])
    monkeypatch.setattr(module, "count_processes", lambda: 2)
    parts = []
    for place in (0, 1):
        monkeypatch.setattr(module, "rank", lambda place=place: place)
        parts.append(epoch_of(batches(2, sampler=sampler), 3)[0])
    assert len(parts[0]) == len(parts[1])
    assert sum(((Counter(parts[0]) + Counter(parts[1])) - alone).values()) <= 1, "one crop fills the last pair"
    assert set(parts[0] + parts[1]) == set(alone)
