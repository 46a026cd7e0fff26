"""Which runs saw a photo, and how: to learn from, to choose the epoch by, or to be measured on."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fer_pipeline.dataset.experiment import Experiment, rows_of, strip_part
from fer_pipeline.dataset.naming import photo_of
from fer_pipeline.dataset.provenance import read_provenance
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.predictions import PREDICTIONS, SEEN
from fer_pipeline.files import TableReader, hash_file

TRAINERS = ("train", "folds", "tune", "ensemble")


@dataclass(frozen=True)
class RunUsage:
    """One photo, or one face of it, in one run."""

    run: str
    path: str  # below the run's data folder
    part: str  # training, validation, test, folds (each fold but one learned from it) or train (which is not noted)
    label: str = ""
    predicted: str = ""
    confidence: float | None = None
    stale: bool = False  # the data have changed since the run

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}


def find_runs(roots: Iterable[Path]) -> list[Path]:
    """The folders below some roots that a training or an evaluation wrote."""
    names = ("provenance.json", PREDICTIONS)
    found = {path for root in roots if root.is_dir() for path in root.iterdir() for name in names if _has(path, name)}
    return sorted(found)


def _has(folder: Path, name: str) -> bool:
    return folder.is_dir() and (folder / name).is_file()


def find_data(run: Path) -> Path | None:
    """The folder a run learned from, or was measured on; None if it does not say."""
    for name, keys in (("config.json", ("train", "input")), ("metrics.json", ("data",))):
        value: Any = _read_json(run / name)
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str):
            return Path(value)
    return None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def run_usage(run: Path, photo: str, experiment: Experiment) -> list[RunUsage]:
    """How a run saw a photo; nothing if it did not."""
    provenance = read_provenance(run) or {}
    stale = _is_stale(run, provenance, experiment)
    seen: dict[str, RunUsage] = {}
    names = {photo, *_moved_names(photo, experiment)}
    for line in _lines(run / SEEN, names):
        seen[line["path"]] = RunUsage(run.name, line["path"], line.get("part", ""), line.get("label", ""), stale=stale)
    for line in _lines(run / PREDICTIONS, names):
        part = (
            "folds" if provenance.get("stage") == "folds" or "folds" in provenance else "test"
        )  # or an ensemble of those
        predicted = (line.get("predicted") or "", _number(line.get("confidence")))
        seen[line["path"]] = RunUsage(run.name, line["path"], part, line.get("label", ""), *predicted, stale)
    return list(seen.values()) or list(_by_split(run, provenance, photo, experiment))


def _moved_names(photo: str, experiment: Experiment) -> Iterator[str]:
    """What a photo is called in the tables since people moved it into another class."""
    split = experiment.folders.get("split")
    return (photo_of(row.path) for row in (rows_of(split, photo) if split else []))


def _lines(path: Path, names: set[str]) -> Iterator[dict[str, str]]:
    """The lines of a table of paths that tell of a photo."""
    if not path.is_file():
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for line in TableReader(file):
                if line.get("path") and photo_of(strip_part(line["path"])) in names:
                    yield line
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({error}): run `fer eval` again, or remove it") from None


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _by_split(run: Path, provenance: dict[str, Any], photo: str, experiment: Experiment) -> Iterator[RunUsage]:
    """A run that left no note of what it saw, but was made from the split as it is now."""
    split = experiment.folders.get("split")
    if split is None or provenance.get("stage") not in TRAINERS or (run / SEEN).is_file():
        return
    data = find_data(run)
    if provenance.get("input") == _hash(split) or (data is not None and data.resolve() == split.resolve()):
        stale = provenance.get("input") != _hash(split)
        for row in rows_of(split, photo):
            if row.split == "train":
                yield RunUsage(run.name, f"train/{row.path}", "train", str(row.label), stale=stale)


def _is_stale(run: Path, provenance: dict[str, Any], experiment: Experiment) -> bool:
    data = find_data(run) or experiment.folders.get("split")
    return provenance.get("stage") in TRAINERS and data is not None and provenance.get("input") != _hash(data)


def _hash(folder: Path) -> str | None:
    return hash_file(folder / MANIFEST) if (folder / MANIFEST).is_file() else None
