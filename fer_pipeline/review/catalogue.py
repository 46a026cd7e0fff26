"""Every image of a data set once, where its way ended: the crops that go on, and what each stage dropped."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_pipeline.config.schema import FOLDERS
from fer_pipeline.dataset.decisions import image_of
from fer_pipeline.dataset.experiment import Experiment
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, iter_rows, session_of
from fer_pipeline.errors import InputError
from fer_pipeline.report.pictures import link_of
from fer_pipeline.sources.crawl.urls import host_of

JUDGES = ("unify", "dedupe", "filter", "crop")
MAKERS = {folder: stage for stage, (_, folder) in FOLDERS.items()}
SHOWN = {"width", "height", "sharpness", "crop_sharpness", "tilt", "copy_of", "labels"}  # attributes a person reads
GROUPS = 2  # members that make a group


@dataclass(frozen=True)
class Item:
    """An image of the grid: `reason` says why `stage` dropped it, and is empty for what goes on."""

    row: Row
    stage: str
    picture: Path  # the crop, or the photo where there is none
    photo: Path
    safe: bool  # written by one of our stages, so that its bytes may be shown as they are

    @property
    def image(self) -> str:
        return image_of(self.row.path)

    @property
    def reason(self) -> str:
        return "" if self.row.status is Status.KEPT else self.row.reason or str(self.row.status)

    @property
    def restorable(self) -> bool:
        """Whether a decision can bring it back: `unify` and failures leave no picture to cut from."""
        return self.row.status is not Status.FAILED and self.stage != "unify"

    @property
    def source(self) -> str:
        """Where it came from, in one word; each session before a camera is a source of its own."""
        return session_of(self.row) or str(self.row.source.get("engine") or self.row.source.get("name") or "unknown")

    @property
    def host(self) -> str:
        """The website it was found on."""
        return host_of(str(self.row.source.get("url") or ""))

    def describe(self) -> dict[str, Any]:
        """What the page tells of it beside its pictures; all of it is text."""
        source = {str(key): str(value)[:500] for key, value in self.row.source.items()}
        attributes = {key: str(value) for key, value in self.row.attributes.items() if key in SHOWN}
        return {"source": source, "link": link_of(self.row), "attributes": attributes, "box": self.row.box}


class Catalogue:
    """The images of one experiment, in the order of their paths; `token` changes when a stage is rebuilt."""

    def __init__(self, experiment: Experiment) -> None:
        self.folders = list_finished(experiment)
        if not self.folders:
            home = next(iter(experiment.folders.values()), Path("data/NAME")).parent
            raise InputError(f"{home} has no finished stage to review: run `fer clean` and `fer crop` first")
        self.token = read_token(self.folders)
        self.items = sorted(self._walk(experiment), key=lambda item: (item.row.label or "", item.row.path))
        self.places = {item.image: place for place, item in enumerate(self.items)}
        members = Counter(item.row.group for item in self.items)
        self.groups = {group for group, count in members.items() if group is not None and count >= GROUPS}

    @property
    def home(self) -> Path:
        """The folder that holds the stages' folders, and beside them the decisions."""
        return list(self.folders.values())[-1].parent

    def _walk(self, experiment: Experiment) -> Iterator[Item]:
        last = list(self.folders)[-1]
        photos = self.folders.get("unify")
        for stage, folder in self.folders.items():
            before = experiment.folders.get(MAKERS[str(FOLDERS[stage][0])])
            seen = before if stage == "unify" else photos or before or folder
            for row in iter_rows(folder):
                if row.status is not Status.KEPT:
                    file = (seen or folder) / row.path
                    yield Item(_light(row), stage, file, file, stage != "unify")
                elif stage == last:
                    photo = (photos or folder) / photo_path(row.path) if stage == "crop" else folder / row.path
                    yield Item(_light(row), stage, folder / row.path, photo, True)

    def group(self, item: Item) -> list[int]:
        """The places of what is tied to an item, itself included."""
        if item.row.group not in self.groups:
            return []
        return [place for place, one in enumerate(self.items) if one.row.group == item.row.group]


def is_finished(folder: Path) -> bool:
    """Whether a stage is complete."""
    return (folder / MANIFEST).is_file()


def list_finished(experiment: Experiment) -> dict[str, Path]:
    """The stages whose verdicts can be reviewed, in their order."""
    return {stage: folder for stage, folder in experiment.folders.items() if stage in JUDGES and is_finished(folder)}


def read_token(folders: dict[str, Path]) -> str:
    """Names the state of some finished stages, by the sizes and times of their manifests."""
    found = [(folder / MANIFEST).stat() for folder in folders.values() if is_finished(folder)]
    told = repr([(one.st_size, one.st_mtime_ns, one.st_ino) for one in found])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def photo_path(path: str) -> str:
    """`smile/0123456789ab-2.png` was cut out of `smile/0123456789ab.jpg`."""
    folder, _, name = image_of(path).rpartition("/")
    photo = f"{name.partition('-')[0]}.jpg"
    return f"{folder}/{photo}" if folder else photo


def _light(row: Row) -> Row:
    """Without what is long and not shown."""
    attributes = {key: value for key, value in row.attributes.items() if key in SHOWN | {"faces"}}
    return row.replace(landmarks=None, attributes=attributes)
