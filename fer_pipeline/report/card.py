"""The model card (Mitchell et al. 2019): the model, its input, and the data it was trained and measured on."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_pipeline.config.schema import CropSettings, Detector
from fer_pipeline.console import counted
from fer_pipeline.dataset.provenance import settings_of
from fer_pipeline.dataset.rows import Row
from fer_pipeline.evaluation.scores import Metrics
from fer_pipeline.models.data import source_of
from fer_pipeline.models.model_file import Card
from fer_pipeline.vision.crop import margin_of
from fer_pipeline.vision.weights import LICENCE_NOTE

Pairs = list[tuple[str, str]]
DETECTORS = {
    "haar": "Viola-Jones (OpenCV's Haar cascade)",
    "hog": "dlib's HOG detector",
    "cnn": "dlib's CNN detector",
    "yunet": "YuNet",
}
TOLD = (
    "epochs",
    "batch",
    "optimizer",
    "learning_rate",
    "schedule",
    "augment",
    "mixup",
    "label_smoothing",
    "ema",
    "keep",
)


def describe_model(card: Card, model: Path, rows: Sequence[Row]) -> Pairs:
    """The card; `rows` are the images of the training folder, none where it has changed or is gone."""
    cut = card.preprocessing.cut
    pairs = [
        ("Classes", ", ".join(card.labels)),
        ("Network", f"{card.network}; the model file has {model.stat().st_size / 1e6:.1f} MB"),
        ("Face detector", describe_detector(card.preprocessing.detector)),
        ("Crop", describe_cut(cut)),
        ("Input", _describe_input(card)),
        ("Training", _describe_training(card.settings)),
        ("Trained on", _describe_data(rows) or "images that are no longer where they were"),
        ("Data fingerprint", f"SHA-256 {card.data}" if card.data else "none"),
        ("Intended use", _describe_use(card)),
    ]
    if cut.needs_landmarks and cut.landmarks is None:
        pairs.append(("Licence of the landmarks", f"{LICENCE_NOTE[0].upper()}{LICENCE_NOTE[1:]}."))
    return [*pairs, ("Made with", f"fer-pipeline {card.version}")]


def describe_detector(detector: Detector) -> str:
    """How faces are found, in words."""
    if detector.detector == "none":
        return "none: the whole picture is taken for the face"
    sides = ", then ".join("at full size" if side == 0 else f"at {side} px" for side in detector.looked_at)
    second = f", else {DETECTORS[detector.asked_next.detector]}" if detector.asked_next else ""
    return f"{DETECTORS[detector.detector]}, looking {sides} until it finds a face{second}"


def describe_cut(cut: CropSettings) -> str:
    """What is cut out of a photo, in words."""
    if cut.region == "whole":
        return f"the whole picture, {cut.size} x {cut.size} px"
    margin = margin_of(cut)
    by = "the distance of the outer eye corners" if cut.scale == "eyes" else f"the longer side of the {_part(cut)}"
    level = ", levelled by the eyes" if cut.align else ""
    points = "dlib's 68 points" if cut.landmarks is None else f"68 points by {cut.landmarks}"
    points = points if cut.needs_landmarks else "YuNet's five points"
    gone = "mouth that is covered or lies" if cut.region == "lips" else "face of which much lies"
    return (
        f"a square around the {_part(cut)} by {points}, side {margin:g} times {by}{level}, {cut.size} x {cut.size} px"
        f"{f'; a {gone} outside the photo is left out' if cut.mouth_check else ''}"
    )


def _part(cut: CropSettings) -> str:
    return "lips" if cut.region == "lips" else "face"


def _describe_input(card: Card) -> str:
    settings = card.settings
    told = [f"{card.size} x {card.size} px, {'grey' if settings.get('grey') else 'RGB'}"]
    if settings.get("center_crop"):
        windows, side = settings.get("tta_crops", 1), settings["center_crop"]
        told.append(f"of which the network sees {windows} window(s) of {side} px")
    if settings.get("standardise"):
        told.append("brought to mean 0 and deviation 1")
    if settings.get("flip"):
        told.append("averaged over the mirror image")
    return ", ".join(told)


def _describe_training(settings: Mapping[str, Any]) -> str:
    members = settings.get("members")
    if isinstance(members, Mapping):
        named = ", ".join(f"{one['network']} of {run}" for run, one in members.items())
        return f"none of its own: the mean of the log-probabilities of {named}"
    told = [f"{name.replace('_', ' ')} {settings[name]}" for name in TOLD if settings.get(name) not in {None, ""}]
    return ", ".join(told) or "unknown"


def _describe_data(rows: Sequence[Row]) -> str:
    """How many images of each class and of which sources."""
    training = [row for row in rows if row.split != "test"]
    if not training:
        return ""
    labels = Counter(str(row.label) for row in training)
    sources = Counter(source_of(row) for row in training)
    told = ", ".join(f"{label} {count:,}" for label, count in sorted(labels.items()))
    brought = ", ".join(f"{name} {count:,}" for name, count in sources.most_common(8))
    return f"{counted(len(training), 'image')} ({told}) from {brought}; part of them held back to choose the epoch"


def _describe_use(card: Card) -> str:
    what = {"lips": "photos of faces", "face": "photos of faces", "whole": "pictures cut as those it was trained on"}
    where = what[card.preprocessing.cut.region]
    return f"telling {', '.join(card.labels)} apart in {where}, detected and cropped as above"


def list_limits(card: Card, metrics: Metrics | None, rows: Sequence[Row]) -> Iterator[str]:
    """The limits of the model that its scores do not show."""
    withheld = [f"uncertain below a confidence of {card.uncertain:.0%}"] if card.uncertain else []
    withheld += [f"unknown if farther from training than {card.known:.0%} of the validation part"] if card.known else []
    told = f", or {', or '.join(withheld)}" if withheld else " for every picture, even if it shows none of them"
    yield f"It predicts one of its {len(card.labels)} classes{told}."
    if metrics:
        sources = ", ".join(metrics.per_source) or "unknown sources"
        yield f"Measured on {counted(metrics.count, 'image')} of {sources}; its accuracy on others is unknown."
    folder = card.training_folder
    split = settings_of(folder, "split") if folder.is_dir() else None
    # An import that knows the person names its groups `folder:person`.
    tied = any(":" in (row.group or "") for row in rows)
    if rows and not tied and (split is None or split.get("same_person") is None):
        yield "Persons are unknown: photos of one person may be in both the training and the test part."
