"""Compare a fine-tuned model with the one it started from, source by source, on images neither was trained on.

`finetune_report.json` holds

    before after         run and SHA-256 of both model files; `data` is the hash of the folder
    sources              for each session before a camera and every other source: images, accuracy before and after with
                         their 95 % intervals, the difference with its interval, McNemar's p-value and a sentence
    old new              the same of all other sources together, and of all sessions together (None: there is none)
    left_out             test images that the first model was trained on, which therefore count for nothing
"""

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.dataset.naming import GIVEN_NAME
from fer_pipeline.dataset.rows import Row, session_of
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.metrics import wilson_interval
from fer_pipeline.evaluation.predictions import read_seen
from fer_pipeline.evaluation.significance import compare_hits
from fer_pipeline.files import hash_file, write_aside
from fer_pipeline.models.data import Crops, hash_data, list_crops, load_crops, source_of
from fer_pipeline.models.model_file import MODEL
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.models.pretrained import Base

REPORT = "finetune_report.json"
SIGNIFICANCE = 0.05


def compare_with_base(base: Base, config: TrainConfig) -> dict[str, Any]:
    """Compare both models on the test part of `config.input`; a report of these models and data is read back."""
    path, model = config.output / REPORT, config.output / MODEL
    sides = {
        "before": {"run": str(base.run), "model": base.sha256},
        "after": {"run": str(config.output), "model": hash_file(model)},
        "data": hash_data(config.input),
    }
    kept = _read(path)
    if kept and {name: kept.get(name) for name in sides} == sides:
        return kept
    rows, learned = _list_test(config.input), learned_from(base.run)
    fresh = [row for row in rows if not _names(row.path) & learned]
    figures: dict[str, Any] = {"sources": {}, "old": None, "new": None, "left_out": len(rows) - len(fresh)}
    if fresh:
        crops = load_crops(config.input, fresh, base.card.labels, base.card.size, config.output / "cache")
        figures |= _compare(crops, [_hits(Predictor(run), crops) for run in (base.run, config.output)])
    write_aside(path, [json.dumps(sides | figures, indent=2, ensure_ascii=False).encode()])
    return sides | figures


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "sources" in found else {}


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


def _compare(crops: Crops, hits: list[NDArray[np.bool_]]) -> dict[str, Any]:
    names = np.array([name_source(row) for row in crops.rows])
    camera = np.array([session_of(row) is not None for row in crops.rows])

    def tell(name: str, chosen: NDArray[np.bool_]) -> dict[str, Any] | None:
        return _figures(name, hits[0][chosen], hits[1][chosen]) if chosen.any() else None

    return {
        "sources": {name: tell(name, names == name) for name in sorted(set(names.tolist()))},
        "old": tell("all other sources", ~camera),
        "new": tell("all sessions", camera),
    }


def name_source(row: Row) -> str:
    """Name the camera session of an image, or else its source."""
    return session_of(row) or source_of(row)


def _figures(name: str, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> dict[str, Any]:
    found = compare_hits(after, before)
    share: Callable[[NDArray[np.bool_]], dict[str, Any]] = lambda hits: {  # noqa: E731  the same of both sides
        "accuracy": round(float(hits.mean()), 4),
        "accuracy_ci95": [round(value, 4) for value in wilson_interval(int(hits.sum()), len(hits))],
    }
    return {
        "count": found.count,
        "before": share(before),
        "after": share(after),
        "gain": round(found.gain, 4),
        "gain_ci95": [round(found.low, 4), round(found.high, 4)],
        "p": found.p_value,
        "told": _tell(name, found.gain, found.p_value, found.count),
    }


def _tell(name: str, gain: float, p_value: float, count: int) -> str:
    """Format a difference as `gained 31.0 points on webcam:2026-11-20 (n=60, p=1e-05)`."""
    if not gain:
        return f"the same on {name} (n={count:,})"
    word = "gained" if gain > 0 else "lost"
    within = f"p={p_value:.2g}" if p_value < SIGNIFICANCE else "within chance"
    return f"{word} {abs(100 * gain):.1f} points on {name} (n={count:,}, {within})"
