"""Folders that must not lie in one another: what one step replaces would be another's, or the user's own."""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from fer_pipeline.config.schema import FOLDERS, Config
from fer_pipeline.errors import UsageError

GALLERY = "crawl.sample.folder"


class Overlap(NamedTuple):
    """The keys of two folders that overlap, the first one being the one to blame, and the problem in words."""

    keys: tuple[str, ...]
    problem: str


def find_overlaps(config: Config) -> Iterator[Overlap]:
    """Every output that is, or lies in, another output or an input of the user's, or that holds the working folder."""
    outputs, here = list_outputs(config), Path.cwd().resolve()
    resolved = {key: _resolve(key, path) for key, path in outputs.items()}
    holding = [key for key, path in resolved.items() if path == here or path in here.parents]
    for key in holding:
        yield Overlap((key,), f"{key}: {outputs[key]} is the working folder or holds it: name a folder inside it")
    reported = {*holding}  # a folder that holds several others is told once
    for key, other in permutations(outputs, 2):
        if not reported & {key, other} and _lies_in(resolved[key], resolved[other]):
            reported.add(other)
            yield _overlap(key, outputs[key], other, outputs[other])
    for other, source in list_inputs(config).items():
        folder = _resolve(other, source)
        own = other.replace("input", "output")
        made = (path for key, path in resolved.items() if key not in (GALLERY, own))
        inside = [key for key in outputs if key not in holding and _lies_in(resolved[key], folder)]
        if inside and folder not in made:
            yield _overlap(inside[0], outputs[inside[0]], other, source)


def _lies_in(path: Path, outer: Path) -> bool:
    return path == outer or outer in path.parents


def _overlap(key: str, path: Path, other: str, outer: Path) -> Overlap:
    told = f"{path} and {other}: {outer} are one folder" if path == outer else f"{path} lies in {other}: {outer}"
    return Overlap((key, other), f"{key}: {told}: name another folder for one of them")


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
