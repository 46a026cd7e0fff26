"""How a folder was made, kept inside it as `provenance.json`: also the mark by which fer knows its own folders."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fer_pipeline.config.schema import FOLDERS, Preprocessing, StageConfig, TrainConfig
from fer_pipeline.console import note
from fer_pipeline.dataset.decisions import DECISIONS, hash_decisions
from fer_pipeline.dataset.journal import JOURNAL, LOCK, Journal, cannot_write
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.files import hash_file, write_aside

PROVENANCE = "provenance.json"
RUNS = ("train", "folds", "tune", "ensemble", "eval", "audit")  # the stages of folders with scores in them
RAW = "raw"  # the stage of a folder that crawls, imports and cameras fill
SOURCES = {stage: source or "" for stage, (source, _) in FOLDERS.items()} | {"train": "split"}
MAKERS = {folder: stage for stage, (_, folder) in FOLDERS.items()} | {RAW: "crawl` or `fer import"}
CACHE = "cache"  # in a run: decoded crops
OWN = {LOCK, f".{PROVENANCE}.part"}  # what a command that was killed at once leaves in a folder without a mark


def make_provenance(
    stage: str, config: StageConfig | TrainConfig, data: str = "", per_image: Sequence[str] | None = None
) -> dict[str, Any]:
    """Describe how a stage makes its folder: settings, hash of its input and, nested, how the input was made.

    `data` is the hash of an input folder that no stage made. `images` changes with all that an image's own outcome
    depends on beside the image: the settings named by `per_image` (all, if None) here and in the stages before.
    """
    manifest = config.input / MANIFEST
    if config.input.resolve() == config.output.resolve():
        raise UsageError(f"{stage}.output is its input folder, {config.input}: name another folder")
    if not manifest.is_file() and not data:
        raise InputError(f"{config.input} holds no finished stage: run `fer {MAKERS[SOURCES[stage]]}` first")
    settings = config.model_dump(mode="json", exclude={"input", "output", "logger"})  # who looks on changes no model
    upstream = read_provenance(config.input)
    chosen = settings if per_image is None else {name: settings[name] for name in per_image}
    before = (upstream or {}).get("images", "")
    return {
        "stage": stage,
        "settings": settings,
        "images": hashlib.sha256(json.dumps([stage, chosen, before]).encode()).hexdigest()[:16],
        "input": data or hash_file(manifest),
        "upstream": upstream,
    } | decided(stage, config.input)


def decided(stage: str, source: Path) -> dict[str, str]:
    """Hash what people decided beside the input of a split; nothing where they did not."""
    digest = hash_decisions(source.parent) if stage == "split" else ""
    return {"decisions": digest} if digest else {}


def read_provenance(folder: Path) -> dict[str, Any] | None:
    """Read how a folder was made; None where nothing tells, or somebody else's file of that name lies."""
    try:
        provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            f"{folder / PROVENANCE}: unreadable ({error}): if fer made this folder, delete it and run its stage again"
        ) from None
    return provenance if _is_ours(provenance) else None


def _is_ours(provenance: Any) -> bool:
    while isinstance(provenance, dict):
        if not isinstance(provenance.get("stage"), str) or not isinstance(provenance.get("settings", {}), dict):
            return False
        provenance = provenance.get("upstream")
    return provenance is None


def write_provenance(folder: Path, provenance: dict[str, Any]) -> None:
    """Mark a folder as fer's, and say how it was made."""
    write_aside(folder / PROVENANCE, [json.dumps(provenance, indent=2).encode()])


def settings_of(folder: Path, stage: str) -> dict[str, Any] | None:
    """Read the settings of an earlier stage on the way to a folder; None if it was not on the way."""
    for provenance in stages_before(read_provenance(folder)):
        if provenance.get("stage") == stage:
            settings = provenance.get("settings")
            return dict(settings) if isinstance(settings, dict) else None
    return None


