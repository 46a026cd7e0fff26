"""Counts of a data folder: classes by stage and part, sources, sizes, groups."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_pipeline.dataset.rows import Row, Status, iter_rows
from fer_pipeline.models.data import source_of
from fer_pipeline.report.funnel import Place

SIZES = ("photo width", "face width", "crop square")
COLUMNS = 8  # sources with a column of their own
SHOWN = ("width", "height", "faces", "square", "copy_of")


class Table(NamedTuple):
    """A table as a template shows it: the first cell of a row is its head."""

    head: list[str]
    rows: list[list[str]]


def name_of(label: str | None) -> str:
    """The name of a class, or `(no label)`."""
    return label if label is not None else "(no label)"


def light_rows(folder: Path, status: Status = Status.KEPT) -> list[Row]:
    """Read rows without the long fields that are not shown: landmarks, embeddings, hashes."""
    return [
        row.replace(landmarks=None, attributes={key: row.attributes[key] for key in SHOWN if key in row.attributes})
        for row in iter_rows(folder)
        if row.status is status
    ]


def count_classes(places: Sequence[Place], rows: Sequence[Row]) -> Table:
    """Images of each class after every finished stage, and in the parts of the last one."""
    columns: list[tuple[str, Counter[str]]] = []
    for place in places:
        kept = (row for row in iter_rows(place.folder) if row.status is Status.KEPT)
        columns.append((place.folder.name, Counter(name_of(row.label) for row in kept)))
    for part in ("train", "test"):
        counts = Counter(name_of(row.label) for row in rows if row.split == part)
        if counts:
            columns.append((part, counts))
    labels = sorted({label for _, counts in columns for label in counts})
    lines = [[label, *(f"{counts[label]:,}" for _, counts in columns)] for label in labels]
    total = ["all", *(f"{counts.total():,}" for _, counts in columns)]
    return Table(["class", *(name for name, _ in columns)], [*lines, total])


def count_sources(rows: Iterable[Row]) -> dict[str, Counter[str]]:
    """Images of each source, by class."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(name_of(row.label), Counter())[source_of(row)] += 1
    return dict(sorted(counts.items()))


def table_sources(counts: dict[str, Counter[str]]) -> Table:
    """Classes by source, the largest sources first; many small ones share the last column."""
    total = sum(counts.values(), Counter[str]())
    named = [source for source, _ in sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))][:COLUMNS]
    rest = len(total) - len(named)
    lines = []
    for label, one in counts.items():
        others = [f"{one.total() - sum(one[source] for source in named):,}"] if rest else []
        lines.append([label, *(f"{one[source]:,}" for source in named), *others])
    return Table(["class", *named, *([f"{rest} others"] if rest else [])], lines)


def measure_sizes(rows: Iterable[Row]) -> dict[str, dict[str, list[float]]]:
    """Width of photo and largest face, and side of the crop's square, in pixels of the photo, by class."""
    sizes: dict[str, dict[str, list[float]]] = {name: {} for name in SIZES}
    for row in rows:
        for name, value in zip(SIZES, _sizes_of(row.attributes), strict=True):
            if value:
                sizes[name].setdefault(name_of(row.label), []).append(value)
    told: dict[str, dict[str, list[float]]] = {}
    for name, by_label in sizes.items():
        if by_label and by_label not in told.values():  # where the picture is the crop, all three are the same
            told[name] = dict(sorted(by_label.items()))
    return told


def _sizes_of(attributes: dict[str, Any]) -> tuple[float, float, float]:
    """The three sizes; 0 if missing or invalid."""
    face, square = attributes.get("faces"), attributes.get("square")
    first = face[0] if isinstance(face, list) and face else None
    width = _number(first, 2) - _number(first, 0)
    return _number([attributes.get("width")], 0), max(width, 0.0), _number(square, 2)


def _number(values: Any, place: int) -> float:
    value = values[place] if isinstance(values, list) and len(values) > place else None
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6
    return float(value) if known and value is not None else 0.0


def table_sizes(sizes: dict[str, dict[str, list[float]]]) -> Table:
    """Median and the middle 90 % of each size by class."""
    labels = sorted({label for by_label in sizes.values() for label in by_label})
    lines = [[label, *(_middle(by_label.get(label, [])) for by_label in sizes.values())] for label in labels]
    return Table(["class", *sizes], lines)


def _middle(values: Sequence[float]) -> str:
    if not values:
        return "-"
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def table_groups(rows: Iterable[Row]) -> Table:
    """Groups that a split keeps together, by size."""
    sizes = Counter(row.group or row.path for row in rows)
    lines = []
    for low, high in ((1, 1), (2, 2), (3, 5), (6, 10), (11, None)):
        chosen = [count for count in sizes.values() if count >= low and (high is None or count <= high)]
        if chosen:
            name = str(low) if low == high else f"{low} or more" if high is None else f"{low} to {high}"
            lines.append([name, f"{len(chosen):,}", f"{sum(chosen):,}"])
    return Table(["images in the group", "groups", "images"], lines)
