"""Average several cross-validations: an out-of-fold ensemble, in which no model was trained on an image's group.

An image may lie in another fold in each of them, as long as groups are the same: each predicted it by a model that was
trained on neither it nor its group, and so does their mean.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.dataset.provenance import locked_run, read_provenance
from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.compare import Comparison, compare
from fer_pipeline.evaluation.evaluate import measure
from fer_pipeline.evaluation.metrics import score
from fer_pipeline.evaluation.predictions import PREDICTIONS, PredictedLabel, read_predictions, write_predictions
from fer_pipeline.evaluation.scores import BestMember, EnsembleScores, Metrics, Record, read_record, write_record
from fer_pipeline.files import TableReader, hash_file
from fer_pipeline.models.data import FOLDS, Crops
from fer_pipeline.models.graph import geometric_mean
from fer_pipeline.training.ensemble import check_runs


class _Pooled(Record):
    """What both kinds of `folds.json` hold."""

    pooled: Metrics


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold predictions of a cross-validation, by path: label, guess and group, and a probability per class."""

    run: Path
    judged: dict[str, PredictedLabel]
    labels: list[str]
    probabilities: dict[str, list[float]]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class CvEnsemble:
    """The scores of the mean and of each member on the images they share; `paired`: the best member (A) against it."""

    scores: EnsembleScores
    best: Path
    paired: Comparison
    folder: Path


def is_cross_validation(run: Path) -> bool:
    """Whether a folder holds a cross-validation in place of a model."""
    return (run / FOLDS).is_file()


def average_cross_validations(runs: list[Path], output: Path, *, force: bool = False) -> CvEnsemble:
    """Average the out-of-fold probabilities of some cross-validations; writes `predictions.csv` and `folds.json`."""
    check_runs(runs, output)
    answers = [read_out_of_fold(run) for run in runs]
    rows = common_rows(answers)
    inputs = {str(one.provenance.get("input")) for one in answers}
    names = [f"{one.run} {hash_file(one.run / PREDICTIONS)[:12]}" for one in answers]
    provenance = {"stage": "ensemble", "settings": {"members": names}, "folds": answers[0].provenance.get("folds")}
    provenance |= {
        "input": inputs.pop() if len(inputs) == 1 else "",
        "upstream": answers[0].provenance.get("upstream"),
    }
    with locked_run(output, provenance, force=force):
        return _write(output, answers, rows)


def read_out_of_fold(run: Path) -> OutOfFold:
    """Read the out-of-fold predictions of a run; raises InputError where they do not fit its `folds.json`."""
    judged = read_predictions(run)
    count, right = len(judged), sum(one.label == one.predicted for one in judged.values())
    try:
        pooled = read_record(_Pooled, run / FOLDS, "cross-validate again").pooled
        same = pooled.count == count and abs(pooled.accuracy - right / count) < 1e-4
    except InputError:
        same = False
    if not same:
        told = f"{run / FOLDS} does not tell of the {count:,} predictions beside it"
        raise InputError(f"{told}: cross-validate again with `fer train --folds`")
    labels, probabilities = _read_probabilities(run / PREDICTIONS)
    return OutOfFold(run, judged, labels, probabilities, read_provenance(run) or {})


def _read_probabilities(path: Path) -> tuple[list[str], dict[str, list[float]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = TableReader(file)
        labels = [name.removeprefix("p_") for name in reader.fieldnames or [] if name.startswith("p_")]
        found = {}
        for line in reader:
            try:
                values = [float(line[f"p_{label}"]) for label in labels]
            except (TypeError, ValueError):
                values = []
            if not values or not all(0 <= value <= 1 for value in values):
                where = f"{path}:{reader.line_num}"
                raise InputError(f"{where}: no probabilities: cross-validate again with `fer train --folds`")
            found[line["path"]] = values
    return labels, found


def common_rows(answers: list[OutOfFold]) -> list[Row]:
    """List the images that all predicted, with label and group; raises InputError where two contradict each other."""
    first, *others = answers
    for other in others:
        both = f"{first.run} and {other.run}"
        if set(other.labels) != set(first.labels):
            raise InputError(f"{both} know other labels: cross-validate both on the same data")
        if ("sources" in {first.provenance.get("folds"), other.provenance.get("folds")}) and (
            first.provenance.get("folds") != other.provenance.get("folds")
        ):
            raise InputError(f"{both}: only one left out whole sources: cross-validate both in the same way")
    paths = sorted(set.intersection(*(set(one.judged) for one in answers)))
    if not paths:
        raise InputError(
            f"{', '.join(str(one.run) for one in answers)} have no image in common: cross-validate all on the same data"
        )
    return [_merge(path, answers) for path in paths]


def _merge(path: str, answers: list[OutOfFold]) -> Row:
    """Merge what each says of an image; a group that one did not note is taken from the others."""
    label, group, told = "", "", answers[0].run
    for one in answers:
        judged = one.judged[path]
        known = "" if judged.group == path else judged.group
        if label not in {"", judged.label} or (group and known and group != known):
            raise InputError(
                f"{path} has another label or group in {one.run} than in {told}: cross-validate both on the same data"
            )
        label, group = judged.label, group or known
    return Row(path=path, label=label, group=group or None)


def _write(output: Path, answers: list[OutOfFold], rows: list[Row]) -> CvEnsemble:
    """Average the probabilities, score them, compare with the best member, and write the files."""
    labels = answers[0].labels
    said = [_line_up(one, rows, labels) for one in answers]
    mean = geometric_mean(said)
    targets = np.array([labels.index(str(row.label)) for row in rows], np.int64)
    scores = [score(targets, values, labels).summary() for values in said]
    place = int(np.argmax([one.accuracy for one in scores]))
    sides = [_guesses(rows, values, labels) for values in (said[place], mean)]
    paired = compare(sides[0], sides[1], [row.path for row in rows], (len(answers[place].judged), len(rows)))
    members = {str(one.run): each for one, each in zip(answers, scores, strict=True)}
    best = answers[place].run
    result = EnsembleScores(
        pooled=measure(targets, mean, labels, {}),
        members=members,
        paired=BestMember(best=str(best), **dict(paired.summary())),
    )
    # `write_predictions` looks at rows and labels only: there are no pixels here.
    write_predictions(output, Crops(np.zeros((len(rows), 0, 0, 3), np.uint8), targets, rows, labels), mean)
    write_record(output / FOLDS, result)
    return CvEnsemble(result, best, paired, output)


def _line_up(answer: OutOfFold, rows: list[Row], labels: list[str]) -> NDArray[np.float32]:
    """Collect the probabilities (n, classes) of some images, the classes in the order of `labels`."""
    order = [answer.labels.index(label) for label in labels]
    return np.array([answer.probabilities[row.path] for row in rows], np.float32)[:, order]


def _guesses(rows: list[Row], values: NDArray[np.float32], labels: list[str]) -> list[PredictedLabel]:
    guesses = [labels[best] for best in values.argmax(axis=1)]
    return [
        PredictedLabel(str(row.label), guess, row.group or row.path) for row, guess in zip(rows, guesses, strict=True)
    ]
