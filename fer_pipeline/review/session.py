"""The state of a review: images, opinions and decisions; safe to use from many threads."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any

from fer_pipeline.config.schema import FOLDERS
from fer_pipeline.dataset.decisions import BROUGHT, Decision, effective_decisions
from fer_pipeline.dataset.experiment import Experiment
from fer_pipeline.errors import FerError, InputError
from fer_pipeline.review.catalogue import (
    Catalogue,
    Item,
    Opinion,
    is_finished,
    list_finished,
    read_opinions,
    read_token,
)
from fer_pipeline.review.decision_log import Log
from fer_pipeline.review.pictures import fit_box
from fer_pipeline.vision.boxes import Box

NO_OPINION = Opinion()


class Conflict(FerError):
    """The data or a decision have changed since the page read them."""


class ReviewSession:
    """One experiment under review; `find` returns the folders it has now."""

    def __init__(self, find: Callable[[], Experiment], run: Path, by: str = "") -> None:
        self.find, self.run, self.by = find, run, by
        experiment = find()
        self.catalogue = Catalogue(experiment)
        self.opinions = read_opinions(run, experiment)
        self.log = Log(self.catalogue.home)
        self.log.read()
        self._lock = RLock()

    def refresh(self) -> Catalogue:
        """Return the images as they are now: read again after a stage was rebuilt, kept while one is being rebuilt."""
        with self._lock:
            if not any(folder.is_dir() and not is_finished(folder) for folder in self.catalogue.folders.values()):
                with suppress(FerError, OSError):  # a folder comes or goes at this moment: read it next time
                    self._read()
            return self.catalogue

    def _read(self) -> None:
        experiment = self.find()
        if read_token(list_finished(experiment)) != self.catalogue.token:
            self.catalogue = Catalogue(experiment)
            self.opinions = read_opinions(self.run, experiment)

    def item(self, token: str, place: int) -> Item:
        """Return an image by its place; Conflict if the data have changed since, LookupError if there is none."""
        catalogue = self.catalogue
        if token != catalogue.token:
            raise Conflict("the data have changed: reload the page")
        if not 0 <= place < len(catalogue.items):
            raise LookupError(place)
        return catalogue.items[place]

    def shown_item(self, token: str, place: int) -> Item:
        """Return an image to look at its pictures; LookupError also where a link leads out of the data folders."""
        item = self.item(token, place)
        if not self.catalogue.is_inside(item):
            raise LookupError(place)
        return item

    def describe(self) -> dict[str, Any]:
        """Return what the page shows beside the images: labels, stages, sources, and which opinions there are."""
        catalogue = self.refresh()
        moved = {one.label for one in effective_decisions(self.log.read()).values() if one.label}
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
        """Return `count` images from the place `start` on as lists, without their keys to stay small.

        Path, label, stage, reason, source, group, whether it can be brought back, audit's quality, suspect, suggested
        label, the model's confidence and its label, and the website.
        """
        self.item(token, 0)
        catalogue = self.catalogue
        return [self._row(item, catalogue) for item in catalogue.items[start : start + count]]

    def _row(self, item: Item, catalogue: Catalogue) -> list[Any]:
        row, opinion = item.row, self.opinions.get(item.image, NO_OPINION)
        group = row.group if row.group in catalogue.groups else None
        known = [row.path, row.label, item.stage, item.reason, item.source, group, int(item.restorable)]
        return [
            *known,
            opinion.quality,
            int(opinion.suspect),
            opinion.suggested,
            opinion.confidence,
            opinion.predicted,
            item.host,
        ]

    def news(self, since: int, rewritten: int) -> dict[str, Any]:
        """Return what was decided since a line of the file: place, action, label and line of each image concerned.

        All decisions, if `rewritten` says that the page read another file than there is now.
        """
        catalogue = self.refresh()
        with self._lock:
            lines = self.log.read()
            fresh = since == 0 or rewritten != self.log.rewritten
            last = lines[-1].line if lines else 0
            touched = {one.image for one in lines if fresh or one.line > since}
            counting = effective_decisions(lines) if touched else {}
            decisions = [
                self._list_decision(catalogue.places[image], counting.get(image))
                for image in sorted(touched)
                if image in catalogue.places
            ]
            return {
                "token": catalogue.token,
                "line": last,
                "rewritten": self.log.rewritten,
                "all": fresh,
                "decisions": decisions,
            }

    def _list_decision(self, place: int, decision: Decision | None) -> list[Any]:
        if decision is None:
            return [place, "", "", 0]
        return [place, decision.action, decision.label, decision.line]

    def decide(
        self, token: str, places: Sequence[int], action: str, label: str, box: Box | None, lines: Sequence[int]
    ) -> list[int]:
        """Write one decision on some images to the file; returns the line of each.

        `lines` are, for an undo, those of the decisions to take back; Conflict if another one counts by now.
        """
        items = [self.item(token, place) for place in dict.fromkeys(places)]
        decisions = [self._decision(item, action, label, box) for item in items]
        expected = {item.image: line for item, line in zip(items, lines, strict=False)}

        def check_lines(counting: dict[str, Decision]) -> None:
            for image, line in expected.items():
                if image not in counting or counting[image].line != line:
                    raise Conflict("another decision was made since: it stays as it is")

        return self.log.append(decisions, check_lines if action == "undo" else None)

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
