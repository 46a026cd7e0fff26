"""Scores as written to `metrics.json`, `folds.json`, `finetune_report.json` and `quantised.json`.

A field that is `None` is left out of the file. Shares and intervals are rounded to four digits.
"""

from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fer_pipeline.errors import InputError
from fer_pipeline.files import write_aside
from fer_pipeline.models.model_file import TemperatureFit

METRICS = "metrics.json"
Share = Annotated[float, Field(ge=0, le=1)]
Interval = tuple[Share, Share]  # 95 %


class Record(BaseModel):
    """A part of a file of scores; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


AnyRecord = TypeVar("AnyRecord", bound=Record)


class Score(Record):
    """Accuracy and macro-F1 of a classifier on `count` images; intervals by Wilson and by bootstrap."""

    count: int
    accuracy: Share
    accuracy_ci95: Interval
    macro_f1: Share
    macro_f1_ci95: Interval


class ClassScore(Record):
    """Scores of one class with `support` images."""

    precision: Share
    recall: Share
    recall_ci95: Interval
    f1: Share
    support: int


class Accuracy(Record):
    """A share of images that are predicted right."""

    accuracy: Share
    accuracy_ci95: Interval


class SourceScore(Accuracy):
    """Accuracy on the images of one source."""

    count: int


class Scores(Score):
    """A score with its details; rows of the confusion matrix are true, columns predicted, both in order of `labels`."""

    per_class: dict[str, ClassScore]
    per_source: dict[str, SourceScore] = {}
    confusion: list[list[int]]
    labels: list[str]

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        size = len(self.labels)
        if len(self.confusion) != size or any(len(row) != size for row in self.confusion):
            raise ValueError(f"confusion is not of {size} by {size}")
        if set(self.per_class) != set(self.labels):
            raise ValueError("per_class has not the classes of labels")
        return self

    def summary(self) -> Score:
        """The score without its details."""
        return Score(**{name: getattr(self, name) for name in Score.model_fields})


class ReliabilityBin(Record):
    """Images whose confidence lies in a range; an empty bin has neither mean confidence nor accuracy."""

    low: Share
    high: Share
    count: int
    confidence: Share | None = None
    accuracy: Share | None = None


class Calibration(Record):
    """Expected calibration error and its bins (Guo et al. 2017).

    `temperature` is that of the model; `validation` what fitting it changed on the validation images, if it was fitted.
    """

    ece: Share
    bins: list[ReliabilityBin]
    temperature: float | None = None
    validation: TemperatureFit | None = None


class ThresholdScore(Record):
    """Coverage and accuracy if predictions below a confidence are withheld; no accuracy if all are."""

    threshold: Share
    answered: int
    coverage: Share
    accuracy: Share | None = None
    accuracy_ci95: Interval


class Selective(ThresholdScore):
    """Selective prediction (El-Yaniv and Wiener 2010) at the model's own threshold, and a table of others."""

    table: list[ThresholdScore]


class Others(Record):
    """Pictures of something else: how many are `unknown`, and `withheld` (unknown or uncertain).

    `auroc` is the chance that one of them lies farther from training than a test image, `auroc_confidence` that it is
    told with less confidence. `left_out` counts what could not be read, and faces that show no mouth.
    """

    data: str
    count: int
    left_out: int
    unknown: Share
    unknown_ci95: Interval
    withheld: Share
    auroc: Share
    auroc_confidence: Share


class Unknown(Record):
    """The share of test images that stay `known`, and that are `answered`: known and certain; `accuracy` of those."""

    known: Share
    known_ci95: Interval
    answered: Share
    accuracy: Share | None = None
    accuracy_ci95: Interval
    others: Others | None = None


class Leakage(Record):
    """Test images that are copies of training images, and the score `without` them, if any are left.

    `reason` says why they could not be searched for (`checked` is false). `passed` compares `share` with `limit`.
    """

    checked: bool
    reason: str | None = None
    images: int = 0
    share: Share = 0
    kinds: dict[str, int] = {}
    without: Score | None = None
    limit: Share
    allowed: bool
    passed: bool


class Metrics(Scores):
    """The content of `metrics.json`; of a cross-validation (`folds.json`) without data, model and leakage."""

    calibration: Calibration
    selective: Selective
    unknown: Unknown | None = None
    leakage: Leakage | None = None
    data: str | None = None  # folder measured on
    model: str | None = None  # SHA-256 of the model file


class FoldScores(Record):
    """The content of `folds.json`, by `fer train --folds`: pooled over all images, and by fold."""

    pooled: Metrics
    folds: dict[str, Score]
    minutes: list[float] = []  # training time of each fold


class ComparisonSummary(Record):
    """A paired comparison of two models A and B on the same images, see `compare.Comparison`."""

    images: int
    groups: int
    alone: tuple[int, int]
    only_right: tuple[int, int]
    p: float
    accuracy_difference: tuple[float, float, float]
    macro_f1_difference: tuple[float, float, float]
    verdict: str


class BestMember(ComparisonSummary):
    """The best member of an ensemble (A) compared with the ensemble (B)."""

    best: str


class EnsembleScores(Record):
    """The content of `folds.json`, by `fer ensemble` of cross-validations."""

    pooled: Metrics
    members: dict[str, Score]
    paired: BestMember


class QuantisedScore(Score):
    """The score of a model file and its speed on one thread."""

    images_per_second: float


class QuantisedScores(Record):
    """The content of `quantised.json`: the float model and the 8-bit model on the same test images."""

    count: int
    float32: QuantisedScore
    int8: QuantisedScore
    speed_ratio: float
    largest_difference: float  # of a probability
    paired: ComparisonSummary
    bytes: dict[str, int]


class Gain(Record):
    """Accuracy of two models on the same images of a source, their difference, and McNemar's p-value."""

    count: int
    before: Accuracy
    after: Accuracy
    gain: float
    gain_ci95: tuple[float, float]
    p: float
    summary: str


class RunModel(Record):
    """A run and the SHA-256 of its model file."""

    run: str
    model: str


class Gains(Record):
    """The content of `finetune_report.json`: gains on each source, on all sessions (`new`) and on all else (`old`).

    `left_out` counts test images that the first model was trained or validated on. `data` is the hash of the folder.
    """

    before: RunModel
    after: RunModel
    data: str
    sources: dict[str, Gain]
    old: Gain | None = None
    new: Gain | None = None
    left_out: int


def write_record(path: Path, record: Record) -> None:
    """Write scores as JSON."""
    write_aside(path, [record.model_dump_json(indent=2, exclude_none=True).encode()])


def read_record(kind: type[AnyRecord], path: Path, remedy: str) -> AnyRecord:
    """Read scores from JSON; raises InputError with `remedy` if the file is missing or damaged."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}): {remedy}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        told = f"{place}: {problem['msg']}" if place else problem["msg"]
        raise InputError(f"{path}: damaged ({told}): {remedy}") from None
