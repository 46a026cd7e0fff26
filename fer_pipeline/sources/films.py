"""Take frames out of films: the sharpest of every so many seconds, where it differs from the one before."""

import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import PIL.Image

from fer_pipeline.console import note
from fer_pipeline.dataset.class_folders import to_label, to_text
from fer_pipeline.errors import InputError
from fer_pipeline.files import list_named
from fer_pipeline.sources.importers import Found
from fer_pipeline.vision.films import FILMS, open_film, read_frames
from fer_pipeline.vision.image_io import Image, hash_image, measure_sharpness, shrink
from fer_pipeline.workers.stage_workers import WorkerCrash, work

MOST = 1000  # frames of a film
SAME = 4  # bits in which the hashes of two frames that show the same differ at most
LOOKED_AT = 256  # longest side in pixels at which frames are judged


class Frame(NamedTuple):
    """A frame that is kept: when it is shown, in seconds, and its JPEG."""

    moment: float
    data: bytes


def list_films(paths: Sequence[Path]) -> list[Path]:
    """List the films named and those below the folders named; InputError for what is neither."""
    remedy = f"name films ({', '.join(sorted(FILMS))}), or folders of films"
    return list_named(paths, _list_below, "film", remedy)


def _list_below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() in FILMS)


def find_frames(films: Sequence[Path], every: float, label: str | None = None) -> Iterator[tuple[str, list[Found]]]:
    """Yield the name of each film, as its source, with its frames; their class is the folder the film lies in.

    All frames of a film are one group. A film that cannot be read is named and passed over. It is decoded in a process
    of its own, which may die of it.
    """
    for film, frames in work(partial(take_frames, every=every), films, 2):
        if isinstance(frames, WorkerCrash | str):
            note(f"import: {frames if isinstance(frames, str) else f'{film}: its decoder died of it: passed over'}")
            continue
        folder = to_label(to_text(film.resolve().parent.name))
        name = f"{folder}/{to_text(film.name)}"
        chosen = label if label is not None else folder
        yield name, [Found(f"{name}@{one.moment:.2f}", one.data, chosen, group=f"film:{name}") for one in frames]


def take_frames(film: Path, every: float) -> list[Frame] | str:
    """Choose the frames of a film; runs in a worker. Returns a sentence for a film that cannot be read."""
    try:
        capture, _ = open_film(film)
    except InputError as error:
        return str(error)
    kept: list[Frame] = []
    seen: list[int] = []
    try:
        for moment, frame in _sharpest(capture, every):
            look = int(hash_image(frame), 16)
            if not seen or (look ^ seen[-1]).bit_count() > SAME:
                seen.append(look)
                kept.append(Frame(moment, _to_jpeg(frame)))
            if len(kept) == MOST:
                break
    finally:
        capture.release()
    return kept or f"{film}: no frame can be read: convert it to .mp4"


def _sharpest(capture: object, every: float) -> Iterator[tuple[float, Image]]:
    """The sharpest frame of each stretch of `every` seconds."""
    best: tuple[float, float, Image] | None = None
    stretch = 0
    for _, moment, frame in read_frames(capture):
        if best is not None and int(moment / every) != stretch:
            yield best[1:]
            best = None
        stretch = int(moment / every)
        sharpness = measure_sharpness(shrink(frame, LOOKED_AT))
        if best is None or sharpness > best[0]:
            best = (sharpness, moment, frame)
    if best is not None:
        yield best[1:]


def _to_jpeg(frame: Image) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(frame).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
