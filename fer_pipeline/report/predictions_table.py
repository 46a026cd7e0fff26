"""Read `predictions.csv` for a page, and choose predictions to show."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.dataset.rows import is_inside
from fer_pipeline.report.status import read_table


@dataclass(frozen=True)
class PredictedImage:
    """One image (a path below the folder measured on), its label, the predicted label and its confidence."""

    path: str
    label: str
    predicted: str
    confidence: float

    @property
    def right(self) -> bool:
        return self.label == self.predicted


def read_images(folder: Path) -> list[PredictedImage]:
    """Read the rows of `predictions.csv`; rows with a foreign path or no number are left out."""
    images = []
    for row in read_table(folder / "predictions.csv"):
        try:
            image = PredictedImage(row["path"], row["label"], row["predicted"], float(row["confidence"]))
        except (KeyError, ValueError):
            continue
        if is_inside(image.path) and 0 <= image.confidence <= 1:
            images.append(image)
    return images


def pick(images: list[PredictedImage], wanted: Callable[[PredictedImage], bool], count: int) -> list[PredictedImage]:
    """The `count` most confident of those wanted."""
    return sorted(filter(wanted, images), key=lambda one: (-one.confidence, one.path))[:count]


def spread(images: list[PredictedImage], wanted: Callable[[PredictedImage], bool], count: int) -> list[PredictedImage]:
    """`count` of those wanted, spread evenly over their confidences."""
    found = pick(images, wanted, len(images))
    return [found[index * len(found) // count] for index in range(count)] if len(found) > count else found
