"""Two processes that train as one: torchrun ends with the weights of a single process, also after a kill."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from support.drawn import tiny_training, write_config, write_split
from support.killed import started

from fer_pipeline.models.distributed import previous_in_batch, take_share
from fer_pipeline.training.history import read_history
from fer_pipeline.training.train import train

torch.set_num_threads(1)

# All that is drawn by chance, a batch that two cannot halve, and batch norm.
CHANGES: dict[str, Any] = {
    "batch": 9, "epochs": 6, "augment": "strong", "mixup": 0.2, "dropout": 0.3, "precision": "32", "keep": "last",
    "learning_rate": 1e-3, "validation_share": 0.3, "sampler": "balanced", "loss": "focal", "ema": 0.9,
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration, its drawn data, and the run of one process."""
    folder = tmp_path_factory.mktemp("shared")
    data = write_split(folder / "data" / "drawn" / "split", train=19, test=2)
    train(tiny_training(data, folder / "runs" / "one", **CHANGES))
    return folder


def torchrun(home: Path, *overrides: str) -> AbstractContextManager["subprocess.Popen[str]"]:
    settings = {**tiny_training(Path("in"), Path("out"), **CHANGES).model_dump(mode="json", exclude_unset=True)}
    lines = [
        f"  {key}: {value if key != 'precision' else chr(34) + value + chr(34)}" for key, value in settings.items()
    ]
    config = write_config(home, "train:\n" + "\n".join(line for line in lines if "put:" not in line))
    options = [part for override in overrides for part in ("--set", override)]
    torch_run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command = [*torch_run, "-m", "fer_pipeline", "train", "--config", str(config), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return started(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)["state_dict"])


def lines_of(text: str) -> list[str]:
    """What fer said, without the report of torchrun."""
    return [line for line in text.splitlines() if line.startswith(("fer:", "train:", "decode:"))]


@pytest.mark.slow
def test_two_processes_killed_and_resumed_end_with_the_weights_of_one(home: Path) -> None:
    run = home / "runs" / "drawn"
    with torchrun(home) as begun:
        end = time.monotonic() + 120
        while not (run / "checkpoints" / "last.ckpt").is_file() and begun.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        begun.send_signal(signal.SIGTERM)
        begun.communicate(timeout=60)
    assert len(read_history(run)) < CHANGES["epochs"], "the training ended before it could be stopped"
    assert not (run / "model.onnx").exists()
    with torchrun(home) as resumed:
        _, told = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, told
    assert sum("going on after the last finished epoch" in line for line in lines_of(told)) == 1, told
    one, two = weights(home / "runs" / "one"), weights(run)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=2e-3, atol=2e-3)
    names = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
    histories = [
        [[row[name] for name in names] for row in read_history(home / "runs" / one)] for one in ("one", "drawn")
    ]
    torch.testing.assert_close(torch.tensor(histories[0]), torch.tensor(histories[1]), rtol=1e-3, atol=1e-3)
    assert (run / "model.onnx").is_file()
    assert (run / "curves.png").is_file()
    assert not [path for path in run.rglob("*") if path.name.endswith(".part")]


@pytest.mark.slow
def test_a_failing_process_ends_both_with_one_line(home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "thesis.txt").write_text("dear")
    with torchrun(home, "train.output=" + str(home / "mine")) as failed:
        _, told = failed.communicate(timeout=120)
    assert failed.returncode != 0
    assert len(lines_of(told)) == 1, told
    assert not re.search('File ".*fer_pipeline', told), "a traceback of ours: torchrun's own report has one as well"
    assert re.match(r"fer: .*/mine is not empty and was not made by fer", lines_of(told)[0])


def test_alone_a_process_holds_the_whole_batch_and_its_neighbours() -> None:
    assert take_share(5) == (0, 5, 5)
    assert previous_in_batch(torch.arange(3)).tolist() == [2, 0, 1]
