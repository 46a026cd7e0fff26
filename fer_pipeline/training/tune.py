"""Search for better training settings with Optuna (Akiba et al. 2019), and test whether the best is significant.

Every trial trains on the same images and is measured on the same validation images, held back from train; the test part
is never used. The first trial is the configuration as given. Each trial is drawn from the seed, its number and the
trials before it, so that a killed search continues as if it had not been.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import lightning
import numpy as np
import optuna
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from fer_pipeline import console
from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.dataset.provenance import locked_run, make_provenance
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.evaluation.predictions import write_seen
from fer_pipeline.evaluation.significance import Comparison, compare_hits
from fer_pipeline.files import remove_files, write_aside, write_csv
from fer_pipeline.models.classical import CLASSICAL
from fer_pipeline.models.data import hash_data, write_arrays
from fer_pipeline.models.model_module import predict
from fer_pipeline.training.diagnose import Diverged
from fer_pipeline.training.fit import choose_length, fit
from fer_pipeline.training.history import read_history
from fer_pipeline.training.search_space import Settings, apply_settings, draw_settings, list_ranges, make_study
from fer_pipeline.training.train import check_device, hold_back, read_crops

TRIALS, HITS = "trials.csv", "hits.npy"
RECORD = "trial.json"


@dataclass(frozen=True)
class Trial:
    """What one trial tried and reached; `accuracy` is that of its last epoch if it was pruned."""

    number: int
    state: str  # complete or pruned
    accuracy: float
    epochs: int
    seconds: float
    settings: Settings
    curve: dict[str, float] = field(default_factory=dict)  # epoch from 0: validation accuracy


@dataclass(frozen=True)
class Tuning:
    """All finished trials, the best of them, and how that compares with the first on the same images."""

    folder: Path
    trials: list[Trial]
    best: Trial
    comparison: Comparison


def tune(
    config: TrainConfig, count: int, *, minutes: float | None = None, epochs: int | None = None, force: bool = False
) -> Tuning:
    """Run trials until there are `count`, or `minutes` are over; a second call with a larger count adds to them."""
    if config.network in CLASSICAL:
        raise UsageError(f"train.network: {config.network} has no learning rate to search, networks have")
    end = time.monotonic() + minutes * 60 if minutes else float("inf")
    config = config.model_copy(update={"output": config.output.with_name(f"{config.output.name}-tune")})
    provenance = make_provenance("tune", config, hash_data(config.input))
    provenance["settings"] |= {"most_epochs": epochs}
    check_device(config.device)
    with locked_run(config.output, provenance, force=force):
        trials = list(_read_trials(config.output))
        while len(trials) < count and time.monotonic() < end:
            trial = _run(config, trials, epochs, end)
            if trial is None:
                break
            trials.append(trial)
            _print_trial(trial, count)
        if not trials:
            raise InputError(f"{config.output}: no trial was finished in time: give it more --minutes")
        _write_table(config.output, trials)
    best = max((one for one in trials if one.state == "complete"), key=lambda one: (one.accuracy, -one.number))
    comparison = compare_hits(_hits(config.output, best), _hits(config.output, trials[0]))
    return Tuning(config.output, trials, best, comparison)


def _folder(run: Path, number: int) -> Path:
    return run / f"trial-{number:03d}"


def _hits(run: Path, trial: Trial) -> NDArray[np.bool_]:
    return np.asarray(np.load(_folder(run, trial.number) / HITS, allow_pickle=False), dtype=np.bool_)


def _read_trials(run: Path) -> Iterator[Trial]:
    """Read the finished trials, in their order."""
    for number in range(100_000):
        path = _folder(run, number) / RECORD
        if not path.is_file():
            return
        try:
            yield Trial(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{path}: unreadable ({error}): remove {path.parent} and those after it") from None


def _run(config: TrainConfig, before: list[Trial], most: int | None, end: float) -> Trial | None:
    """Train once; None if time was over before the end, which leaves its checkpoints for the next call."""
    started = time.monotonic()
    number = len(before)
    folder = _folder(config.output, number)
    study = make_study(config, ((one.settings, one.state, one.accuracy, one.curve) for one in before))
    asked = study.ask(list_ranges(config)) if number else None  # the first is the configuration as given
    settings = draw_settings(asked) if asked is not None else {}
    tried = apply_settings(config, settings)
    training, validation = hold_back(read_crops(tried, "train"), tried)
    length = choose_length(tried, len(training.targets))[0]
    tried = tried.model_copy(update={"epochs": min(length, most or length)})
    folder.mkdir(parents=True, exist_ok=True)
    write_seen(config.output, training, validation)
    watch = Watch(folder, asked, lambda: time.monotonic() > end and bool(before))
    hits = np.zeros(len(validation.targets), np.bool_)
    try:
        classifier = fit(tried, training, validation, folder, [watch])
        if watch.late:
            return None
        hits = predict(classifier, validation).argmax(axis=1) == validation.targets
    except Diverged:
        if not number:
            raise
        watch.pruned = True
    write_arrays(folder / HITS, hits)
    last = next(reversed(watch.curve.values()), 0.0)
    state, accuracy = ("pruned", last) if watch.pruned else ("complete", float(hits.mean()))
    seconds = round(time.monotonic() - started, 1)
    trial = Trial(number, state, round(accuracy, 6), len(watch.curve), seconds, settings, watch.curve)
    write_aside(folder / RECORD, [json.dumps(asdict(trial), indent=2).encode()])
    remove_files(folder, [f"checkpoints/{name}.ckpt" for name in ("best", "last")])
    return trial


def _write_table(run: Path, trials: list[Trial]) -> None:
    """Write all trials as `trials.csv`, in their order."""
    names = list(trials[-1].settings)
    header = ["trial", "state", "accuracy", "epochs", "seconds", *names]
    rows = [
        [one.number, one.state, one.accuracy, one.epochs, one.seconds, *(one.settings.get(name, "") for name in names)]
        for one in trials
    ]
    write_csv(run / TRIALS, header, rows)


def _print_trial(trial: Trial, count: int) -> None:
    told = "as given" if not trial.settings else ", ".join(f"{name} {value}" for name, value in trial.settings.items())
    ended = f"broken off after {trial.epochs} epochs at" if trial.state == "pruned" else "validation"
    console.note(f"tune: trial {trial.number + 1} of {count}: {ended} {trial.accuracy:.1%} ({told})")


class Watch(Callback):
    """Report the accuracy of each epoch to Optuna, and end a trial that it prunes, or when time is over."""

    def __init__(self, folder: Path, trial: optuna.Trial | None, is_late: Callable[[], bool]) -> None:
        self.trial, self.is_late = trial, is_late
        self.curve: dict[str, float] = {}
        self.pruned = self.late = False
        self._folder = folder

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Report again the epochs from before a kill."""
        for row in read_history(self._folder)[: trainer.current_epoch]:
            self._report(int(row["epoch"]) - 1, row["val_accuracy"])

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        self._report(trainer.current_epoch, round(float(trainer.callback_metrics["val_accuracy"]), 6))
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs
        if not last:
            self.pruned = self.trial is not None and self.trial.should_prune()
            self.late = not self.pruned and self.is_late()
            trainer.should_stop = self.pruned or self.late

    def _report(self, epoch: int, accuracy: float) -> None:
        self.curve[str(epoch)] = accuracy
        if self.trial is not None:
            self.trial.report(accuracy, epoch)
