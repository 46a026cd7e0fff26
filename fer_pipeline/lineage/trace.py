"""Follow a photo through every folder: from a prediction back to crop, photo and URL, and to where it ended."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_pipeline.config.schema import FOLDERS
from fer_pipeline.dataset.blocklist import read_blocklist
from fer_pipeline.dataset.experiment import Experiment, file_of, rows_of, rows_with
from fer_pipeline.dataset.naming import photo_of
from fer_pipeline.dataset.rows import MANIFEST, Row, Status
from fer_pipeline.lineage.find import FACES, Photo
from fer_pipeline.lineage.run_usage import RunUsage, find_runs, run_usage

LONG = {"embedding", "faces", "mouth"}  # attributes no person reads


@dataclass(frozen=True)
class Step:
    """What one stage says of a photo, or of one of its faces."""

    stage: str
    folder: Path
    row: Row
    file: Path
    exists: bool

    def attributes(self, before: "Step | None") -> dict[str, Any]:
        """What this stage found out: the fields and attributes that the stage before it did not have."""
        old = before.row.attributes if before else {}
        attributes = {
            key: value for key, value in self.row.attributes.items() if key not in LONG and old.get(key) != value
        }
        if "faces" in self.row.attributes and "faces" not in old:
            attributes["faces"] = len(self.row.attributes["faces"])
        fields = {"box": self.row.box and list(self.row.box), "group": self.row.group, "split": self.row.split}
        known = {"box": before.row.box and list(before.row.box), "group": before.row.group} if before else {}
        return {key: value for key, value in fields.items() if value and value != known.get(key)} | attributes


@dataclass(frozen=True)
class Trace:
    """The chain of one photo, from its source on; `ended` says why it is in no later folder."""

    photo: str
    steps: list[Step]
    ended: str
    copies: list[str]  # rows that say they are copies of it
    runs: list[RunUsage]
    forgotten: bool

    @property
    def source(self) -> dict[str, Any]:
        return self.steps[0].row.source if self.steps else {}

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every step with its whole row."""
        steps = [
            {"stage": step.stage, "file": str(step.file), "exists": step.exists}
            | {"status": step.row.status.value, "row": step.row.model_dump(mode="json", exclude_defaults=True)}
            for step in self.steps
        ]
        return {
            "photo": self.photo,
            "source": self.source,
            "steps": steps,
            "ended": self.ended,
            "copies": self.copies,
            "runs": [one.as_dict() for one in self.runs],
            "forgotten": self.forgotten,
        }


def trace(photo: Photo, run: Path | None = None) -> Trace:
    """The steps of a photo through its experiment's folders, and the runs that saw it; `run` narrows those to one."""
    experiment = photo.experiment
    steps = [step for stage, folder in experiment.folders.items() for step in _steps(stage, folder, photo)]
    runs = [run] if run else find_runs(experiment.roots)
    seen = [one for folder in runs for one in run_usage(folder, photo.name, experiment)]
    if photo.face is not None:
        seen = [one for one in seen if Path(one.path).stem == Path(photo.face).stem] or seen
    if photo.plain is not None:
        seen = [one for one in seen if photo.plain.as_posix().endswith(f"/{one.path}")]
        return Trace(photo.name, [], f"no stage made {photo.plain}", [], seen, False)
    copies = [f"{stage}: {path}" for stage, folder in experiment.folders.items() for path in _copies(folder, photo)]
    forgotten = experiment.raw is not None and photo.name in read_blocklist(experiment.raw).photos
    ended = "taken out by `fer forget`" if forgotten and not steps else _ended(experiment, steps)
    return Trace(photo.name, steps, ended, copies, seen, forgotten)


def _steps(stage: str, folder: Path, photo: Photo) -> list[Step]:
    rows = rows_of(folder, photo.name)
    if stage in FACES and photo.face is not None:
        rows = [row for row in rows if str(Path(row.path).with_suffix("")) == photo.face] or rows
    return [Step(stage, folder, row, file, file.is_file()) for row in rows for file in [file_of(stage, folder, row)]]


def _copies(folder: Path, photo: Photo) -> list[str]:
    """Each copy once: in the stage that found it."""
    rows = rows_with(folder, photo.name)
    return [row.path for row in rows if photo_of(str(row.attributes.get("copy_of", ""))) == photo.name]


def _ended(experiment: Experiment, steps: list[Step]) -> str:
    """Why the chain is no longer than it is; nothing if it goes through."""
    if not steps:
        return "no stage knows it"
    last = steps[-1]
    if last.row.status is not Status.KEPT:
        return f"{last.row.status.value} by {last.stage}: {last.row.reason}"
    order = list(FOLDERS)
    later = [stage for stage in experiment.folders if order.index(stage) > order.index(last.stage)]
    if not later:
        return ""
    folder = experiment.folders[later[0]]
    if not (folder / MANIFEST).is_file():
        return f"{folder} is not finished: run `fer {later[0]}`"
    return f"{folder} was made before it came: run `fer {later[0]} --force`"
