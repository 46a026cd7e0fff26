"""Promises of `fer_pipeline.training.cross_validation`."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.drawn import tiny_training, write_split

from fer_pipeline.__main__ import main
from fer_pipeline.dataset.rows import Row, read_rows, write_rows
from fer_pipeline.errors import InputError
from fer_pipeline.models.data import assign_folds
from fer_pipeline.models.model_module import predict
from fer_pipeline.training import cross_validation as module
from fer_pipeline.training.cross_validation import cross_validate
from fer_pipeline.training.fit import fit

torch.set_num_threads(1)
SIMPLE: dict[str, Any] = {"network": "simpleconv3", "size": 16, "epochs": 1, "batch": 16}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty mouths, in groups of two that nothing may part."""
    folder = write_split(tmp_path_factory.mktemp("drawn") / "split", train=8, test=2)
    rows = read_rows(folder)
    write_rows(folder, [row.replace(group=f"{row.label}{int(Path(row.path).stem) // 2}") for row in rows])
    return folder


def grouped(sizes: dict[str, list[int]]) -> list[Row]:
    """Rows of each label, in groups of the sizes given."""
    return [
        Row(path=f"{label}/{group}-{number}.png", label=label, group=f"{label}{group}")
        for label, counts in sizes.items()
        for group, count in enumerate(counts)
        for number in range(count)
    ]


def test_groups_are_never_parted_and_every_image_is_in_one_fold() -> None:
    rows = grouped({"a": [5, 1, 1, 3, 2, 2, 7, 1], "b": [2, 2, 2, 2, 4, 1, 3]})
    for seed in range(5):
        folds = assign_folds(rows, 4, seed)
        assert folds.shape == (len(rows),)
        assert set(folds.tolist()) == {0, 1, 2, 3}
        places: dict[str, set[int]] = {}
        for row, fold in zip(rows, folds.tolist(), strict=True):
            places.setdefault(str(row.group), set()).add(fold)
        assert all(len(found) == 1 for found in places.values())


def test_folds_are_of_even_size_and_mix_where_the_groups_allow_it() -> None:
    rows = grouped({"a": [1] * 40, "b": [1] * 20})
    folds = assign_folds(rows, 4, 0)
    labels = np.array([row.label for row in rows])
    assert [int(((folds == fold) & (labels == "a")).sum()) for fold in range(4)] == [10] * 4
    assert [int(((folds == fold) & (labels == "b")).sum()) for fold in range(4)] == [5] * 4


def test_the_seed_parts_and_the_same_seed_parts_the_same() -> None:
    rows = grouped({"a": [1] * 20, "b": [1] * 20})
    assert assign_folds(rows, 4, 1).tolist() == assign_folds(rows, 4, 1).tolist() != assign_folds(rows, 4, 2).tolist()


def test_too_few_groups_are_told_in_one_line() -> None:
    with pytest.raises(
        InputError, match=r"class 'b' has 2 groups of images, too few for 3 folds: ask for fewer"
    ) as told:
        assign_folds(grouped({"a": [1, 1, 1], "b": [9, 9]}), 3, 0)
    assert "\n" not in str(told.value)


def test_every_image_is_judged_once_by_a_model_that_did_not_see_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[str], set[str]]] = []

    def watched_fit(config: Any, training: Any, validation: Any, folder: Path) -> Any:
        seen.append(({str(row.group) for row in [*training.rows, *validation.rows]}, set()))
        return fit(config, training, validation, folder)

    def watched_predict(classifier: Any, crops: Any) -> Any:
        seen[-1][1].update(str(row.group) for row in crops.rows)
        return predict(classifier, crops)

    monkeypatch.setattr(module, "fit", watched_fit)
    monkeypatch.setattr(module, "predict", watched_predict)
    result = cross_validate(tiny_training(data, tmp_path / "run", **SIMPLE), 3)
    assert [learned & judged for learned, judged in seen] == [set()] * 3
    assert sorted(group for _, judged in seen for group in judged) == sorted({str(r.group) for r in read_rows(data)})
    assert result.folder == tmp_path / "run-folds3"
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, atol=1e-4)
    with (result.folder / "predictions.csv").open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    assert len(paths) == len(set(paths)) == 20
    figures = json.loads((result.folder / "folds.json").read_text())
    assert sum(fold["count"] for fold in figures["folds"].values()) == figures["pooled"]["count"] == 20


def test_a_killed_cross_validation_goes_on_with_the_fold_it_was_in(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, whole = (tiny_training(data, tmp_path / name, **SIMPLE) for name in ("killed", "whole"))
    begun: list[str] = []

    def killed_in_the_second(*given: Any) -> Any:
        begun.append(given[-1].name)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return fit(*given)

    monkeypatch.setattr(module, "fit", killed_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(config, 2)
    resumed = cross_validate(config, 2)
    assert begun == ["fold-1", "fold-2", "fold-2"]
    np.testing.assert_array_equal(resumed.probabilities, cross_validate(whole, 2).probabilities)


def test_by_source_each_source_is_held_out_once(data: Path, tmp_path: Path) -> None:
    result = cross_validate(tiny_training(data, tmp_path / "run", **SIMPLE), 0, by_source=True)
    assert list(result.scores.folds) == ["even", "odd"]
    sources = [row.source["name"] for row in result.crops.rows]
    assert [["even", "odd"][fold] for fold in result.folds] == sources
    assert result.folder == tmp_path / "run-sources"


def test_a_single_source_cannot_be_left_out(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=4, test=1)
    write_rows(data, [row.replace(source={"name": "one"}) for row in read_rows(data)])
    with pytest.raises(InputError, match="all images are of one source, 'one': leaving it out leaves nothing"):
        cross_validate(tiny_training(data, tmp_path / "run", **SIMPLE), 0, by_source=True)


def test_folds_that_learned_nothing_are_told_to_be_guessing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(
        f"name: x\ntrain: {json.dumps({'input': str(data), 'learning_rate': 1e-9, **SIMPLE, 'epochs': 1})}\n"
    )
    assert main(["train", "--config", "x.yaml", "--folds", "2"]) == 0
    assert "train: No better than guessing" in " ".join(capsys.readouterr().err.split())
