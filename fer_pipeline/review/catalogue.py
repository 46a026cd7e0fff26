"""Every image of a data set once: the crops that go on and what each stage dropped, with what audit and model say."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fer_pipeline.config.schema import FOLDERS
from fer_pipeline.dataset.decisions import image_of
from fer_pipeline.dataset.experiment import Experiment, rows_with, strip_part
from fer_pipeline.dataset.naming import photo_path
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, iter_rows, session_of
from fer_pipeline.errors import InputError
from fer_pipeline.report.pictures import link_of
from fer_pipeline.report.status import read_table
from fer_pipeline.sources.crawl.urls import host_of

STAGES = ("unify", "dedupe", "filter", "crop")
STAGE_OF_FOLDER = {folder: stage for stage, (_, folder) in FOLDERS.items()}
SHOWN_ATTRIBUTES = {"width", "height", "sharpness", "crop_sharpness", "tilt", "copy_of", "labels"}
MIN_GROUP = 2  # images that make a group
AUDIT, PREDICTIONS = "audit.csv", "predictions.csv"


@dataclass(frozen=True)
class Item:
    """An image of the grid: `reason` says why `stage` dropped it, and is empty for one that goes on."""

    row: Row
    stage: str
    picture: Path  # the crop, or the photo where there is none
    photo: Path
    safe: bool  # written by a stage, so that its bytes may be sent to a browser as they are

    @property
    def image(self) -> str:
        return image_of(self.row.path)

    @property
    def reason(self) -> str:
        return "" if self.row.status is Status.KEPT else self.row.reason or str(self.row.status)

    @property
    def restorable(self) -> bool:
        """Whether a decision can bring it back: `unify` and failures have no picture to cut from.

        Nor can one of several faces of a photo be brought back but the largest, whose name is the photo's.
        """
        lesser = self.stage == "crop" and image_of(photo_path(self.row.path)) != self.image
        return self.row.status is not Status.FAILED and self.stage != "unify" and not lesser

    @property
    def source(self) -> str:
        """The engine, import or camera session it came from."""
        return session_of(self.row) or str(self.row.source.get("engine") or self.row.source.get("name") or "unknown")

    @property
    def host(self) -> str:
        """The website it was found on."""
        return host_of(str(self.row.source.get("url") or ""))

    def describe(self) -> dict[str, Any]:
        """Return what the page shows of it beside its pictures; all of it is text."""
        source = {str(key): str(value)[:500] for key, value in self.row.source.items()}
        attributes = {key: str(value) for key, value in self.row.attributes.items() if key in SHOWN_ATTRIBUTES}
        return {"source": source, "link": link_of(self.row), "attributes": attributes, "box": self.row.box}


class Catalogue:
    """The images of one experiment, in the order of their labels and paths; `token` changes when a stage is rebuilt.

    The page names an image by its place in `items`.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.folders = list_finished(experiment)
        if not self.folders:
            home = next(iter(experiment.folders.values()), Path("data/NAME")).parent
            raise InputError(f"{home}: no finished stage to review: run `fer clean` and `fer crop` first")
        self.token = read_token(self.folders)
        self._roots = {folder.resolve() for folder in experiment.folders.values()}
        self.items = sorted(self._walk(experiment), key=lambda item: (item.row.label or "", item.row.path))
        self.places = {item.image: place for place, item in enumerate(self.items)}
        members = Counter(item.row.group for item in self.items)
        self.groups = {group for group, count in members.items() if group is not None and count >= MIN_GROUP}

    @property
    def home(self) -> Path:
        """The folder that holds the folders of the stages and the decisions."""
        return list(self.folders.values())[-1].parent

    def _walk(self, experiment: Experiment) -> Iterator[Item]:
        last = list(self.folders)[-1]
        photos = self.folders.get("unify")
        for stage, folder in self.folders.items():
            before = experiment.folders.get(STAGE_OF_FOLDER[str(FOLDERS[stage][0])])
            seen = before if stage == "unify" else photos or before or folder
            for row in iter_rows(folder):
                if row.status is not Status.KEPT:
                    file = (seen or folder) / (photo_path(row.path) if stage == "crop" else row.path)
                    yield Item(_light(row), stage, file, file, stage != "unify")
                elif stage == last:
                    photo = (photos or folder) / photo_path(row.path) if stage == "crop" else folder / row.path
                    yield Item(_light(row), stage, folder / row.path, photo, True)

    def is_inside(self, item: Item) -> bool:
        """Whether no link leads its pictures out of the data folders."""
        found = [path.resolve() for path in (item.picture, item.photo)]
        return all(any(path.is_relative_to(root) for root in self._roots) for path in found)

    def group(self, item: Item) -> list[int]:
        """Return the places of the images in the group of an item, itself included."""
        if item.row.group not in self.groups:
            return []
        return [place for place, one in enumerate(self.items) if one.row.group == item.row.group]


def is_finished(folder: Path) -> bool:
    """Whether a stage is complete."""
    return (folder / MANIFEST).is_file()


def list_finished(experiment: Experiment) -> dict[str, Path]:
    """Return the finished stages that drop images, in their order, with their folders."""
    return {stage: folder for stage, folder in experiment.folders.items() if stage in STAGES and is_finished(folder)}


def read_token(folders: dict[str, Path]) -> str:
    """Hash the state of finished stages, by the sizes and times of their manifests."""
    found = [(folder / MANIFEST).stat() for folder in folders.values() if is_finished(folder)]
    state = repr([(one.st_size, one.st_mtime_ns, one.st_ino) for one in found])
    return hashlib.sha256(state.encode()).hexdigest()[:16]


def _light(row: Row) -> Row:
    """Drop from a row what is long and not shown."""
    attributes = {key: value for key, value in row.attributes.items() if key in SHOWN_ATTRIBUTES | {"faces"}}
    return row.replace(landmarks=None, attributes=attributes)


class Opinion(NamedTuple):
    """What audit and model say of an image.

    `quality` is the probability the audit gives its label, low is suspect; `confidence` is the model's in `predicted`.
    """

    quality: float | None = None
    suspect: bool = False
    suggested: str = ""
    confidence: float | None = None
    predicted: str = ""


def read_opinions(run: Path, experiment: Experiment) -> dict[str, Opinion]:
    """Read opinions by image from `RUN-audit`, from `RUN-folds…`, which cover all images, and from the run itself."""
    split = experiment.folders.get("split")
    moved = {
        image_of(row.path): image_of(str(row.attributes["moved_from"]))
        for row in (rows_with(split, "moved_from") if split else [])
        if "moved_from" in row.attributes
    }
    found: dict[str, Opinion] = {}
    for line in read_table(run.with_name(f"{run.name}-audit") / AUDIT):
        image = _image(line, moved)
        is_suspect = line.get("is_issue") == "1"
        found[image] = Opinion(_number(line.get("quality")), is_suspect, line.get("suggested", ""))
    folds = sorted(run.parent.glob(f"{run.name}-folds*")) if run.parent.is_dir() else []
    for line in _lines([*folds, run]):
        image, confidence = _image(line, moved), _number(line.get("confidence"))
        known = found.get(image, Opinion())
        found[image] = known._replace(
            confidence=confidence, predicted=line.get("predicted", "") if confidence is not None else ""
        )
    return found


def _lines(runs: Iterable[Path]) -> Iterable[dict[str, str]]:
    return (line for run in runs for line in read_table(run / PREDICTIONS))


def _image(line: dict[str, str], moved: dict[str, str]) -> str:
    path = strip_part(line.get("path", ""))
    image = image_of(path) if path.strip("./") else ""
    return moved.get(image, image)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