def stages_before(provenance: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the provenance of a folder, of its input, and so on up to the raw folder."""
    while isinstance(provenance, dict):
        yield provenance
        provenance = provenance.get("upstream")


def preprocessing_of(folder: Path) -> Preprocessing:
    """Read how the crops of a training folder were found and cut; as they are, if no stage made them."""
    detector, cut = settings_of(folder, "filter"), settings_of(folder, "crop")
    if detector is None or cut is None:
        return Preprocessing()
    cut.pop("embedding", None)
    detector.pop("every", None)
    try:
        return Preprocessing.model_validate({"detector": detector, "cut": cut})
    except ValidationError:
        raise InputError(f"{folder / PROVENANCE}: does not tell how its crops were cut: run the stages again") from None


# Ownership: fer writes into a folder that is new, or that bears its mark, and into no other.


def check_own(folder: Path, *stages: str) -> None:
    """Refuse a folder that fer did not make, or that none of these stages made; a new or empty one is fine."""
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise InputError(f"{folder} is a file, or leads nowhere: name a folder")
        return
    made = read_provenance(folder)
    stage = None if made is None else made.get("stage")
    if not isinstance(stage, str):
        if any(path.name not in OWN for path in folder.iterdir()):
            raise InputError(f"{folder} is not empty and was not made by fer: name another output folder")
    elif stage not in stages:
        raise InputError(f"{folder} was made by `fer {_command_of(stage)}`: name another output folder")


def _command_of(stage: str) -> str:
    return {RAW: "import` or `fer crawl", "folds": "train --folds"}.get(stage, stage)


@contextmanager
def locked_output(folder: Path, *stages: str, journal: str = JOURNAL) -> Iterator[Journal]:
    """Hold a folder of fer's own while it is written: locked, and refused if none of these stages made it."""
    check_own(folder, *stages)
    with Journal(folder, journal) as held:
        try:
            check_own(folder, *stages)
            yield held
        except OSError as error:
            raise cannot_write(folder, error) from None


@contextmanager
def locked_raw(folder: Path) -> Iterator[Journal]:
    """Hold a raw folder, marked as such."""
    with locked_output(folder, RAW) as journal:
        if read_provenance(folder) is None:
            write_provenance(folder, {"stage": RAW})
        yield journal


@contextmanager
def locked_results(folder: Path, stage: str) -> Iterator[None]:
    """Hold a folder that scores are written to: a run, or a new one marked by `stage`."""
    with locked_output(folder, *RUNS):
        if read_provenance(folder) is None:
            write_provenance(folder, {"stage": stage})
        yield


@contextmanager
def locked_run(folder: Path, provenance: dict[str, Any], *, force: bool) -> Iterator[Journal]:
    """Hold the folder of a training, made by this provenance alone.

    A run that was made otherwise is kept as `NAME.1`, `NAME.2`, …, and with `force` one that was not: then what begins
    here is new. One that was made by this provenance goes on, or is finished.
    """
    kept = None
    with locked_output(folder, provenance["stage"]):
        made = read_provenance(folder)
        why = "" if made is None else format_difference(made, provenance)
        if made is not None and force:
            why = why or "made in the same way, and --force asks for another"
        is_bare = all(path.name in OWN | {PROVENANCE} for path in folder.iterdir())
        if made is None or (why and is_bare):
            write_provenance(folder, provenance)
    if why and not is_bare:
        kept = keep_numbered(folder, why)
    with locked_output(folder, provenance["stage"]) as journal:
        if kept is not None:
            write_provenance(folder, provenance)
            if (kept / CACHE).is_dir():  # decoded crops, known by what they were made from
                (kept / CACHE).rename(folder / CACHE)
        yield journal


def keep_numbered(folder: Path, why: str) -> Path:
    """Rename a folder to the next free `NAME.N`, so that a new one can take its name; returns where it is now."""
    taken = [int(path.suffix[1:]) for path in folder.parent.glob(f"{glob_text(folder.name)}.*") if _is_number(path)]
    kept = folder.with_name(f"{folder.name}.{max(taken, default=0) + 1}")
    folder.rename(kept)
    note(f"{folder} was {why}: it is kept as {kept}")
    return kept


def glob_text(name: str) -> str:
    """Escape a name for `Path.glob`."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def _is_number(path: Path) -> bool:
    return path.suffix[1:].isascii() and path.suffix[1:].isdigit()


def format_difference(made: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Say how a folder was made otherwise than wanted now, to go after "was"; empty if it was not."""
    if made.get("stage") != wanted["stage"]:
        return f"made by `fer {_command_of(str(made.get('stage')))}`"
    changed = list_changes(made, wanted)
    if changed:
        return f"made with other settings ({', '.join(changed)})"
    if made.get("base") != wanted.get("base"):
        return (
            "trained from another model's weights" if wanted.get("base") else "trained from a finished model's weights"
        )
    if made.get("input") != wanted["input"]:
        return "made from another state of its input folder, which has changed since"
    return f"made before the last decisions in {DECISIONS}" if made.get("decisions") != wanted.get("decisions") else ""


def list_changes(made: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Name each setting that changed, as `crop.margin 1.05 → 1.2`."""
    old, new = made.get("settings"), wanted["settings"]
    old = old if isinstance(old, dict) else {}
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    section = "train" if wanted["stage"] == "folds" else wanted["stage"]
    return [f"{section}.{key} {_format(old.get(key))} → {_format(new.get(key))}" for key in keys]


def _format(value: Any) -> str:
    return "default" if value is None else json.dumps(value, ensure_ascii=False)
