"""The folders of one experiment, found from any path inside it, and the rows in them that tell of one photo."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.config.schema import FOLDERS, Config
from fer_pipeline.dataset.journal import JOURNAL
from fer_pipeline.dataset.naming import photo_of
from fer_pipeline.dataset.provenance import PROVENANCE, RAW, read_provenance
from fer_pipeline.dataset.rows import MANIFEST, Row, manifest_lines, parse_row

PARTS = ("train", "test")  # the folders of a split
MARKS = (MANIFEST, JOURNAL, PROVENANCE)  # files of which a stage's folder has one


@dataclass(frozen=True)
class Experiment:
    """The folders that are there, by the stage that made them (`crawl`: raw, whoever filled it), in their order."""

    folders: dict[str, Path]
    roots: tuple[Path, ...]  # where its runs may lie

    @property
    def raw(self) -> Path | None:
        return self.folders.get("crawl")


def of_config(config: Config) -> Experiment:
    """The folders a configuration names."""
    return _of({stage: getattr(config, stage).output for stage in FOLDERS}, (config.runs, config.train.output.parent))


def of_home(home: Path) -> Experiment:
    """The folders below `data/NAME`: by their usual names, else by the stage that their provenance names."""
    found: dict[str, Path] = {}
    for folder in sorted(path for path in home.iterdir() if path.is_dir()):
        if any((folder / name).is_file() for name in MARKS):
            made = (read_provenance(folder) or {}).get("stage", RAW)
            stage = "crawl" if made == RAW else str(made)
            if stage not in found or folder.name == FOLDERS.get(stage, ("", ""))[1]:
                found[stage] = folder
    return _of({stage: found[stage] for stage in FOLDERS if stage in found}, (home.parent.parent / "runs",))


def _of(folders: dict[str, Path], roots: Iterable[Path]) -> Experiment:
    there = {stage: path for stage, path in folders.items() if path.is_dir()}
    unique = {root.resolve(): root for root in (*roots, Path("runs")) if root.is_dir()}
    return Experiment(there, tuple(unique.values()))


def find_stage_folder(path: Path) -> Path | None:
    """The folder of a stage that a path lies in, whether its file is still there or not."""
    for folder in path.parents:
        if any(is_file(folder / name) for name in MARKS):
            return folder
    return None


def is_file(path: Path) -> bool:
    """Whether there is such a file, for text that may be no path at all."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find_homes(data: Path = Path("data")) -> list[Path]:
    """All experiments below a data folder."""
    manifests = sorted(data.glob(f"*/*/{MANIFEST}")) if data.is_dir() else []
    return list(dict.fromkeys(path.parent.parent for path in manifests))


def strip_part(path: str) -> str:
    """`train/smile/x.png` of a split is `smile/x.png`."""
    part, _, rest = path.partition("/")
    return rest if part in PARTS and "/" in rest else path


def rows_with(folder: Path, *texts: str) -> Iterator[Row]:
    """The rows of a finished stage whose line holds one of some texts; only those lines are parsed."""
    needles = [json.dumps(text, ensure_ascii=False)[1:-1].encode(errors="backslashreplace") for text in texts]
    found = ((where, line) for where, line in manifest_lines(folder) if any(needle in line for needle in needles))
    return (parse_row(line, where) for where, line in found)


def rows_of(folder: Path, photo: str) -> list[Row]:
    """The rows of one photo in a stage: one, or one for each of its faces."""
    return [row for row in rows_with(folder, photo) if name_of(row) == photo]


def name_of(row: Row) -> str:
    """The photo a row is of: also where people moved it into another class, as `attributes.moved_from` tells."""
    return photo_of(str(row.attributes.get("moved_from", row.path)))


def file_below(folder: Path, row: Row) -> Path:
    """Where the file of a row lies in a folder: below `train` or `test` in that of a split."""
    return folder / row.split / row.path if row.split and (folder / row.split).is_dir() else folder / row.path


def file_of(stage: str, folder: Path, row: Row) -> Path:
    """Where the file of a row lies, if it has one."""
    return folder / row.split / row.path if stage == "split" and row.split else folder / row.path
