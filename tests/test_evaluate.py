"""Promises of `fer_pipeline.evaluation.evaluate`."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.drawn import tiny_training, write_classes, write_split

from fer_pipeline.dataset.journal import Journal
from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.evaluate import evaluate, read_metrics
from fer_pipeline.training.train import train

torch.set_num_threads(1)


@pytest.fixture
def home(trained_copy: Path) -> Path:
    """A split folder and a run trained on it."""
    return trained_copy


def test_metrics_hold_every_figure_with_its_interval(home: Path) -> None:
    result = evaluate(home / "run")
    assert read_metrics(home / "run") == result.metrics
    metrics = result.metrics
    assert metrics.labels == ["closed", "open"]
    assert metrics.count == 16
    assert list(metrics.per_class) == ["closed", "open"]
    for values in metrics.per_class.values():
        assert values.recall_ci95[0] <= values.recall <= values.recall_ci95[1]
    assert metrics.accuracy_ci95[0] < metrics.accuracy <= metrics.accuracy_ci95[1]
    assert np.array(metrics.confusion).shape == (2, 2)
    assert metrics.accuracy >= 0.75, "12 of 16 by chance: one in 26; it was trained on such mouths"


def test_there_is_a_prediction_for_every_test_image(home: Path) -> None:
    metrics = evaluate(home / "run").metrics
    with (home / "run" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["path"] for line in lines] == [
        f"test/{row.path}" for row in read_rows(home / "split") if row.split == "test"
    ]
    hits = sum(line["label"] == line["predicted"] for line in lines)
    assert metrics.accuracy == pytest.approx(hits / len(lines), abs=5e-5)
    for line in lines:
        values = {label: float(line[f"p_{label}"]) for label in metrics.labels}
        assert sum(values.values()) == pytest.approx(1, abs=1e-5)
        assert float(line["confidence"]) == max(values.values()) == values[line["predicted"]]


@pytest.mark.parametrize("name", ["confusion.png", "metrics.json", "leaks.csv", "predictions.csv"])
def test_a_file_of_the_users_is_not_replaced(home: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "scores"
    evaluate(home / "run", out=out)
    (out / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}: fer did not write it: rename it"):
        evaluate(home / "run", out=out)
    assert (out / name).read_text() == "mine"


def test_a_second_command_in_the_same_folder_is_refused(home: Path, tmp_path: Path) -> None:
    with Journal(tmp_path / "scores"), pytest.raises(InputError, match="another fer command is writing here"):
        evaluate(home / "run", out=tmp_path / "scores")
    assert evaluate(home / "run", out=tmp_path / "scores").metrics.count == 16


def test_accuracy_is_told_per_source(home: Path) -> None:
    metrics = evaluate(home / "run").metrics
    assert {name: values.count for name, values in metrics.per_source.items()} == {"even": 8, "odd": 8}
    hits = sum(values.count * values.accuracy for values in metrics.per_source.values())
    assert hits / 16 == pytest.approx(metrics.accuracy, abs=1e-4)


def test_another_folder_is_measured_on_its_own_and_written_elsewhere(home: Path, tmp_path: Path) -> None:
    other = write_classes(tmp_path / "other", count=3)
    before = evaluate(home / "run").metrics
    result = evaluate(home / "run", other, tmp_path / "scores" / "deep")
    assert result.metrics.count == 6
    assert result.metrics.data == str(other)
    assert {"metrics.json", "predictions.csv"} <= {path.name for path in (tmp_path / "scores" / "deep").iterdir()}
    assert read_metrics(home / "run") == before


def test_a_class_the_model_does_not_know_is_named(home: Path, tmp_path: Path) -> None:
    other = write_classes(tmp_path / "other", count=1, labels=("open", "wink"))
    with pytest.raises(InputError, match="class 'wink' is unknown to the model, which knows closed, open"):
        evaluate(home / "run", other, tmp_path / "scores")
    assert not (tmp_path / "scores" / "metrics.json").exists()


def test_data_parted_anew_after_the_training_is_refused(tmp_path: Path) -> None:
    """What is test now may have been trained on."""
    data = write_split(tmp_path / "split", train=6, test=2)
    train(tiny_training(data, tmp_path / "run", epochs=1, network="simpleconv3"))
    evaluate(tmp_path / "run")
    write_split(data, train=4, test=4)
    with pytest.raises(InputError, match=r"has changed since .* was trained on it: run `fer train`"):
        evaluate(tmp_path / "run")


def test_a_split_without_a_test_part_names_the_remedy(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=4, test=0)
    train(tiny_training(data, tmp_path / "run", epochs=1, network="simpleconv3"))
    with pytest.raises(InputError, match=r"no labelled images for test: run `fer split` first"):
        evaluate(tmp_path / "run")


def test_a_folder_without_a_run_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `fer train` first"):
        evaluate(tmp_path)


def test_a_run_whose_data_is_gone_says_so(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=4, test=1)
    train(tiny_training(data, tmp_path / "gone", epochs=1, network="simpleconv3"))
    shutil.rmtree(data)
    with pytest.raises(InputError, match=r"split holds no finished stage"):
        evaluate(tmp_path / "gone")


def test_another_folder_never_overwrites_the_figures_of_the_run(home: Path, tmp_path: Path) -> None:
    before = evaluate(home / "run").metrics
    assert evaluate(home / "run", write_classes(tmp_path / "other", count=2)).folder == home / "run" / "eval-other"
    stage = write_split(tmp_path / "second" / "split", train=0, test=2)
    assert evaluate(home / "run", stage).folder == home / "run" / "eval-second-split"
    assert read_metrics(home / "run") == before


def test_what_confidence_is_worth_is_told(home: Path) -> None:
    metrics = evaluate(home / "run").metrics
    assert 0 <= metrics.calibration.ece <= 1
    assert sum(one.count for one in metrics.calibration.bins) == metrics.count
    assert metrics.selective.threshold == 0
    assert metrics.selective.coverage == 1
    assert metrics.selective.accuracy == metrics.accuracy
    shares = [one.coverage for one in metrics.selective.table]
    assert shares == sorted(shares, reverse=True)


def test_damaged_figures_name_the_remedy(tmp_path: Path) -> None:
    for text in ("{", "[]", "\x00"):
        (tmp_path / "metrics.json").write_text(text)
        with pytest.raises(InputError, match="run `fer eval"):
            read_metrics(tmp_path)
