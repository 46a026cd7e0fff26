"""What a model said of every picture it was measured on, read back from `predictions.csv` for people to look at."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.dataset.rows import is_inside
from fer_pipeline.report.status import read_table

BINS = 10


@dataclass(frozen=True)
class Answer:
    """One picture (a path below the folder measured on), its label and what the model called it, how surely."""

    path: str
    label: str
    predicted: str
    confidence: float

    @property
    def right(self) -> bool:
        return self.label == self.predicted


def read_answers(folder: Path) -> list[Answer]:
    """The rows of `predictions.csv`; those that lead elsewhere or hold no number are left out."""
    answers = []
    for row in read_table(folder / "predictions.csv"):
        try:
            answer = Answer(row["path"], row["label"], row["predicted"], float(row["confidence"]))
        except (KeyError, ValueError):
            continue
        if is_inside(answer.path) and 0 <= answer.confidence <= 1:
            answers.append(answer)
    return answers


def pick(answers: list[Answer], wanted: Callable[[Answer], bool], count: int) -> list[Answer]:
    """The surest of those wanted."""
    return sorted(filter(wanted, answers), key=lambda one: (-one.confidence, one.path))[:count]


def spread(answers: list[Answer], wanted: Callable[[Answer], bool], count: int) -> list[Answer]:
    """Some of those wanted, evenly from the surest to the least sure."""
    found = pick(answers, wanted, len(answers))
    return [found[index * len(found) // count] for index in range(count)] if len(found) > count else found


def bin_confidence(answers: list[Answer]) -> list[tuple[float, float, int]]:
    """Mean confidence, share right and count in ten bins of equal width; empty ones are left out."""
    bins: list[list[Answer]] = [[] for _ in range(BINS)]
    for answer in answers:
        bins[min(BINS - 1, int(answer.confidence * BINS))].append(answer)
    return [
        (sum(one.confidence for one in part) / len(part), sum(one.right for one in part) / len(part), len(part))
        for part in bins
        if part
    ]


def calibration_error(bins: list[tuple[float, float, int]]) -> float:
    """Expected calibration error: the mean gap between confidence and share right (Naeini et al. 2015)."""
    total = sum(count for *_, count in bins)
    return sum(count * abs(sure - right) for sure, right, count in bins) / max(1, total)
