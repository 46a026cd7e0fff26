"""From a photo to labels, by the model file alone: no torch in the process."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import Preprocessing
from fer_pipeline.errors import InputError
from fer_pipeline.models.model_file import find_model, open_session, read_card
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.crop import as_crop, measure_crops, prepare
from fer_pipeline.vision.image_io import BadImage, Image, read_image

Outcome = Literal["ok", "no_face", "bad_image", "unanswered"]  # the last: by a server that could not
Verdict = Literal["answered", "uncertain"]
UNCERTAIN = "uncertain"
BATCH = 256
GROUP_SIDE = 960
PHOTO_SUFFIXES = {"", ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2"}
PHOTO_SUFFIXES |= {".ppm", ".pgm", ".pbm", ".ico", ".tga", ".mpo"}


@dataclass(frozen=True)
class Answer:
    """One face and what the model says of it; the box is in pixels of the upright photo.

    `label` is the best guess, or `uncertain` where its confidence is below the threshold.
    """

    box: Box
    outcome: Verdict
    label: str
    guess: str
    confidence: float
    probabilities: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "box": list(self.box),
            "outcome": self.outcome,
            "label": self.label,
            "guess": self.guess,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
        }


@dataclass(frozen=True)
class Prediction:
    """One file: `ok` with at least one face, else why there is none."""

    path: str
    outcome: Outcome
    faces: list[Answer]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"path": self.path, "outcome": self.outcome, "faces": [face.as_dict() for face in self.faces]}


def for_every_face(preprocessing: Preprocessing, side: int | None = None) -> Preprocessing:
    """Training may want one face a photo; whoever asks wants an answer for every face.

    `side` is a longest side in pixels to look at too: a group photo's faces are small.
    """
    detector = preprocessing.detector
    if side is not None and 0 not in detector.sides:  # 0 is full size: everything is seen already
        detector = detector.model_copy(update={"sides": tuple(dict.fromkeys((*detector.sides, side)))})
    return preprocessing.model_copy(
        update={"detector": detector, "cut": preprocessing.cut.model_copy(update={"faces": "all"})}
    )


class Predictor:
    """A model file, opened once."""

    def __init__(self, run: Path, threads: int = 0, uncertain: float | None = None) -> None:
        """`uncertain` replaces the confidence below which the model withholds its answer."""
        path = find_model(run)
        self.session = open_session(path, threads)
        self.card = read_card(self.session, path)
        self.uncertain = self.card.uncertain if uncertain is None else uncertain
        self.quick = for_every_face(self.card.preprocessing)
        self.preprocessing = for_every_face(self.card.preprocessing, GROUP_SIDE)

    def classify(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (n, classes) of crops (n, size, size, 3)."""
        parts = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
        answers = [self.infer(self.inputs(part)) for part in parts]
        return np.concatenate(answers) if answers else np.zeros((0, len(self.card.labels)), np.float32)

    def infer(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Probabilities (n, classes) by the graph alone; the inputs hold n rows each."""
        return np.asarray(self.session.run(None, inputs)[0])

    def inputs(self, crops: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """What the graph wants of some crops, by name."""
        found: dict[str, NDArray[Any]] = {"crops": np.ascontiguousarray(crops)}
        if "measures" in self.card.inputs:
            found["measures"] = measure_crops(crops, self.card.measures, self.preprocessing.cut)
        return {name: found[name] for name in self.card.inputs}

    def predict(self, photo: Image, *, is_crop: bool = False) -> list[Answer]:
        """The faces of an upright RGB photo with their labels; a crop is taken as it is."""
        if is_crop:
            boxes, images = [Box(0, 0, photo.shape[1], photo.shape[0])], [photo]
        else:
            crops = prepare(photo, self.preprocessing)
            boxes, images = [crop.face.box for crop in crops], [crop.image for crop in crops]
        if not images:
            return []
        inputs = np.stack([as_crop(image, self.card.size) for image in images])
        return [self.answer(box, row) for box, row in zip(boxes, self.classify(inputs), strict=True)]

    def answer(self, box: Box, row: NDArray[np.floating]) -> Answer:
        """What is said of a face, given its probabilities (classes,)."""
        best = int(row.argmax())
        guess, unsure = self.card.labels[best], float(row[best]) < self.uncertain
        probabilities = {label: round(float(value), 6) for label, value in zip(self.card.labels, row, strict=True)}
        outcome: Verdict = "uncertain" if unsure else "answered"
        return Answer(box, outcome, UNCERTAIN if unsure else guess, guess, round(float(row[best]), 6), probabilities)


@lru_cache(maxsize=1)
def load_predictor(run: Path, uncertain: float | None = None) -> Predictor:
    """One predictor per process and run, on one thread: the processes are the parallelism."""
    return Predictor(run, threads=1, uncertain=uncertain)


def predict_file(run: Path, is_crop: bool, path: Path, uncertain: float | None = None) -> Prediction:
    """Predict one file; a bad one is an outcome, not an error."""
    predictor = load_predictor(run, uncertain)
    try:
        faces = predictor.predict(read_image(path), is_crop=is_crop)
    except (BadImage, OSError):
        return Prediction(str(path), "bad_image", [])
    return Prediction(str(path), "ok" if faces else "no_face", faces)


def _looks_like_image(file: Path) -> bool:
    """Whether a folder's file is worth opening: by its suffix, or because it has none."""
    return not file.name.startswith(".") and file.suffix.lower() in PHOTO_SUFFIXES


def list_photos(paths: list[Path]) -> list[Path]:
    """The files named, and the images below the folders named, by path; raises InputError for what does not exist."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if file.is_file() and _looks_like_image(file))
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"{path}: no such file or folder: name photos or folders of photos")
    if not files:
        raise InputError(f"{', '.join(map(str, paths))}: holds no image: name photos or folders of photos")
    return files
