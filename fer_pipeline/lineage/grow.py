"""Bring the folders after raw up to date with a raw folder that grew: what is known of the others is not judged again.

The other side of `forget`: each stage is rebuilt from what it knows, and only the new photos are judged. Killed at
any point, the same call finishes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_pipeline.config.schema import FOLDERS
from fer_pipeline.dataset.blocklist import Blocklist
from fer_pipeline.dataset.experiment import Experiment
from fer_pipeline.dataset.provenance import read_provenance
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.files import hash_file
from fer_pipeline.lineage.replay import is_up_to_date, replay

MAKERS = {folder: stage for stage, (_, folder) in FOLDERS.items()}


def grow(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """The stages in their order, each with what could not be done (nothing if it is up to date).

    Ends at the first that is not made yet, or was made in another way: `fer run` knows what to do.
    """
    for stage, folder in experiment.folders.items():
        provenance, finished = read_provenance(folder), (folder / MANIFEST).is_file()
        if not finished and provenance is None:
            return
        if stage == "crawl":
            continue
        source = experiment.folders.get(MAKERS[str(FOLDERS[stage][0])])
        if source is None or not _is_earlier(folder, provenance or {}, source):
            yield stage, f"{folder} is out of date"
            return
        # Without a manifest it is a stage, or a growing, that was killed: what its journal has is not judged again.
        if not finished or (provenance or {}).get("input") != hash_file(source / MANIFEST):
            trouble = replay(folder, source, Blocklist())
            yield stage, trouble
            if trouble:
                return


def _is_earlier(folder: Path, provenance: dict[str, Any], source: Path) -> bool:
    """Whether a stage was made from its input as it is now but for the photos in it.

    The hash of the input does not tell: a killed growing leaves a new input beside an old stage. The settings of all
    stages before do, since raw files are named by what they hold.
    """
    same = _way(provenance.get("upstream")) == _way(read_provenance(source))
    return same and is_up_to_date(folder, source, [provenance.get("input")])


def _way(provenance: Any) -> list[tuple[Any, Any]]:
    """The stages on the way to a folder with their settings, the last one first."""
    way = []
    while isinstance(provenance, dict):
        way.append((provenance.get("stage"), provenance.get("settings")))
        provenance = provenance.get("upstream")
    return way
