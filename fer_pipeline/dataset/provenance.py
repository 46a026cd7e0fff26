"""How a folder was made: settings and input of its stage, kept beside what it made as `provenance.json`."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fer_pipeline.config.schema import FOLDERS, Preprocessing, StageConfig, TrainConfig
from fer_pipeline.dataset.decisions import DECISIONS, hash_decisions
from fer_pipeline.dataset.journal import JOURNAL, LOCK, Journal, cannot_write
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.errors import InputError, StaleError, UsageError
from fer_pipeline.files import hash_file, write_aside

PROVENANCE = "provenance.json"
SOURCES = {stage: source or "" for stage, (source, _) in FOLDERS.items()} | {"train": "split"}
MAKERS = {folder: stage for stage, (_, folder) in FOLDERS.items()} | {"raw": "crawl` or `fer import"}


def make_provenance(stage: str, config: StageConfig | TrainConfig, data: str = "") -> dict[str, Any]:
    """The provenance of a stage: its settings, the hash of its input and, nested, the provenance of its input.

    `data` is the hash of an input folder that no stage made.
    """
    manifest = config.input / MANIFEST
    if config.input.resolve() == config.output.resolve():
        raise UsageError(f"{stage}.output is its input folder, {config.input}: name another folder")
    if not manifest.is_file() and not data:
        raise InputError(f"{config.input} holds no finished stage: run `fer {MAKERS[SOURCES[stage]]}` first")
    settings = config.model_dump(mode="json", exclude={"input", "output"})
    return {
        "stage": stage,
        "settings": settings,
        "input": data or hash_file(manifest),
        "upstream": read_provenance(config.input),
    } | decided(stage, config.input)


def decided(stage: str, source: Path) -> dict[str, str]:
    """What people decided beside the input of a split, as a hash; nothing where they did not."""
    digest = hash_decisions(source.parent) if stage == "split" else ""
    return {"decisions": digest} if digest else {}


def read_provenance(folder: Path) -> dict[str, Any] | None:
    """The provenance a folder was made by; None where there is none, as in a raw folder."""
    try:
        provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            f"{folder / PROVENANCE}: unreadable ({error}): delete the folder and run its stage again"
        ) from None
    return provenance if isinstance(provenance, dict) else None


def settings_of(folder: Path, stage: str) -> dict[str, Any] | None:
    """The settings of an earlier stage on the way to a folder; None if it was not on the way."""
    provenance = read_provenance(folder)
    while isinstance(provenance, dict):
        settings = provenance.get("settings")
        if provenance.get("stage") == stage:
            return dict(settings) if isinstance(settings, dict) else None
        provenance = provenance.get("upstream")
    return None


def preprocessing_of(folder: Path) -> Preprocessing:
    """How the crops of a training folder were found and cut; as they are, if no stage made them."""
    detector, cut = settings_of(folder, "filter"), settings_of(folder, "crop")
    if detector is None or cut is None:
        return Preprocessing()
    cut.pop("embedding", None)
    try:
        return Preprocessing.model_validate({"detector": detector, "cut": cut})
    except ValidationError:
        raise InputError(f"{folder / PROVENANCE}: does not tell how its crops were cut: rebuild the folder") from None


@contextmanager
def locked_output(folder: Path, provenance: dict[str, Any], *, force: bool) -> Iterator[Journal]:
    """Hold a folder while it is made: locked, begun again by force, made by this provenance alone."""
    with Journal(folder) as journal:
        try:
            if force:
                start_over(folder, provenance["stage"])
            check_provenance(folder, provenance)
            yield journal
        except OSError as error:
            raise cannot_write(folder, error) from None


def check_provenance(folder: Path, provenance: dict[str, Any]) -> None:
    """Refuse a folder that was made in another way, or by somebody else; note the provenance in a new one."""
    made = read_provenance(folder)
    bare = all(path.name in {LOCK, PROVENANCE, f".{PROVENANCE}.part"} for path in folder.iterdir())
    if made is None or bare:  # a begun folder that holds nothing yet is as good as a new one
        if not bare:
            raise InputError(f"{folder} is not empty and was not made by fer: name another output folder")
        write_aside(folder / PROVENANCE, [json.dumps(provenance, indent=2).encode()])
        return
    if made.get("stage") != provenance["stage"]:
        raise StaleError(f"{folder} was made by `fer {made.get('stage')}`: name another output folder")
    difference = format_difference(made, provenance)
    if difference:
        other = "another --output" if provenance["stage"] == "ensemble" else "--set name=OTHER"
        remedy = f"the same command with --force rebuilds it, {other} leaves it as it is"
        raise StaleError(f"{folder} was {difference}: {remedy}")


def format_difference(made: dict[str, Any], wanted: dict[str, Any]) -> str:
    """How a folder was made otherwise than wanted now, to go after "was"; empty if it was not."""
    settings = made.get("settings")
    changed = _changes(settings if isinstance(settings, dict) else {}, wanted["settings"], wanted["stage"])
    if changed:
        return f"made with {', '.join(changed)}"
    if made.get("base") != wanted.get("base"):
        return (
            "trained from another model's weights" if wanted.get("base") else "trained from a finished model's weights"
        )
    if made.get("input") != wanted["input"]:
        return "made from another state of its input folder, which has changed since"
    if made.get("decisions") != wanted.get("decisions"):
        return f"made before the last decisions in {DECISIONS}"
    return ""


def _changes(made: dict[str, Any], wanted: dict[str, Any], stage: str) -> list[str]:
    keys = sorted(key for key in made.keys() | wanted.keys() if made.get(key) != wanted.get(key))
    section = "train" if stage == "folds" else stage
    return [f"{section}.{key} = {_tell(made.get(key))} (now {_tell(wanted.get(key))})" for key in keys]


def _tell(value: Any) -> str:
    return "its default" if value is None else json.dumps(value)


def start_over(folder: Path, stage: str) -> None:
    """Empty a folder that this stage made; what another stage made, or somebody else, is left alone."""
    if (read_provenance(folder) or {}).get("stage") != stage:
        return
    # These go first: what is left of a broken-off removal is no finished stage, and no image of it counts as done.
    for name in (MANIFEST, JOURNAL):
        (folder / name).unlink(missing_ok=True)
    for path in sorted(folder.iterdir()):
        if path.name not in {LOCK, PROVENANCE}:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (folder / PROVENANCE).unlink()
