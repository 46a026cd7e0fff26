"""What a search promises: the given configuration first, the same images for all, and an honest word at the end."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from support.drawn import tiny_training, write_config, write_split

from fer_pipeline.__main__ import main
from fer_pipeline.cli.tables import judge_winner
from fer_pipeline.config.loader import load_config
from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.config.writer import to_yaml
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.significance import compare_hits
from fer_pipeline.training.search_space import apply_settings, given_settings, list_ranges, make_study
from fer_pipeline.training.tune import Trial, Tuning, tune

CHEAP: dict[str, Any] = {"network": "simpleconv3", "size": 48, "epochs": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split of drawn mouths. Not to be changed."""
    return write_split(tmp_path_factory.mktemp("tune") / "split", train=16, test=4)


@pytest.fixture(scope="module")
def found(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    """A search of three trials. Not to be changed."""
    return tune(tiny_training(data, tmp_path_factory.mktemp("runs") / "x", **CHEAP), 3, epochs=2)


def table_of(folder: Path) -> list[dict[str, str]]:
    """`trials.csv` without the times."""
    with (folder / "trials.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def test_the_first_trial_is_the_configuration_as_given(found: Tuning) -> None:
    assert found.trials[0].settings == {}
    assert table_of(found.folder)[0]["learning_rate"] == ""
    assert [one.number for one in found.trials] == [0, 1, 2]
    assert all(one.settings.keys() == list_ranges(found_config(found)).keys() for one in found.trials[1:])


def found_config(found: Tuning) -> TrainConfig:
    return tiny_training(found.folder, found.folder, **CHEAP)


def test_epochs_are_capped_and_the_winner_is_the_best_of_the_finished(found: Tuning) -> None:
    assert all(one.epochs <= 2 for one in found.trials)
    finished = [one for one in found.trials if one.state == "complete"]
    assert found.best.accuracy == max(one.accuracy for one in finished)


def test_all_trials_are_judged_on_the_same_validation_images_and_none_on_test(found: Tuning) -> None:
    with (found.folder / "seen.csv").open(newline="") as file:
        seen = [row["path"] for row in csv.DictReader(file)]
    assert not [path for path in seen if path.startswith("test/")]
    lengths = {len(np.load(path)) for path in found.folder.glob("trial-*/hits.npy")}
    assert lengths == {found.comparison.count}


@pytest.mark.slow
def test_the_same_search_ends_the_same_and_is_added_to_by_a_larger_number(
    found: Tuning, data: Path, tmp_path: Path
) -> None:
    config = tiny_training(data, tmp_path / "x", **CHEAP)
    tune(config, 1, epochs=2)
    again = tune(config, 3, epochs=2)
    assert table_of(again.folder) == table_of(found.folder)


KILLED = """
import os, signal, sys
from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.training import history, tune
left = int(sys.argv[2])
saved = history.Checkpoints.on_train_epoch_end
def save(self, *args):
    global left
    saved(self, *args)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
history.Checkpoints.on_train_epoch_end = save
tune.tune(TrainConfig.model_validate_json(sys.argv[1]), 3, epochs=2)
"""


@pytest.mark.slow
def test_a_search_killed_within_a_trial_goes_on_and_ends_the_same(found: Tuning, data: Path, tmp_path: Path) -> None:
    config = tiny_training(data, tmp_path / "x", **CHEAP)
    command = [sys.executable, "-c", KILLED, config.model_dump_json(), "3"]  # after the first epoch of the second trial
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "x-tune/trial-001/checkpoints/last.ckpt").is_file()
    assert not (tmp_path / "x-tune/trial-001/trial.json").exists()
    again = tune(config, 3, epochs=2)
    assert table_of(again.folder) == table_of(found.folder)
    assert [one.curve for one in again.trials] == [one.curve for one in found.trials]


@pytest.mark.slow
def test_a_trial_that_is_worse_than_the_median_is_broken_off(data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("fer_pipeline.training.search_space.UNPRUNED", 0)
    monkeypatch.setattr("optuna.Trial.should_prune", lambda _: True)
    result = tune(tiny_training(data, tmp_path / "x", **CHEAP), 2)
    assert [(one.state, one.epochs) for one in result.trials] == [("complete", 3), ("pruned", 1)]
    assert result.best.number == 0


@pytest.mark.slow
def test_no_trial_begins_when_time_is_over_and_what_was_begun_is_kept(
    data: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    config = tiny_training(data, tmp_path / "x", **CHEAP)
    tune(config, 1)
    clock = iter([0.0, 0.0, 0.0, *[1e6] * 1000])
    monkeypatch.setattr("fer_pipeline.training.tune.time.monotonic", lambda: next(clock))
    result = tune(config, 5, minutes=1)
    monkeypatch.undo()
    assert len(result.trials) == 1
    assert (result.folder / "trial-001/checkpoints/last.ckpt").is_file()
    assert [one.epochs for one in tune(config, 2).trials] == [3, 3]


def test_another_setting_begins_another_search_and_the_old_one_is_kept(data: Path, tmp_path: Path) -> None:
    tune(tiny_training(data, tmp_path / "x", **CHEAP), 1, epochs=1)
    tune(tiny_training(data, tmp_path / "x", **CHEAP | {"batch": 4}), 1, epochs=1)
    kept = [json.loads((tmp_path / name / "provenance.json").read_text()) for name in ("x-tune", "x-tune.1")]
    assert [made["settings"]["batch"] for made in kept] == [4, 8]


def test_a_mangled_trial_is_an_error_that_names_it(data: Path, tmp_path: Path) -> None:
    config = tiny_training(data, tmp_path / "x", **CHEAP)
    tune(config, 1, epochs=1)
    (tmp_path / "x-tune/trial-000/trial.json").write_text("{}")
    with pytest.raises(InputError, match="trial-000"):
        tune(config, 2, epochs=1)


def test_the_command_leaves_a_table_a_picture_and_settings_that_load(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    lines = f"train: {{input: {json.dumps(str(data))}, network: simpleconv3, size: 32, epochs: 2, batch: 8, "
    config = write_config(tmp_path, lines + "device: cpu, ema: 0, strength: {shear: 0.1}, validation_share: 0.2}")
    assert main(["tune", "--config", str(config), "--trials", "2", "--epochs", "1"]) == 0
    told = capsys.readouterr().out
    assert "the configuration as given" in told
    folder = tmp_path / "runs/drawn-tune"
    assert (folder / "tune.png").read_bytes().startswith(b"\x89PNG")
    best = load_config(folder / "best.yaml")
    assert best.train.output == tmp_path / "runs/drawn-best"
    assert best.train.epochs == 2
    assert best.train.strength.shear == 0.1
    assert best.unify == load_config(config).unify
    assert main(["-q", "train", "--config", str(folder / "best.yaml")]) == 0
    assert (tmp_path / "runs/drawn-best/model.onnx").is_file()


@pytest.mark.parametrize("value", ["yes", "1e5", "12:30", "null", "a: b", "# no", "嘟嘴", "*x", "'", '"', "-", "~"])
def test_text_that_looks_like_something_else_stays_text(tmp_path: Path, value: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(to_yaml({"name": "x", "crawl": {"keywords": {value: [value, "b"]}}, "unify": {"quality": 90}}))
    assert dict(load_config(path).crawl.keywords) == {value: (value, "b")}


# --- the space


def test_settings_of_a_trial_are_valid_settings(data: Path, tmp_path: Path) -> None:
    config = tiny_training(data, tmp_path)
    study = make_study(config, [({}, "complete", 0.5, {"0": 0.5})])
    for _ in range(20):
        settings = study.ask(list_ranges(config)).params
        tried = apply_settings(config, settings)
        assert TrainConfig.model_validate_json(tried.model_dump_json()) == tried


def test_what_is_given_lies_in_the_space_whatever_it_is(data: Path, tmp_path: Path) -> None:
    extreme = tiny_training(
        data, tmp_path, learning_rate=1, weight_decay=0, label_smoothing=0.9, mixup=3, strength={"degrees": 90}
    )
    trial = optuna.trial.create_trial(params=given_settings(extreme), distributions=list_ranges(extreme), value=0.5)
    optuna.create_study().add_trial(trial)  # an error if one lies outside


# --- luck


def test_a_gain_of_many_images_is_more_than_luck_and_one_of_few_is_not() -> None:
    second = np.arange(200) < 120
    many, few = np.arange(200) < 150, np.arange(200) < 122
    assert compare_hits(many, second).p_value < 0.001
    assert compare_hits(many, second).low > 0
    assert compare_hits(few, second).p_value > 0.05
    assert compare_hits(second, second).p_value == 1.0


def test_mcnemar_agrees_with_the_binomial_by_hand() -> None:
    first = np.array([True] * 5 + [False] * 1 + [True] * 10)
    second = np.array([False] * 5 + [True] * 1 + [True] * 10)
    compared = compare_hits(first, second)
    assert (compared.won, compared.lost) == (5, 1)
    assert compared.p_value == pytest.approx(2 * (1 + 6) / 2**6)


def test_the_best_of_many_needs_more_than_the_best_of_one() -> None:
    trials = [Trial(0, "complete", 0.6, 1, 1.0, {}), Trial(1, "complete", 0.65, 1, 1.0, {"size": 32})]
    compared = compare_hits(np.arange(200) < 126, np.arange(200) < 120)
    assert compared.p_value < 0.05
    assert "more than chance" in judge_winner(Tuning(Path(), trials, trials[1], compared))
    assert "may be chance" in judge_winner(Tuning(Path(), [*trials, *trials[1:] * 9], trials[1], compared))


def test_the_last_word_is_honest() -> None:
    trials = [Trial(0, "complete", 0.6, 1, 1.0, {}), Trial(1, "complete", 0.61, 1, 1.0, {"size": 32})]
    second = np.arange(200) < 120
    lucky = Tuning(Path(), trials, trials[1], compare_hits(np.arange(200) < 122, second))
    assert "may be chance" in judge_winner(lucky)
    assert "more than chance" in judge_winner(Tuning(Path(), trials, trials[1], compare_hits(~second | second, second)))
    assert "keep it" in judge_winner(Tuning(Path(), trials, trials[0], compare_hits(second, second)))
