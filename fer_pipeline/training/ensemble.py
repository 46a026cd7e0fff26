"""An ensemble: finished runs as one model file, whose ONNX graph averages the log-probabilities of its members."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline import __version__
from fer_pipeline.dataset.provenance import locked_run
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.evaluation.predictions import SEEN, read_seen
from fer_pipeline.files import hash_file, write_aside, write_csv
from fer_pipeline.models.graph import geometric_mean, join
from fer_pipeline.models.model_file import ENSEMBLE, KEY, MODEL, Card, find_model
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.vision.hog import LENGTH

MAX_BYTES = 2_000_000_000  # protobuf, which ONNX files are, ends at 2 GB


@dataclass(frozen=True)
class Member:
    """A finished run that is part of an ensemble."""

    run: Path
    path: Path
    sha256: str
    predictor: Predictor

    @property
    def card(self) -> Card:
        """The metadata of its model file."""
        return self.predictor.card

    def describe(self) -> dict[str, Any]:
        """Describe it for the card of the ensemble."""
        return {"network": self.card.network, "size": self.card.size, "sha256": self.sha256}


@dataclass(frozen=True)
class Ensemble:
    """The path of the model, its members, and whether this call made it."""

    model: Path
    members: list[Member]
    fresh: bool


def make_ensemble(runs: list[Path], output: Path, *, force: bool = False) -> Ensemble:
    """Write the `model.onnx` that averages some runs into a folder of its own; leave a finished one alone.

    Raises InputError for runs that cannot be averaged, since their labels, data or crop settings differ.
    """
    check_runs(runs, output)
    members = [open_member(run) for run in runs]
    check_members(members)
    names = [f"{member.run} {member.sha256[:12]}" for member in members]
    provenance = {"stage": "ensemble", "settings": {"members": names}, "input": members[0].card.data, "upstream": None}
    with locked_run(output, provenance, force=force):
        fresh = not (output / MODEL).is_file()
        if fresh:
            _write_seen(output, members)
            _write_model(output / MODEL, members)
    return Ensemble(output / MODEL, members, fresh)


def check_runs(runs: list[Path], output: Path) -> None:
    """Raise UsageError for a single run, one named twice, or the output folder among them."""
    places = [(run / MODEL if (run / MODEL).is_file() else run).resolve() for run in runs]
    if len(places) < 2:
        raise UsageError("an ensemble has two members or more: name another run")
    twice = [run for run, place in zip(runs, places, strict=True) if places.count(place) > 1]
    if twice:
        raise UsageError(f"{twice[0]} is named twice: name each run once")
    if output.resolve() in {one for place in places for one in (place, place.parent if place.is_file() else place)}:
        raise UsageError(f"--output {output} is one of the members: name another folder")


def open_member(run: Path) -> Member:
    """Open the model of a run; raises InputError where there is none, or it was quantised."""
    path = find_model(run)
    member = Member(run, path, hash_file(path), Predictor(path, threads=1))
    if member.card.precision != "float32":
        raise InputError(f"{path} is quantised: name the run, or its {MODEL}")
    return member


def check_members(members: list[Member]) -> None:
    """Raise InputError unless all have the same labels, training data and preprocessing, and fit into one file."""
    first, *others = members
    for other in others:
        both = f"{other.run} and {first.run}"
        if set(other.card.labels) != set(first.card.labels):
            told = f"{', '.join(other.card.labels)}, not {', '.join(first.card.labels)}"
            raise InputError(f"{both} know other labels ({told}): train both on the same classes")
        changed = _difference(
            other.card.preprocessing.model_dump(mode="json"), first.card.preprocessing.model_dump(mode="json")
        )
        if changed:
            raise InputError(f"{both} see crops made otherwise ({changed}): train both on the same crops")
        if other.card.data != first.card.data:
            reason = "what one learned from may be what the other is tested on"
            raise InputError(f"{both} learned from other data, so that {reason}: train both on the same split")
    total = sum(member.path.stat().st_size for member in members)
    if total > MAX_BYTES:
        raise InputError(f"the members have {total / 1e9:.1f} GB, an ONNX file at most 2: leave the largest out")


def _difference(one: dict[str, Any], two: dict[str, Any]) -> str:
    """Format the first setting in which two model files differ, as `cut.margin 1.5, not 1.2`; empty if none does."""
    for part, settings in one.items():
        for key, value in settings.items():
            if value != two[part][key]:
                return f"{part}.{key} {json.dumps(value)}, not {json.dumps(two[part][key])}"
    return ""


def make_card(members: list[Member]) -> Card:
    """Describe the ensemble for its file: crops of the largest size, all measures a member takes, and the members."""
    cards = [member.card for member in members]
    inputs = {name for card in cards for name in card.inputs}
    folders = [card.training_folder for card in cards]  # the same data, maybe named from elsewhere
    return cards[0].model_copy(
        update={
            "size": max(card.size for card in cards),
            "network": ENSEMBLE,
            "settings": {
                "input": str(next((one for one in folders if one.is_dir()), folders[0])),
                "members": {str(member.run): member.describe() for member in members},
            },
            "inputs": [name for name in ("crops", "hog", "measures") if name in inputs],
            "measures": list(dict.fromkeys(name for card in cards for name in card.measures)),
            "calibration": None,  # its members have their temperatures
            "known": min(card.known for card in cards),
            "uncertain": max(card.uncertain for card in cards),
            "version": __version__,
        }
    )


def _write_model(path: Path, members: list[Member]) -> None:
    import onnx

    card = make_card(members)
    model = join([(onnx.load(str(member.path)), member.card) for member in members], card)
    onnx.helper.set_model_props(model, {KEY: card.model_dump_json()})
    aside = path.with_name(f".{path.name}.joined")
    try:
        write_aside(aside, [model.SerializeToString()])
        _check_parity(aside, members)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _check_parity(path: Path, members: list[Member]) -> None:
    """Raise InputError unless the file answers as its members do.

    On crops of one colour, which are the same at every size, so that resizing makes no difference.
    """
    together = Predictor(path, threads=1)
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (4, 1, 1, 3), np.uint8)
    hog = rng.random((4, LENGTH), np.float32)
    values = dict(zip(together.card.measures, rng.random((len(together.card.measures), 4), np.float32), strict=True))

    def ask(predictor: Predictor) -> NDArray[np.float32]:
        card = predictor.card
        crops = np.ascontiguousarray(np.broadcast_to(colours, (4, card.size, card.size, 3)))
        measures = np.array([values[name] for name in card.measures], np.float32).reshape(-1, 4).T.copy()
        given = {"crops": crops, "hog": hog, "measures": measures}
        order = [card.labels.index(label) for label in together.card.labels]
        return predictor.infer({name: given[name] for name in card.inputs})[:, order]

    difference = float(np.abs(ask(together) - geometric_mean([ask(member.predictor) for member in members])).max())
    if not difference < 1e-4:
        raise InputError(f"{path}: differs from the mean of its members by {difference:.2g}: leave one of them out")


def _write_seen(output: Path, members: list[Member]) -> None:
    """Note the images any member was trained or validated on; nothing where a member left no such note."""
    seen: dict[str, list[str]] = {}
    for member in members:
        known = read_seen(member.path.parent)
        if not known:
            return
        for path, label, part in known:
            if seen.get(path, ["", "", ""])[2] != "training":
                seen[path] = [path, label, part]
    write_csv(output / SEEN, ["path", "label", "part"], [seen[path] for path in sorted(seen)])
