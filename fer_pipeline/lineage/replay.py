"""Make a stage's folder as if some images had never been there, without judging the others anew.

What the stage found out about every other image is put back into its journal, and the runner goes on from there, as
after a kill: what only the absence changes (which of several copies is kept, who is tied to whom, the split) is settled
anew, a copy that takes the place of a forgotten image is judged, and the recipe tells of the input as it is now.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fer_pipeline.config import Config, StageConfig
from fer_pipeline.errors import FerError
from fer_pipeline.forgotten import Forgotten
from fer_pipeline.journal import JOURNAL, Journal
from fer_pipeline.lineage.experiment import file_of
from fer_pipeline.manifest import MANIFEST, Row, hash_file, iter_rows, kept_rows, read_rows, write_aside, write_rows
from fer_pipeline.naming import GIVEN_NAME, photo_of
from fer_pipeline.recipe import RECIPE, decided, read_recipe
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.dedupe import DEDUPE
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.split import SPLIT
from fer_pipeline.stages.stage import Stage
from fer_pipeline.stages.unify import UNIFY

STAGES: dict[str, Stage[Any]] = {stage.name: stage for stage in (UNIFY, DEDUPE, FILTER, CROP, SPLIT)}
SETTLED = {"copy", "conflicting_labels"}  # what `dedupe` says after looking at all photos
SETTLED_FACTS = {"copy_of", "labels"}


def is_up_to_date(folder: Path, source: Path | None, hashes: Iterable[str | None]) -> bool:
    """Whether a stage was made from its input as it was before (one of some hashes) by settings known today."""
    recipe = read_recipe(folder)
    if source is None or recipe is None or recipe.get("input") not in hashes:
        return False
    if recipe.get("decisions") != decided(str(recipe.get("stage")), source).get("decisions"):
        return False
    return _config(recipe, source, folder) is not None


def _config(recipe: dict[str, Any], source: Path, folder: Path) -> StageConfig | None:
    """The settings a stage was made with; None if this version knows others."""
    kind: Any = Config.model_fields[str(recipe["stage"])].annotation
    settings = recipe.get("settings", {}) | {"input": str(source), "output": str(folder)}
    try:
        config: StageConfig = kind.model_validate_json(json.dumps(settings))
    except ValidationError:
        return None
    return config if config.model_dump(mode="json", exclude={"input", "output"}) == recipe.get("settings") else None


def replay(folder: Path, source: Path, forgotten: Forgotten) -> str:
    """Make a finished stage anew from what it knows; gives what could not be done, or nothing.

    Killed at any point, the same call finishes: files, journal, manifest and recipe change in this order.
    """
    old = read_rows(folder) if (folder / MANIFEST).is_file() else []
    recipe = read_recipe(folder) or {}
    config = _config(recipe, source, folder)
    assert config is not None, "asked of is_up_to_date"
    stage = STAGES[str(recipe["stage"])]
    _put_back(stage, folder, source, old, forgotten)
    fresh = {**recipe, "input": hash_file(source / MANIFEST), "upstream": read_recipe(source)}
    write_aside(folder / RECIPE, [json.dumps(fresh, indent=2).encode()])
    try:
        run_stage(stage, config)
    except FerError as error:
        if not old:
            raise
        write_rows(folder, (row for row in old if not forgotten.knows_row(row)))
        write_aside(folder / RECIPE, [json.dumps(recipe, indent=2).encode()])
        (folder / JOURNAL).unlink(missing_ok=True)
        what = (
            "lost the image, but cannot be made anew without it" if forgotten != Forgotten() else "cannot be made anew"
        )
        return f"{folder} {what}: {error}"
    drop_strays(stage.name, folder)
    return ""


def _put_back(stage: Stage[Any], folder: Path, source: Path, old: list[Row], forgotten: Forgotten) -> None:
    """Turn the manifest, or the journal of a replay that was killed, into the journal of what stays."""
    inputs = {photo_of(row.path): row for row in kept_rows(source)}
    with Journal(folder) as journal:
        rows = old or list(journal.rows())
        items: dict[str, list[Row]] = {}
        for row in rows if stage.judge is not None else []:
            before = inputs.get(photo_of(row.path))
            if before is not None and not forgotten.knows_row(row):
                items.setdefault(before.path, []).append(_unsettle(row, before))
        write_aside(folder / JOURNAL, _lines(items))
        (folder / MANIFEST).unlink(missing_ok=True)


def _unsettle(row: Row, before: Row) -> Row:
    """A row as its stage judged it, tied to what its input is tied to."""
    if row.reason not in SETTLED:
        return row.but(group=before.group)
    facts = {key: value for key, value in row.facts.items() if key not in SETTLED_FACTS}
    return before.but(facts=facts)


def _lines(items: dict[str, list[Row]]) -> Iterator[bytes]:
    for item, rows in items.items():
        dumped = ",".join(row.to_line().rstrip("\n") for row in rows)
        yield f'{{"item":{json.dumps(item)},"rows":[{dumped}]}}\n'.encode()


def remove_rows(folder: Path, forgotten: Forgotten) -> None:
    """Take the rows out of a folder that is unfinished or was not up to date: nothing can be made anew from it."""
    if (folder / MANIFEST).is_file():
        write_rows(folder, [row for row in iter_rows(folder) if not forgotten.knows_row(row)])
    if (folder / JOURNAL).is_file():
        with Journal(folder) as journal:
            items = {entry.item: journal.rows_at(entry) for entry in list(journal.entries())}
            stay = {item: rows for item, rows in items.items() if not any(map(forgotten.knows_row, rows))}
            write_aside(folder / JOURNAL, _lines(stay))


def drop_strays(stage: str, folder: Path) -> None:
    """Remove the files that are no kept row's any more, among those whose folder a row names."""
    rows = list(kept_rows(folder))
    kept = {file_of(stage, folder, row) for row in rows}
    for parent in sorted({path.parent for path in folder.glob("*/**/*")}):
        for path in [path for path in parent.iterdir() if _is_ours(path) and path not in kept]:
            path.unlink()
    remove_empty(folder)


def _is_ours(path: Path) -> bool:
    """Whether a file bears a name that stages give."""
    return path.is_file() and GIVEN_NAME.fullmatch(path.name.lstrip(".").partition(".")[0]) is not None


def remove_empty(folder: Path) -> None:
    """Remove folders that hold nothing any more, below a stage's own."""
    for parent, _, _ in os.walk(folder, topdown=False):
        if Path(parent) != folder and not any(Path(parent).iterdir()):
            Path(parent).rmdir()
