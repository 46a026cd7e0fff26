"""Every recipe trains as it says, every network learns: each an epoch on small drawn crops."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.drawn import tiny_training, write_split

from fer_pipeline.config.loader import find_config
from fer_pipeline.config.recipes import list_recipes
from fer_pipeline.config.schema import Config, TrainConfig
from fer_pipeline.models.networks import OWN
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.training.history import read_history
from fer_pipeline.training.train import train

torch.set_num_threads(1)
RECIPES = sorted(list_recipes())
SMALL = {"sample", "lips", "tutorial"}


def mark_others(names: Iterable[str]) -> list[Any]:
    """The same names; all but those that most begin with are for the slow tests."""
    return [pytest.param(name, marks=() if name in SMALL else pytest.mark.slow) for name in sorted(names)]


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


@pytest.mark.parametrize("name", mark_others(RECIPES))
def test_every_recipe_trains_an_epoch(name: str, data: Path, tmp_path: Path) -> None:
    config = smaller(load(name).train, data, tmp_path / "run")
    train(config)
    assert Predictor(tmp_path / "run").card.network == config.network


TRAINED = {load(name).train.network for name in RECIPES}


@pytest.mark.parametrize("network", mark_others({*OWN, "resnet50"} - TRAINED))
def test_every_other_network_trains_an_epoch(network: str, data: Path, tmp_path: Path) -> None:
    train(tiny_training(data, tmp_path / "run", network=network, epochs=1, dropout=0.5))
    assert len(read_history(tmp_path / "run")) == 1


def test_a_recipe_searches_for_every_class_it_trains_on() -> None:
    named = {name: load(name) for name in RECIPES if load(name).split.labels and load(name).crawl.keywords}
    assert "lips4" in named
    for name, config in named.items():
        assert set(config.crawl.keywords) == set(config.split.labels), name
