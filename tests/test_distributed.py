"""Two processes that train one network: torchrun ends with the same weights also after a kill."""

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

from fer_pipeline.evaluation.evaluate import evaluate
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
def test_two_processes_killed_and_resumed_end_with_the_weights_of_two_that_were_not(home: Path) -> None:
    run, other = home / "runs" / "drawn", home / "runs" / "whole"
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
    with torchrun(home, f"train.output={other}") as whole:
        _, told = whole.communicate(timeout=200)
    assert whole.returncode == 0, told
    expected, got = weights(other), weights(run)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-4)
    assert evaluate(run).metrics.accuracy >= evaluate(home / "runs" / "one").metrics.accuracy - 0.1
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
