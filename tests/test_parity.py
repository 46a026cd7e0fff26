"""torch, ONNX Runtime, the command on a photo and the command on its crop say the same, for every kind of model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.drawn import write_png
from typer.testing import CliRunner

from fer_pipeline.cli import app
from fer_pipeline.config.schema import CropConfig, CropSettings, Detector, FilterConfig, SplitConfig, TrainConfig
from fer_pipeline.dataset.rows import Row, kept_rows, write_rows
from fer_pipeline.models.data import load_crops
from fer_pipeline.models.model_file import write_bundle
from fer_pipeline.models.model_module import ModelModule, input_batches
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.sources.sample import draw_photo, random_face
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.split import SPLIT
from fer_pipeline.training import train as training
from fer_pipeline.vision.image_io import read_image

torch.set_num_threads(1)
KINDS: dict[str, dict[str, Any]] = {
    "pixels": {"network": "simpleconv3"},
    "hog_svm": {"network": "hog_svm"},
    "geometry": {"network": "geometry"},
    "both": {"network": "simpleconv3", "geometry": True},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn photos of two classes, taken through filter, crop and split."""
    home = tmp_path_factory.mktemp("data")
    rows = []
    for label in ("open", "pout"):
        for number in range(8):
            rng = np.random.default_rng([number, len(label)])
            photo = draw_photo([random_face(rng, label, 240, 240)], 240, 240, rng)[0]
            write_png(home / "unified" / label / f"{number}.png", photo)
            rows.append(Row(path=f"{label}/{number}.png", label=label))
    write_rows(home / "unified", rows)
    haar = Detector(detector="haar", sides=(480,)).model_dump()
    cut = CropSettings(scale="eyes", align=True, size=64).model_dump()
    run_stage(FILTER, FilterConfig(input=home / "unified", output=home / "faces", **haar))
    run_stage(CROP, CropConfig(input=home / "faces", output=home / "crops", **cut))
    run_stage(SPLIT, SplitConfig(input=home / "crops", output=home / "split", test_share=0.25))
    return home


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[ModelModule]:
    """The classifiers in memory that model files are written from."""
    found: list[ModelModule] = []

    def write(path: Path, classifier: ModelModule, card: Any, *more: Any) -> None:
        found.append(classifier)
        write_bundle(path, classifier, card, *more)

    monkeypatch.setattr(training, "write_bundle", write)
    return found


def ask(*arguments: object) -> list[float]:
    """The probabilities that `fer predict --json` prints of one face."""
    done = CliRunner().invoke(app, ["predict", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return list(json.loads(done.stdout.splitlines()[-1])["faces"][0]["probabilities"].values())


@pytest.mark.parametrize("kind", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in list(KINDS)[:3]), "both"])
def test_all_ways_to_an_answer_agree(home: Path, tmp_path: Path, kept: list[ModelModule], kind: str) -> None:
    settings = {"size": 48, "epochs": 2, "batch": 4, "device": "cpu", "validation_share": 0.3, **KINDS[kind]}
    run = training.train(TrainConfig(input=home / "split", output=tmp_path / "run", **settings)).model.parent
    predictor = Predictor(run, threads=1)
    card, row = predictor.card, next(row for row in kept_rows(home / "crops"))
    labelled = load_crops(
        home / "crops", [row], card.labels, card.size, tmp_path / "cache", card.measures, card.preprocessing.cut
    )
    with torch.inference_mode():
        by_torch = kept[0](*next(input_batches(kept[0], labelled)))[0].tolist()
    assert predictor.classify(labelled.images)[0].tolist() == pytest.approx(by_torch, abs=1e-4)
    assert ask(run, home / "unified" / row.path) == pytest.approx(by_torch, abs=1e-4)
    assert ask(run, home / "crops" / row.path, "--crops") == pytest.approx(by_torch, abs=1e-4)
    assert read_image(home / "crops" / row.path).shape == (64, 64, 3)
