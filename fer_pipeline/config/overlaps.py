"""Folders that must not lie in one another: what one step replaces would be another's, or the user's own."""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from fer_pipeline.config.schema import FOLDERS, Config
from fer_pipeline.errors import UsageError

GALLERY = "crawl.sample.folder"
REMEDY = "name another folder for one of them"


class Overlap(NamedTuple):
    """The keys of two folders that overlap, the first one being the one to blame, and the problem in words."""

    keys: tuple[str, ...]
    problem: str


def find_overlaps(config: Config) -> Iterator[Overlap]:
    """Every output that is, or lies in, another output or an input of the user's, or that holds the working folder."""
    given = list_outputs(config)
    outputs = {key: _resolve(key, path) for key, path in given.items()}
    reported = set()
    for (key, path), (other, outer) in permutations(outputs.items(), 2):
        same, pair = path == outer, frozenset((key, other))
        # A folder that holds several others is told once.
        if (outer in path.parents or same) and pair not in reported and other not in reported:
            reported |= {pair, other}
            yield Overlap((key, other), _format(key, given[key], other, given[other], same=same))
    made = {path for key, path in outputs.items() if key != GALLERY}
    for other, source in list_inputs(config).items():
        outer = _resolve(other, source)
        if outer not in made:
            inside = ((key, path) for key, path in outputs.items() if outer == path or outer in path.parents)
            for key, path in inside:
                yield Overlap((key, other), _format(key, given[key], other, source, same=path == outer))
                break
    here = Path.cwd().resolve()
    for key, path in outputs.items():
        if path == here or path in here.parents:
            yield Overlap((key,), f"{key}: {given[key]} is the working folder or holds it: name a folder inside it")


def list_outputs(config: Config) -> dict[str, Path]:
    """Every folder that fer writes, by its key."""
    found = {f"{name}.output": getattr(config, name).output for name in FOLDERS} | {"train.output": config.train.output}
    gallery = config.crawl.sample.folder
    if gallery is None and "sample" in config.crawl.engines:
        gallery = config.crawl.output.parent / "gallery"
    return found if gallery is None else found | {GALLERY: gallery}


def list_inputs(config: Config) -> dict[str, Path]:
    """Every folder that is read, by its key."""
    stages = {f"{name}.input": getattr(config, name).input for name in FOLDERS if name != "crawl"}
    return {**stages, "train.input": config.train.input}


def _resolve(key: str, path: Path) -> Path:
    """The folder itself, whatever links lead to it."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"{key}: {path}: no usable path ({error}): name another folder") from None


def _format(key: str, path: Path, other: str, outer: Path, *, same: bool) -> str:
    told = f"is also {other}" if same else f"lies in {other}, {outer}"
    return f"{key}: {path} {told}: {REMEDY}"
