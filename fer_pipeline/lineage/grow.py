"""Bring the folders after raw up to date with a raw folder that grew: what is known of the others is not judged anew.

The other side of `forget`: each stage is made anew from what it knows, and only the new photos are judged.
"""

from collections.abc import Iterator

from fer_pipeline.config import FOLDERS
from fer_pipeline.forgotten import Forgotten
from fer_pipeline.lineage.experiment import Experiment
from fer_pipeline.lineage.replay import is_up_to_date, replay
from fer_pipeline.manifest import MANIFEST, hash_file
from fer_pipeline.recipe import read_recipe

MAKERS = {folder: stage for stage, (_, folder) in FOLDERS.items()}


def grow(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """The stages in their order, each with what could not be done (nothing if it is up to date).

    Ends at the first that is not made yet, or was out of date before: `fer run` knows what to do.
    """
    before: dict[str, str] = {}
    for stage, folder in experiment.folders.items():
        if not (folder / MANIFEST).is_file():
            return
        before[stage] = hash_file(folder / MANIFEST)
        if stage == "crawl":
            continue
        maker = MAKERS[str(FOLDERS[stage][0])]
        source = experiment.folders.get(maker)
        made_from = str((read_recipe(folder) or {}).get("input"))
        # Any earlier state of raw will do: its files are named by what they hold.
        known = made_from if maker == "crawl" else before.get(maker)
        if source is None or not is_up_to_date(folder, source, [known]):
            yield stage, f"{folder} is out of date"
            return
        if made_from != hash_file(source / MANIFEST):
            trouble = replay(folder, source, Forgotten())
            yield stage, trouble
            if trouble:
                return
