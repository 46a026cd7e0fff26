"""What a stage is: up to three plain functions, and what it calls its output."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from fer_pipeline.boxes import Box, Point
from fer_pipeline.config import StageConfig
from fer_pipeline.images import Image, read_image
from fer_pipeline.manifest import Row, kept_rows

C = TypeVar("C", bound=StageConfig)


@dataclass(frozen=True)
class Keep:
    """The image goes on: changed (`image`), or the file untouched. `box` and `landmarks` are pixels of the photo."""

    image: Image | None = None
    box: Box | None = None
    landmarks: tuple[Point, ...] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drop:
    """The image goes no further; `reason` is a short code, which is counted."""

    reason: str
    facts: dict[str, Any] = field(default_factory=dict)


Verdict = Keep | Drop | list[Keep]


def _read(path: Path, _: StageConfig) -> Image:
    return read_image(path)


def _path(row: Row) -> str:
    return row.path


def _nothing(_: StageConfig) -> None:
    return None


@dataclass(frozen=True)
class Stage(Generic[C]):
    """One step of the pipeline; the runner does the rest.

    judge   what about this image? Sees one image, runs in parallel.
    settle  what about all of them? Sees the rows that `judge` kept, opens no image, returns as many rows.
    """

    name: str
    judge: Callable[[Image, Row, C], Verdict] | None = None
    settle: Callable[[list[Row], C], list[Row]] | None = None
    gather: Callable[[Path], Iterable[Row]] = kept_rows
    open: Callable[[Path, C], Image] = _read
    get_ready: Callable[[C], None] = _nothing  # load models: what is missing is told before the first image
    locate: Callable[[Row], str] = _path  # where a kept row's file goes, below the output folder
    suffix: str = ".jpg"  # of images that `judge` changed
