"""Every recipe trains as it says, every network learns: each an epoch on small drawn crops."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.drawn import tiny_training, write_split

from fer_pipeline.config.loader import find_config
from fer_pipeline.config.recipes import list_recipes
from fer_pipeline.config.schema import Config, TrainConfig
from fer_pipeline.models.augment import choose_strength
from fer_pipeline.models.networks import OWN
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.training.history import read_history
from fer_pipeline.training.train import train

torch.set_num_threads(1)
RECIPES = sorted(list_recipes())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split(tmp_path_factory.mktemp("drawn") / "split", train=10, test=2)


def load(name: str) -> Config:
    return find_config(name)


def smaller(config: TrainConfig, data: Path, run: Path) -> TrainConfig:
    """The same training of one epoch at a quarter of the size."""
    changes: dict[str, Any] = {"input": data, "output": run, "size": 24, "epochs": 1, "batch": 8, "device": "cpu"}
    changes |= {"center_crop": config.center_crop and 20, "validation_share": 0.2}
    return TrainConfig.model_validate(config.model_dump() | changes)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_an_epoch(name: str, data: Path, tmp_path: Path) -> None:
    config = smaller(load(name).train, data, tmp_path / "run")
    train(config)
    assert Predictor(tmp_path / "run").card.network == config.network


TRAINED = {load(name).train.network for name in RECIPES}


@pytest.mark.parametrize("network", sorted({*OWN, "resnet50"} - TRAINED))
def test_every_other_network_trains_an_epoch(network: str, data: Path, tmp_path: Path) -> None:
    train(tiny_training(data, tmp_path / "run", network=network, epochs=1, dropout=0.5))
    assert len(read_history(tmp_path / "run")) == 1


def test_the_tutorial_is_the_tutorials() -> None:
    config = load("tutorial")
    detector = config.filter
    assert (detector.detector, detector.sides, detector.scale_factor, detector.min_neighbors) == ("haar", (0,), 1.3, 5)
    assert (config.crop.scale, config.crop.margin, config.crop.align) == ("mouth", 1.5, False)
    made = config.train
    assert (made.network, made.size, made.center_crop, made.tta_crops) == ("simpleconv3", 64, 48, 1)
    assert (made.optimizer, made.learning_rate, made.batch, made.epochs) == ("adam", 1e-3, 16, 500)
    assert (made.schedule, made.step_epochs, made.keep) == ("step", 100, "last")
    assert (made.label_smoothing, made.ema, made.mixup, made.gradient_clip, made.patience) == (0, 0, 0, 0, 0)
    assert (made.loss, made.sampler, made.class_weights, made.flip) == ("cross_entropy", "shuffled", "none", False)
    changed = {name: value for name, value in vars(choose_strength(made)).items() if value}
    assert changed == {"flip_chance": 0.5, "area_lowest": 0.08, "aspect": pytest.approx(1 / 3, abs=1e-3)}


def test_the_blog_is_the_blogs() -> None:
    made = load("fer2013_blog").train
    assert (made.network, made.grey, made.batch, made.epochs, made.optimizer) == ("fer_cnn", True, 128, 50, "adam")
    assert (made.monitor, made.keep, made.input) == ("accuracy", "best", load("fer2013").train.input)


def test_the_contest_is_the_contests() -> None:
    config = load("faces5")
    assert (config.unify.longest, config.crop.region, config.crop.faces, config.split.test_share) == (
        2000, "face", "all", 0.2,
    )  # fmt: skip
    made = config.train
    assert (made.network, made.size, made.loss, made.flip, made.grey) == ("prelu_cnn", 64, "focal", True, True)
    changed = {name: value for name, value in vars(choose_strength(made)).items() if value}
    assert changed == {"flip_chance": 0.5, "shear": 0.2, "shift": 0.1, "area_lowest": 1.0}


def test_the_course_has_its_classes_and_crop() -> None:
    config = load("lips4")
    assert config.split.labels == ("none", "smile", "openmouth", "pout")
    assert set(config.crawl.keywords) == set(config.split.labels)
    assert (config.crop.region, config.crop.scale, config.crop.margin) == ("lips", "mouth", 1.5)
