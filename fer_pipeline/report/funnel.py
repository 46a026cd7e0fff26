"""The funnel of the stages: images kept and dropped, and whether a folder is up to date."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_pipeline.config.schema import FOLDERS, Config
from fer_pipeline.dataset.provenance import decided, format_difference, make_provenance, read_provenance
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.errors import FerError
from fer_pipeline.files import hash_file
from fer_pipeline.stages.runner import summarise


@dataclass(frozen=True)
class Place:
    """The input folder (none for a crawl) and the output folder of a stage."""

    stage: str
    source: Path | None
    folder: Path

    @property
    def finished(self) -> bool:
        return (self.folder / MANIFEST).is_file()


@dataclass(frozen=True)
class Step:
    """A finished stage: images kept, reasons of those dropped, and what has changed since, if anything."""

    stage: str
    folder: Path
    kept: int
    reasons: dict[str, int] = field(default_factory=dict)
    stale: str = ""
    second_look: int = 0  # kept images whose face a second detector found

    @property
    def dropped(self) -> int:
        return sum(self.reasons.values())

    @property
    def told(self) -> str:
        """The reasons with their counts, as one line."""
        reasons = [f"{reason} {count:,}" for reason, count in self.reasons.items()]
        return ", ".join([*reasons, *([f"found at the second look {self.second_look:,}"] if self.second_look else [])])


def places_of(config: Config) -> list[Place]:
    """The folders of the stages of an experiment."""
    sections = ((name, getattr(config, name)) for name in FOLDERS)
    return [Place(name, getattr(section, "input", None), section.output) for name, section in sections]


def places_below(home: Path) -> list[Place]:
    """The folders of the stages in a data folder with the default names."""
    return [
        Place(name, None if source is None else home / source, home / folder)
        for name, (source, folder) in FOLDERS.items()
    ]


def read_steps(places: list[Place], config: Config | None = None) -> list[Step]:
    """Read the finished stages, in order; with a configuration, also compare its settings with theirs."""
    steps = []
    for place in places:
        if place.finished:
            summary = summarise(place.stage, place.folder)
            stale = find_change(place, config)
            steps.append(Step(place.stage, place.folder, summary.kept, summary.reasons, stale, summary.second_look))
    return steps


def find_change(place: Place, config: Config | None = None) -> str:
    """How a folder differs from what its stage would make now, to follow "was"; empty if it does not."""
    made = read_provenance(place.folder)
    if made is None or place.source is None or not (place.source / MANIFEST).is_file():
        return ""
    if config is None:
        fresh = {"input": hash_file(place.source / MANIFEST), "decisions": None} | decided(place.stage, place.source)
        wanted: dict[str, Any] = made | fresh
    else:
        try:
            wanted = make_provenance(place.stage, getattr(config, place.stage))
        except FerError:  # the command itself will tell
            return ""
    return format_difference(made, wanted)
