"""Promises of `fer_pipeline.model.augment`."""

from typing import Any

import numpy as np
import pytest
import torch
from drawn import draw_mouth
from torch import Tensor

from fer_pipeline.config import TrainConfig
from fer_pipeline.model.augment import PRESETS, Strength, augment, choose_strength

torch.set_num_threads(1)


def pictures(count: int = 16, side: int = 32) -> Tensor:
    """uint8 (count, 3, side, side)."""
    drawn = np.stack([draw_mouth("open", number, side) for number in range(count)])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2)


def dice(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("side", [16, 33, 64])
def test_every_preset_keeps_shape_and_range(preset: str, side: int) -> None:
    batch = pictures(24, side)
    for seed in range(4):
        changed = augment(batch, PRESETS[preset], dice(seed))
        assert changed.shape == batch.shape
        assert changed.dtype == torch.float32
        assert float(changed.min()) >= -1e-5
        assert float(changed.max()) <= 1 + 1e-5  # a blur of white rounds up
        assert bool(torch.isfinite(changed).all())


@pytest.mark.parametrize("preset", ["light", "strong"])
def test_the_same_seed_gives_the_same_batch_and_another_seed_another(preset: str) -> None:
    first, again, other = (augment(pictures(), PRESETS[preset], dice(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_epoch_draws_other_changes() -> None:
    generator = dice()
    assert not torch.equal(
        augment(pictures(), PRESETS["light"], generator), augment(pictures(), PRESETS["light"], generator)
    )


def test_the_pictures_of_a_batch_are_changed_one_by_one() -> None:
    same = pictures(1).expand(8, -1, -1, -1)
    changed = augment(same, PRESETS["strong"], dice())
    assert len({picture.numpy().tobytes() for picture in changed}) == 8


@pytest.mark.parametrize("preset", PRESETS)
def test_the_batch_handed_in_is_left_as_it_was(preset: str) -> None:
    batch = pictures()
    before = batch.clone()
    augment(batch, PRESETS[preset], dice())
    assert torch.equal(batch, before)
    floats = batch.float() / 255
    kept = floats.clone()
    augment(floats, PRESETS[preset], dice())
    assert torch.equal(floats, kept)


def test_none_changes_nothing_but_the_scale() -> None:
    assert torch.equal(augment(pictures(), PRESETS["none"], dice()), pictures().float() / 255)


def chosen(preset: str, **changes: Any) -> Strength:
    settings = {"input": "in", "output": "out", "augment": preset} | changes
    return choose_strength(TrainConfig.model_validate(settings))


def half_dark(count: int) -> Tensor:
    """White pictures with a dark left half."""
    batch = torch.full((count, 3, 32, 32), 255, dtype=torch.uint8)
    batch[..., :16] = 0
    return batch


@pytest.mark.parametrize("preset", ["light", "strong"])
def test_with_flip_off_left_stays_left(preset: str) -> None:
    changed = augment(half_dark(64), chosen(preset, flip=False), dice())
    darker_left = changed[..., :16].mean(dim=(1, 2, 3)) < changed[..., 16:].mean(dim=(1, 2, 3))
    assert bool(darker_left.all())


@pytest.mark.parametrize("preset", ["light", "strong"])
def test_with_flip_on_about_half_are_mirrored(preset: str) -> None:
    changed = augment(half_dark(200), chosen(preset), dice())
    mirrored = changed[..., :16].mean(dim=(1, 2, 3)) > changed[..., 16:].mean(dim=(1, 2, 3))
    assert 60 < int(mirrored.sum()) < 140


def test_strong_changes_pictures_more_than_light() -> None:
    plain = pictures(64).float() / 255
    moved = {name: float((augment(plain, chosen(name, flip=False), dice()) - plain).abs().mean()) for name in PRESETS}
    assert moved["none"] == 0 < moved["light"] < moved["strong"]


def test_a_single_setting_overrides_the_preset() -> None:
    changed = chosen("strong", strength={"jpeg_chance": 0.0, "degrees": 3.0})
    assert (changed.jpeg_chance, changed.degrees) == (0.0, 3.0)
    assert changed.shear == PRESETS["strong"].shear
