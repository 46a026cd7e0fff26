"""What the page works on: the images, what is thought of them, and what was decided; safe to ask from many threads."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any

from fer_pipeline.config.schema import FOLDERS
from fer_pipeline.dataset.decisions import BROUGHT, Decision, settle
from fer_pipeline.dataset.experiment import Experiment
from fer_pipeline.errors import FerError, InputError
from fer_pipeline.review.catalogue import Catalogue, Item, is_finished, list_finished, read_token
from fer_pipeline.review.decision_log import Log
from fer_pipeline.review.opinions import Opinion, read_opinions
from fer_pipeline.review.pictures import fit_box
from fer_pipeline.vision.boxes import Box

NOTHING = Opinion()


class Conflict(FerError):
    """The data, or a decision, changed since the page read them."""


class ReviewSession:
    """One experiment under review; `find` tells which folders it has now."""

    def __init__(self, find: Callable[[], Experiment], run: Path, by: str = "") -> None:
        self.find, self.run, self.by = find, run, by
        experiment = find()
        self.catalogue = Catalogue(experiment)
        self.opinions = read_opinions(run, experiment)
        self.log = Log(self.catalogue.home)
        self.log.read()
        self._turn = RLock()

    def look(self) -> Catalogue:
        """The images as they are now: read again where a stage was made, or rebuilt, kept while one is being made."""
        with self._turn:
            if not any(folder.is_dir() and not is_finished(folder) for folder in self.catalogue.folders.values()):
                with suppress(FerError, OSError):  # a folder is being made, or goes, in this moment: look again later
                    self._read()
            return self.catalogue

    def _read(self) -> None:
        experiment = self.find()
        if read_token(list_finished(experiment)) != self.catalogue.token:
            self.catalogue = Catalogue(experiment)
            self.opinions = read_opinions(self.run, experiment)

    def item(self, token: str, place: int) -> Item:
        """An image by its place; raises Conflict if the places are others now, LookupError if there is no such."""
        catalogue = self.catalogue
        if token != catalogue.token:
            raise Conflict("the data have changed: reload the page")
        if not 0 <= place < len(catalogue.items):
            raise LookupError(place)
        return catalogue.items[place]

    def describe(self) -> dict[str, Any]:
        """What is there: names that the columns of `rows` point into."""
        catalogue = self.look()
        moved = {one.label for one in settle(self.log.read()).values() if one.label}
        opinions = self.opinions.values()
        return {
            "token": catalogue.token,
            "name": catalogue.home.resolve().name,
            "total": len(catalogue.items),
            "labels": sorted({item.row.label for item in catalogue.items if item.row.label} | moved),
            "stages": [stage for stage in FOLDERS if stage in catalogue.folders],
            "sources": sorted({item.source for item in catalogue.items}),
            "audited": any(one.quality is not None for one in opinions),
            "judged": any(one.confidence is not None for one in opinions),
            "restorable": "crop" in catalogue.folders,
        }

    def rows(self, token: str, start: int, count: int) -> list[list[Any]]:
        """Images as short lists.

        Path, label, stage, reason, source, group, whether it can be brought back, audit's quality, suspect, suggested
        label, the model's confidence and its label, and the website.
        """
        self.item(token, 0)
        catalogue = self.catalogue
        return [self._row(item, catalogue) for item in catalogue.items[start : start + count]]

    def _row(self, item: Item, catalogue: Catalogue) -> list[Any]:
        row, told = item.row, self.opinions.get(item.image, NOTHING)
        group = row.group if row.group in catalogue.groups else None
        known = [row.path, row.label, item.stage, item.reason, item.source, group, int(item.restorable)]
        return [*known, told.quality, int(told.suspect), told.suggested, told.confidence, told.predicted, item.host]

    def news(self, since: int, rewritten: int) -> dict[str, Any]:
        """What was decided since a line of the file: place, action, label and line of each image it is about."""
        catalogue = self.look()
        with self._turn:
            lines = self.log.read()
            fresh = since == 0 or rewritten != self.log.rewritten
            last = lines[-1].line if lines else 0
            touched = {one.image for one in lines if fresh or one.line > since}
            counting = settle(lines) if touched else {}
            told = [
                self._tell(catalogue.places[image], counting.get(image))
                for image in sorted(touched)
                if image in catalogue.places
            ]
            return {
                "token": catalogue.token,
                "line": last,
                "rewritten": self.log.rewritten,
                "all": fresh,
                "decisions": told,
            }

    def _tell(self, place: int, decision: Decision | None) -> list[Any]:
        if decision is None:
            return [place, "", "", 0]
        return [place, decision.action, decision.label, decision.line]

    def decide(
        self, token: str, places: Sequence[int], action: str, label: str, box: Box | None, lines: Sequence[int]
    ) -> list[int]:
        """Write down one decision on some images, and give the line of each.

        `lines` says, for an undo, which decisions are to be taken back.
        """
        items = [self.item(token, place) for place in dict.fromkeys(places)]
        decisions = [self._decision(item, action, label, box) for item in items]
        expected = {item.image: line for item, line in zip(items, lines, strict=False)}

        def agree(counting: dict[str, Decision]) -> None:
            for image, line in expected.items():
                if image not in counting or counting[image].line != line:
                    raise Conflict("somebody has decided otherwise since: it stays as it is")

        return self.log.append(decisions, agree if action == "undo" else None)

    def _decision(self, item: Item, action: str, label: str, box: Box | None) -> Decision:
        if item.reason and action == "keep":
            action = "restore"
        if item.reason and action in BROUGHT and not item.restorable:
            raise InputError(f"{item.row.path}: {item.reason}: no face can be cut out of it")
        if box is not None:
            box = fit_box(item, box) if item.reason and action in BROUGHT else None
            if box is None:
                raise InputError(f"{item.row.path}: the box is too small, or outside the photo")
        elif item.reason == "no_face" and action in BROUGHT:
            raise InputError(f"{item.row.path}: draw a box around the face first")
        return Decision(item.row.path, action, label, box, self.by)
