"""What fine-tuning gained and lost, source by source, on test images that neither model has seen."""

from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.dataset.naming import GIVEN_NAME
from fer_pipeline.dataset.rows import Row, session_of
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.metrics import round_interval, wilson_interval
from fer_pipeline.evaluation.predictions import read_seen
from fer_pipeline.evaluation.scores import Accuracy, Gain, Gains, RunModel, read_record, write_record
from fer_pipeline.evaluation.significance import compare_hits
from fer_pipeline.files import hash_file
from fer_pipeline.models.data import Crops, hash_data, list_crops, load_crops, source_of
from fer_pipeline.models.model_file import MODEL
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.models.pretrained import Base

REPORT = "finetune_report.json"
SIGNIFICANCE = 0.05


def compare_with_base(base: Base, config: TrainConfig) -> Gains:
    """Compare both models on the test part; read back if that was done for these models and data."""
    path = config.output / REPORT
    before = RunModel(run=str(base.run), model=base.sha256)
    after = RunModel(run=str(config.output), model=hash_file(config.output / MODEL))
    data = hash_data(config.input)
    kept = _read(path)
    if kept and (kept.before, kept.after, kept.data) == (before, after, data):
        return kept
    rows, seen = _list_test(config.input), learned_from(base.run)
    unseen = [row for row in rows if not _names(row.path) & seen]
    gains = Gains(before=before, after=after, data=data, sources={}, left_out=len(rows) - len(unseen))
    if unseen:
        crops = load_crops(config.input, unseen, base.card.labels, base.card.size, config.output / "cache")
        gains = _compare(gains, crops, [_hits(Predictor(run), crops) for run in (base.run, config.output)])
    write_record(path, gains)
    return gains


def _read(path: Path) -> Gains | None:
    try:
        return read_record(Gains, path, "measure again")
    except InputError:
        return None


def _list_test(folder: Path) -> list[Row]:
    try:
        return [row for row in list_crops(folder, "test") if row.split == "test"]
    except InputError:  # a folder of class folders may have no test part
        return []


def learned_from(run: Path) -> set[str]:
    """List the images a run, or one it was fine-tuned from, was trained or validated on, by any name they may have.

    Empty for a run without `seen.csv`.
    """
    return {name for path, _, _ in read_seen(run) for name in _names(path)}


def _names(path: str) -> set[str]:
    """List the names of an image: `train/smile/x.png` is `test/smile/x.png`, and a hash names it in any class."""
    part, _, rest = path.partition("/")
    stem = PurePosixPath(path).stem
    return {rest if part in {"train", "test"} else path} | ({stem} if GIVEN_NAME.fullmatch(stem) else set())


def _hits(predictor: Predictor, crops: Crops) -> NDArray[np.bool_]:
    return np.asarray(predictor.classify(crops.images).argmax(axis=1) == crops.targets)


def _compare(gains: Gains, crops: Crops, hits: list[NDArray[np.bool_]]) -> Gains:
    names = np.array([name_source(row) for row in crops.rows])
    camera = np.array([session_of(row) is not None for row in crops.rows])

    def gain(name: str, chosen: NDArray[np.bool_]) -> Gain:
        return _measure(name, hits[0][chosen], hits[1][chosen])

    return gains.model_copy(
        update={
            "sources": {name: gain(name, names == name) for name in sorted(set(names.tolist()))},
            "old": gain("all other sources", ~camera) if not camera.all() else None,
            "new": gain("all sessions", camera) if camera.any() else None,
        }
    )


def name_source(row: Row) -> str:
    """Name the camera session of an image, or else its source."""
    return session_of(row) or source_of(row)


def _measure(name: str, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Gain:
    found = compare_hits(after, before)
    return Gain(
        count=found.count,
        before=_accuracy(before),
        after=_accuracy(after),
        gain=round(found.gain, 4),
        gain_ci95=(round(found.low, 4), round(found.high, 4)),
        p=found.p_value,
        summary=_format(name, found.gain, found.p_value, found.count),
    )


def _accuracy(hits: NDArray[np.bool_]) -> Accuracy:
    interval = round_interval(wilson_interval(int(hits.sum()), len(hits)))
    return Accuracy(accuracy=round(float(hits.mean()), 4), accuracy_ci95=interval)


def _format(name: str, gain: float, p_value: float, count: int) -> str:
    """`gained 31.0 points on webcam:2026-11-20 (n=60, p=1e-05)`."""
    if not gain:
        return f"the same on {name} (n={count:,})"
    word = "gained" if gain > 0 else "lost"
    within = f"p={p_value:.2g}" if p_value < SIGNIFICANCE else "within chance"
    return f"{word} {abs(100 * gain):.1f} points on {name} (n={count:,}, {within})"
