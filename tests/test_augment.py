"""Promises of `fer_pipeline.models.augment`."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.drawn import draw_mouth
from torch import Tensor

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.models.augment import PRESETS, Strength, augment, choose_strength

torch.set_num_threads(1)


def pictures(count: int = 16, side: int = 32) -> Tensor:
    """uint8 (count, 3, side, side)."""
    drawn = np.stack([draw_mouth("open", number, side) for number in range(count)])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2)


def rng(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("side", [16, 33, 64])
def test_every_preset_keeps_shape_and_range(preset: str, side: int) -> None:
    batch = pictures(24, side)
    for seed in range(4):
        changed = augment(batch, PRESETS[preset], rng(seed))
        assert changed.shape == batch.shape
        assert changed.dtype == torch.float32
        assert float(changed.min()) >= -1e-5
        assert float(changed.max()) <= 1 + 1e-5  # a blur of white rounds up
        assert bool(torch.isfinite(changed).all())


@pytest.mark.parametrize("preset", ["light", "strong"])
def test_the_same_seed_gives_the_same_batch_and_another_seed_another(preset: str) -> None:
    first, again, other = (augment(pictures(), PRESETS[preset], rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_epoch_draws_other_changes() -> None:
    generator = rng()
    assert not torch.equal(
        augment(pictures(), PRESETS["light"], generator), augment(pictures(), PRESETS["light"], generator)
    )


def test_the_pictures_of_a_batch_are_changed_one_by_one() -> None:
    same = pictures(1).expand(8, -1, -1, -1)
    changed = augment(same, PRESETS["strong"], rng())
    assert len({picture.numpy().tobytes() for picture in changed}) == 8


@pytest.mark.parametrize("preset", PRESETS)
def test_the_batch_handed_in_is_left_as_it_was(preset: str) -> None:
    batch = pictures()
    before = batch.clone()
    augment(batch, PRESETS[preset], rng())
    assert torch.equal(batch, before)
    floats = batch.float() / 255
    kept = floats.clone()
    augment(floats, PRESETS[preset], rng())
    assert torch.equal(floats, kept)


def test_none_changes_nothing_but_the_scale() -> None:
    assert torch.equal(augment(pictures(), PRESETS["none"], rng()), pictures().float() / 255)


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
    changed = augment(half_dark(64), chosen(preset, flip=False), rng())
    darker_left = changed[..., :16].mean(dim=(1, 2, 3)) < changed[..., 16:].mean(dim=(1, 2, 3))
    assert bool(darker_left.all())


@pytest.mark.parametrize("preset", ["light", "strong"])
def test_with_flip_on_about_half_are_mirrored(preset: str) -> None:
    changed = augment(half_dark(200), chosen(preset), rng())
    mirrored = changed[..., :16].mean(dim=(1, 2, 3)) > changed[..., 16:].mean(dim=(1, 2, 3))
    assert 60 < int(mirrored.sum()) < 140


def test_strong_changes_pictures_more_than_light() -> None:
    plain = pictures(64).float() / 255
    moved = {name: float((augment(plain, chosen(name, flip=False), rng()) - plain).abs().mean()) for name in PRESETS}
    assert moved["none"] == 0 < moved["light"] < moved["strong"]


def test_a_single_setting_overrides_the_preset() -> None:
    changed = chosen("strong", strength={"jpeg_chance": 0.0, "degrees": 3.0})
    assert (changed.jpeg_chance, changed.degrees) == (0.0, 3.0)
    assert changed.shear == PRESETS["strong"].shear


def ramps(count: int, side: int = 64) -> Tensor:
    """Pictures whose red tells the column and green the row, in 0..1."""
    steps = (torch.arange(side) + 0.5) / side
    flat = torch.zeros(count, side, side)
    return torch.stack([flat + steps, flat + steps[:, None], flat], dim=1)


WINDOWS = Strength(area_lowest=0.08, aspect=1 / 3)


def windows(count: int) -> tuple[Tensor, Tensor]:
    """Width and height (n, 2), and the corner nearest the origin (n, 2), in shares of the side."""
    seen = augment(ramps(count), WINDOWS, rng(), side=48)
    assert seen.shape == (count, 3, 48, 48)
    wide, high = seen[:, 0, 24, 40] - seen[:, 0, 24, 8], seen[:, 1, 40, 24] - seen[:, 1, 8, 24]
    sizes = torch.stack([wide, high], dim=1) * 48 / 32
    middle = torch.stack([seen[:, 0, 24, 23:25].mean(dim=1), seen[:, 1, 23:25, 24].mean(dim=1)], dim=1)
    return sizes, middle - sizes / 2


def test_windows_lie_within_the_picture_and_are_of_the_area_and_aspect_asked_for() -> None:
    sizes, corners = windows(2000)
    area, aspect = sizes.prod(dim=1), sizes[:, 0] / sizes[:, 1]
    assert 0.078 < float(area.min()) < 0.1
    assert 0.95 < float(area.max()) < 1.01
    assert 0.74 < float(aspect.min()) < 0.78
    assert 1.29 < float(aspect.max()) < 1.35
    assert float(corners.min()) > -0.01
    assert float((corners + sizes).max()) < 1.01


def test_windows_are_drawn_as_by_torchvision() -> None:
    """Mean and spread of area, width and corner: 4 standard errors of 600 draws are .045."""
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    theirs = [RandomResizedCrop.get_params(torch.zeros(3, 512, 512), [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(600)]
    top, left, high, wide = torch.tensor(theirs, dtype=torch.float32).T / 512
    sizes, corners = windows(2000)
    for own, their in (
        (sizes.prod(dim=1), wide * high), (sizes[:, 0], wide), (corners[:, 0], left), (corners[:, 1], top)
    ):  # fmt: skip
        assert abs(float(own.mean() - their.mean())) < 0.045
        assert abs(float(own.std() - their.std())) < 0.045


def test_a_mirrored_window_is_a_window_mirrored() -> None:
    seen = augment(ramps(64), replace(WINDOWS, flip_chance=1.0), rng(), side=48)
    assert bool((seen[:, 0, 24, 0] > seen[:, 0, 24, -1]).all())
    assert bool((seen[:, 1, 0, 24] < seen[:, 1, -1, 24]).all())


def test_without_flip_only_a_chance_of_its_own_mirrors() -> None:
    assert chosen("strong", flip=False).flip_chance == 0
    assert chosen("none", flip=False, strength={"flip_chance": 0.5}).flip_chance == 0.5
