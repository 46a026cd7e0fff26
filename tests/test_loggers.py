"""TensorBoard and trackio beside `history.csv`."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.drawn import tiny_training

from fer_pipeline.errors import SetupError
from fer_pipeline.training import loggers
from fer_pipeline.training.history import read_history
from fer_pipeline.training.train import train

SIMPLE: dict[str, Any] = {"network": "simpleconv3"}


@pytest.fixture(scope="module")
def data(trained: Path) -> Path:
    return trained / "split"


def test_tensorboard_shows_what_history_holds(data: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    train(tiny_training(data, run, epochs=3, logger="tensorboard", **SIMPLE))
    events = EventAccumulator(str(run / loggers.FOLDER)).Reload()
    rows = read_history(run)
    for name in ("train_loss", "val_loss", "val_accuracy"):
        assert [event.value for event in events.Scalars(name)] == pytest.approx([row[name] for row in rows], abs=1e-5)


def test_trackio_gets_every_epoch_as_a_run_of_the_projects_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, Any]] = []
    trackio: Any = ModuleType("trackio")
    trackio.__spec__ = object()
    trackio.init = lambda **named: calls.append(("init", named))
    trackio.log = lambda metrics, step: calls.append(("log", metrics | {"step": step}))
    trackio.finish = lambda: calls.append(("finish", None))
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    train(tiny_training(data, tmp_path / "faces" / "run", epochs=2, logger="trackio", **SIMPLE))
    assert [name for name, _ in calls if name != "log"] == ["init", "finish"]
    assert (calls[0][1]["project"], calls[0][1]["name"]) == ("faces", "run")
    assert "space_id" not in calls[0][1]
    logged = [values["val_loss"] for name, values in calls if name == "log" and "val_loss" in values]
    assert logged == pytest.approx([row["val_loss"] for row in read_history(tmp_path / "faces" / "run")], abs=1e-5)


def test_a_logger_that_is_not_installed_is_told_with_the_remedy(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)  # noqa: ARG005
    with pytest.raises(SetupError, match="pip install trackio"):
        train(tiny_training(data, tmp_path / "run", epochs=1, logger="trackio"))


def test_another_logger_makes_no_other_run(data: Path, tmp_path: Path) -> None:
    train(tiny_training(data, tmp_path / "run", epochs=1, **SIMPLE))
    assert not train(tiny_training(data, tmp_path / "run", epochs=1, logger="tensorboard", **SIMPLE)).fresh
