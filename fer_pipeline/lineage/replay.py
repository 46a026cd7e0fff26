"""Make a stage's folder as if some images had never been there, without judging the others again.

What the stage found out about every other image is put back into its journal, and the runner goes on from there, as
after a kill: what only the absence changes (which of several copies is kept, who is tied to whom, the split) is settled
again, a copy that takes the place of a forgotten image is judged, and the provenance tells of the input as it is now.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fer_pipeline.config.schema import Config, StageConfig
from fer_pipeline.dataset.blocklist import Blocklist
from fer_pipeline.dataset.experiment import file_of
from fer_pipeline.dataset.journal import JOURNAL, Journal
from fer_pipeline.dataset.naming import GIVEN_NAME, photo_of
from fer_pipeline.dataset.provenance import PROVENANCE, decided, read_provenance
from fer_pipeline.dataset.rows import MANIFEST, Row, iter_rows, kept_rows, read_rows, write_rows
from fer_pipeline.errors import FerError
from fer_pipeline.files import hash_file, write_aside
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.dedupe import DEDUPE
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.split import SPLIT
from fer_pipeline.stages.stage import Stage
from fer_pipeline.stages.unify import UNIFY

STAGES: dict[str, Stage[Any]] = {stage.name: stage for stage in (UNIFY, DEDUPE, FILTER, CROP, SPLIT)}
SETTLED = {"copy", "conflicting_labels"}  # what `dedupe` says after looking at all photos
SETTLED_ATTRIBUTES = {"copy_of", "labels"}


def is_up_to_date(folder: Path, source: Path | None, hashes: Iterable[str | None]) -> bool:
    """Whether a stage was made from its input as it was before (one of some hashes) by settings known today."""
    provenance = read_provenance(folder)
    if source is None or provenance is None or provenance.get("input") not in hashes:
        return False
    if provenance.get("decisions") != decided(str(provenance.get("stage")), source).get("decisions"):
        return False
    return _config(provenance, source, folder) is not None


def _config(provenance: dict[str, Any], source: Path, folder: Path) -> StageConfig | None:
    """The settings a stage was made with; None if this version knows others."""
    kind: Any = Config.model_fields[str(provenance["stage"])].annotation
    settings = provenance.get("settings", {}) | {"input": str(source), "output": str(folder)}
    try:
        config: StageConfig = kind.model_validate_json(json.dumps(settings))
    except ValidationError:
        return None
    return config if config.model_dump(mode="json", exclude={"input", "output"}) == provenance.get("settings") else None


def replay(folder: Path, source: Path, forgotten: Blocklist) -> str:
    """Make a finished stage again from what it knows; gives what could not be done, or nothing.

    Killed at any point, the same call finishes: files, journal, manifest and provenance change in this order.
    """
    old = read_rows(folder) if (folder / MANIFEST).is_file() else []
    provenance = read_provenance(folder) or {}
    config = _config(provenance, source, folder)
    assert config is not None, "asked of is_up_to_date"
    stage = STAGES[str(provenance["stage"])]
    _put_back(stage, folder, source, old, forgotten)
    fresh = {**provenance, "input": hash_file(source / MANIFEST), "upstream": read_provenance(source)}
    write_aside(folder / PROVENANCE, [json.dumps(fresh, indent=2).encode()])
    try:
        run_stage(stage, config)
    except FerError as error:
        if not old:
            raise
        write_rows(folder, (row for row in old if not forgotten.knows_row(row)))
        write_aside(folder / PROVENANCE, [json.dumps(provenance, indent=2).encode()])
        (folder / JOURNAL).unlink(missing_ok=True)
        what = "lost the image, but cannot be rebuilt without it" if forgotten != Blocklist() else "cannot be rebuilt"
        return f"{folder} {what}: {error}"
    drop_strays(stage.name, folder)
    return ""


def _put_back(stage: Stage[Any], folder: Path, source: Path, old: list[Row], forgotten: Blocklist) -> None:
    """Turn the manifest, or the journal of a replay that was killed, into the journal of what stays."""
    inputs = {photo_of(row.path): row for row in kept_rows(source)}
    with Journal(folder) as journal:
        rows = old or list(journal.rows())
        items: dict[str, list[Row]] = {}
        for row in rows if stage.process_image is not None else []:
            before = inputs.get(photo_of(row.path))
            if before is not None and not forgotten.knows_row(row):
                items.setdefault(before.path, []).append(_unsettle(row, before))
        write_aside(folder / JOURNAL, _lines(items))
        (folder / MANIFEST).unlink(missing_ok=True)


def _unsettle(row: Row, before: Row) -> Row:
    """A row as its stage judged it, tied to what its input is tied to."""
    if row.reason not in SETTLED:
        return row.replace(group=before.group)
    attributes = {key: value for key, value in row.attributes.items() if key not in SETTLED_ATTRIBUTES}
    return before.replace(attributes=attributes)


def _lines(items: dict[str, list[Row]]) -> Iterator[bytes]:
    for item, rows in items.items():
        dumped = ",".join(row.to_line().rstrip("\n") for row in rows)
        yield f'{{"item":{json.dumps(item)},"rows":[{dumped}]}}\n'.encode()


def remove_rows(folder: Path, forgotten: Blocklist) -> None:
    """Take the rows out of a folder that is unfinished or was not up to date: nothing can be rebuilt from it."""
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
