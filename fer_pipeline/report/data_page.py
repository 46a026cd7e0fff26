"""The page of a data folder, `data/NAME/report.html`: classes, sources, samples, sizes and dropped images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.dataset.experiment import file_below
from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import InputError
from fer_pipeline.report.dataset_stats import (
    count_classes,
    count_sources,
    light_rows,
    measure_sizes,
    name_of,
    table_groups,
    table_sizes,
    table_sources,
)
from fer_pipeline.report.dropped import list_copies, list_lost
from fer_pipeline.report.figures import draw_sizes
from fer_pipeline.report.funnel import Place, Step, read_steps
from fer_pipeline.report.pages import write_page
from fer_pipeline.report.pictures import Picture, embed_file, link_of, some
from fer_pipeline.report.warnings import warn_of_counts, warn_of_sources
from fer_pipeline.stages.dedupe import warn_of_copies
from fer_pipeline.stages.description import CROISSANT, METADATA

REPORT = "report.html"
TILES = 240  # pictures in the sample of all classes together
CLASSES = 80
SECTIONS = (
    ("funnel", "Stages"),
    ("classes", "Classes"),
    ("sources", "Sources"),
    ("samples", "Samples"),
    ("sizes", "Sizes"),
    ("dropped", "Dropped"),
    ("copies", "Copies"),
    ("groups", "Groups"),
)


@dataclass(frozen=True)
class Sample:
    """Some pictures of a class."""

    label: str
    count: int
    pictures: list[Picture]


def write_data_page(home: Path, places: Sequence[Place]) -> Path:
    """Write the page beside the stages; raises InputError where no stage is finished."""
    finished = [place for place in places if place.finished]
    if not finished:
        raise InputError(f"{home} holds no finished stage: run `fer crawl` or `fer import` first")
    steps, rows = read_steps(finished), light_rows(finished[-1].folder)
    sources, sizes = count_sources(rows), measure_sizes(rows)
    dedupe = next((list_copies(place) for place in finished if place.stage == "dedupe"), ([], 0))
    path = home / REPORT
    write_page(
        path,
        "data.html",
        title=f"Data set {home.resolve().name}",
        sections=SECTIONS,
        warnings=_warnings(steps, rows),
        steps=steps,
        described=[name for name in (METADATA, CROISSANT) if (home / "split" / name).is_file()],
        last=finished[-1],
        images=len(rows),
        classes=count_classes(finished, rows),
        sources=table_sources(sources),
        count_of_sources=len({name for one in sources.values() for name in one}),
        samples=_sample(finished[-1].folder, rows),
        sizes=table_sizes(sizes),
        size_plots=[draw_sizes(by_label, name) for name, by_label in sizes.items()],
        lost=list_lost(finished),
        copies=dedupe[0],
        count_of_copies=dedupe[1],
        groups=table_groups(rows),
    )
    return path


def _warnings(steps: Sequence[Step], rows: Sequence[Row]) -> list[str]:
    """Warnings about this data."""
    stale = [f"{step.folder.name} was {step.stale}." for step in steps if step.stale]
    sources = count_sources(rows)
    counts = {label: one.total() for label, one in sources.items()}
    copies = [warning for step in steps if step.stage == "dedupe" for warning in warn_of_copies(step.folder)]
    return [*stale, *copies, *warn_of_sources(sources), *warn_of_counts(counts)]


def _sample(folder: Path, rows: Sequence[Row]) -> list[Sample]:
    """A few pictures of each class, fewer where there are many classes."""
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(name_of(row.label), []).append(row)
    each = max(2, min(16, TILES // max(1, len(by_label))))
    return [
        Sample(label, len(found), [_tile(folder, row, label) for row in some(found, each)])
        for label, found in sorted(by_label.items())[:CLASSES]
    ]


def _tile(folder: Path, row: Row, label: str) -> Picture:
    return embed_file(file_below(folder, row), f"{label}, {row.path}", side=80, link=link_of(row))
