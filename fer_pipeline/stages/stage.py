"""What a stage is: up to three plain functions, and what it calls its output."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from fer_pipeline.config.schema import StageConfig
from fer_pipeline.dataset.rows import Row, kept_rows
from fer_pipeline.vision.boxes import Box, Point
from fer_pipeline.vision.image_io import Image, read_image

C = TypeVar("C", bound=StageConfig)


@dataclass(frozen=True)
class Keep:
    """The image goes on: changed (`image`), or the file untouched. `box` and `landmarks` are pixels of the photo."""

    image: Image | None = None
    box: Box | None = None
    landmarks: tuple[Point, ...] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drop:
    """The image goes no further; `reason` is a short code, which is counted."""

    reason: str
    attributes: dict[str, Any] = field(default_factory=dict)


Verdict = Keep | Drop | Sequence[Keep | Drop]


def _read(path: Path, _: StageConfig) -> Image:
    return read_image(path)


def _path(row: Row) -> str:
    return row.path


def _nothing(_: StageConfig) -> None:
    return None


def _never(_: StageConfig) -> bool:
    return False


def _origin(row: Row, config: StageConfig, _: Path) -> Path:
    return config.input / row.path


@dataclass(frozen=True)
class Stage(Generic[C]):
    """One step of the pipeline; `stages.runner` does the rest.

    process_image   what about this image? Sees one image, runs in parallel. What it says may depend on the image, its
                    attributes and the settings, and on nothing else of its row: it is reused as long as these stay.
    finalize_rows   what about all of them? Sees the rows that were kept so far, opens an image only where rows leave
                    something open, gives as many in the same order. It may go over the rows several times, and should
                    hold no more of them than it decides by: they are many.
    per_image       the settings that `process_image` depends on; None: all.
    """

    name: str
    process_image: Callable[[Image, Row, C], Verdict] | None = None
    finalize_rows: Callable[[Iterable[Row], C], Iterable[Row]] | None = None
    per_image: tuple[str, ...] | None = None
    gather: Callable[[Path], Iterable[Row]] = kept_rows
    open: Callable[[Path, C], Image] = _read
    get_ready: Callable[[C], None] = _nothing  # load models: what is missing is told before the first image
    join: Callable[[C, Path], list[Row]] | None = None  # more rows for `finalize_rows`; their files go into the folder
    origin: Callable[[Row, C, Path], Path] = _origin  # where a row's file comes from; the folder is that of `join`
    renames: Callable[[C], bool] = _never  # whether `finalize_rows` gives rows other paths, and so another order
    locate: Callable[[Row], str] = _path  # where a kept row's file goes, below the output folder
    describe: Callable[[Path, Iterable[Row]], None] | None = (
        None  # writes beside the images what tells of the kept rows
    )
    suffix: str = ".jpg"  # of images that `process_image` changed
