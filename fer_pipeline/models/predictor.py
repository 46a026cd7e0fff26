"""Predict the expression of every face in a photo from the model file alone, without torch."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from math import isnan
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import Preprocessing
from fer_pipeline.errors import InputError
from fer_pipeline.models.model_file import DISTANCE, find_model, load_runtime, open_session, read_card
from fer_pipeline.models.prediction import FacePrediction, Outcome, Prediction, summarize_outcome
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.crop import as_crop, measure_crops, prepare
from fer_pipeline.vision.hog import hog_features
from fer_pipeline.vision.image_io import MAX_PIXELS, BadImage, Image, read_photo
from fer_pipeline.vision.landmarks import for_groups
from fer_pipeline.vision.mouth_check import Missing

Photo = str | Path | bytes | Image  # a file, the bytes of one, or upright RGB pixels (height, width, 3) as uint8
AnyPhoto = TypeVar("AnyPhoto", bound=Photo)
Withheld = Literal["uncertain", "unknown"]
BATCH = 256
START_TIME, ROW_TIME = 60.0, 5.0  # seconds that a graph may take, and more for each row
TOLERANCE = 1e-3  # of a probability
FARTHEST = 1e6  # distance that is told, in multiples of the limit


def for_every_face(preprocessing: Preprocessing, *, groups: bool = False) -> Preprocessing:
    """The preprocessing for all faces of a photo, since training may keep one alone; `groups`: small ones too."""
    detector = for_groups(preprocessing.detector) if groups else preprocessing.detector
    return preprocessing.model_copy(
        update={"detector": detector, "cut": preprocessing.cut.model_copy(update={"faces": "all"})}
    )


class Predictor:
    """A model file, opened once; may be used by several threads."""

    def __init__(
        self,
        run: str | Path,
        threads: int = 0,
        uncertain: float | None = None,
        unknown: float = 1,
        *,
        data: bytes | None = None,
    ) -> None:
        """Open a run folder or model file, or `data`, the bytes of one that is only named by `run`.

        `threads` are those of ONNX Runtime, 0 for one per core; `uncertain` replaces the model's own threshold, the
        confidence below which a face is labelled `uncertain`; `unknown` is the distance above which it is labelled
        `unknown`, in multiples of the model's own limit, 0 for never. Raises InputError for what is not a model.
        """
        self.path = Path(run) if data else find_model(Path(run))
        self.session = open_session(self.path, threads, data)
        self.card = read_card(self.session, self.path)
        self.uncertain = self.card.uncertain if uncertain is None else uncertain
        self.unknown = unknown if self.measures_distance else 0.0
        self.quick = for_every_face(self.card.preprocessing)
        self.preprocessing = for_every_face(self.card.preprocessing, groups=True)

    @property
    def labels(self) -> list[str]:
        """The classes, in the order of the probabilities."""
        return self.card.labels

    @property
    def measures_distance(self) -> bool:
        """Whether the model tells how far a crop lies from what it was trained on."""
        return [output.name for output in self.session.get_outputs()[1:]] == [DISTANCE]

    @overload
    def predict(self, photos: list[AnyPhoto] | tuple[AnyPhoto, ...], *, is_crop: bool = False) -> list[Prediction]: ...

    @overload
    def predict(self, photos: Photo, *, is_crop: bool = False) -> Prediction: ...

    def predict(self, photos: Photo | Sequence[Photo], *, is_crop: bool = False) -> Prediction | list[Prediction]:
        """Predict one photo, or a list of photos, in their order.

        A photo is a file (`str`, `Path`), the bytes of a file, or upright RGB pixels (height, width, 3) as uint8. With
        `is_crop` it is the face itself, and no face is detected. A photo that cannot be decoded is an `outcome`; raises
        InputError for a file that does not exist, before any photo is predicted, and TypeError for anything else.
        """
        if isinstance(photos, list | tuple):
            for photo in photos:
                _check_photo(photo)
            return [self.predict_photo(photo, is_crop=is_crop) for photo in photos]
        _check_photo(photos)
        return self.predict_photo(photos, is_crop=is_crop)

    def predict_photo(
        self, photo: Any, *, is_crop: bool = False, quick: bool = False, max_pixels: int = MAX_PIXELS
    ) -> Prediction:
        """Predict one photo of at most `max_pixels`; `quick` does not search for the small faces of a group."""
        path = str(photo) if isinstance(photo, str | Path) else ""
        try:
            source = Path(path) if path else photo
            image, factor = (photo, 1.0) if isinstance(photo, np.ndarray) else read_photo(source, max_pixels=max_pixels)
        except (BadImage, OSError) as error:
            return Prediction(path=path, outcome=_outcome_of(error))
        faces = self.predict_faces(image, is_crop=is_crop, quick=quick)
        height, width = (round(side * factor) for side in image.shape[:2])
        faces = [face.model_copy(update={"box": face.box.scaled(factor)}) for face in faces] if factor > 1 else faces
        return Prediction(path=path, outcome=summarize_outcome(faces), width=width, height=height, faces=faces)

    def predict_faces(self, photo: Image, *, is_crop: bool = False, quick: bool = False) -> list[FacePrediction]:
        """The faces of an upright RGB photo (height, width, 3), the largest first; a crop is one face."""
        if is_crop:
            box = Box(0, 0, photo.shape[1], photo.shape[0])
            (row,) = self.answer_crops(as_crop(photo, self.card.size)[None])
            return [self.label_face(box, row)]
        crops = prepare(photo, self.quick if quick else self.preprocessing)
        shown = [as_crop(crop.image, self.card.size) for crop in crops if crop.missing is None]
        answers = iter(self.answer_crops(np.stack(shown))) if shown else iter(())
        return [
            self.label_face(crop.face.box, next(answers) if crop.missing is None else crop.missing, crop.face.turned)
            for crop in crops
        ]

    def classify(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (n, classes) of crops (n, size, size, 3)."""
        return self.answer_crops(crops)[:, :-1]

    def answer_crops(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answers (n, classes + 1) to crops (n, size, size, 3), see `answer`."""
        parts = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
        rows = [self.answer(self.inputs(part)) for part in parts]
        return np.concatenate(rows) if rows else np.zeros((0, len(self.labels) + 1), np.float32)

    def infer(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Probabilities (n, classes) by the graph alone; the inputs hold n rows each."""
        return self.answer(inputs)[:, :-1]

    def answer(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Probabilities, then the distance from training (NaN if the model measures none), (n, classes + 1).

        Raises InputError for a graph that fails, does not end, or gives no probabilities: anybody may have written it.
        """
        count, options = len(next(iter(inputs.values()))), load_runtime().RunOptions()
        watch = threading.Timer(START_TIME + ROW_TIME * count, setattr, (options, "terminate", True))
        watch.daemon = True
        watch.start()
        try:
            outputs = [np.asarray(one, np.float32) for one in self.session.run(None, inputs, options)]
        except Exception as error:  # noqa: BLE001  ONNX Runtime raises a dozen kinds
            reason = "takes too long" if options.terminate else " ".join(str(error).split())[:120]
            raise InputError(f"{self.path}: its graph fails ({reason}): train again with `fer train`") from None
        finally:
            watch.cancel()
        rows = outputs[0]
        if rows.shape != (count, len(self.labels)) or not ((rows > -TOLERANCE) & (rows < 1 + TOLERANCE)).all():
            told = f"its graph does not give a probability for each of its {len(self.labels)} labels"
            raise InputError(f"{self.path}: {told}: train again with `fer train`")
        distances = outputs[1] if self.measures_distance else np.full(count, np.nan, np.float32)
        if distances.shape != (count,) or (self.measures_distance and not (distances >= 0).all()):
            raise InputError(
                f"{self.path}: its graph does not give a distance for each crop: train again with `fer train`"
            )
        return np.column_stack([rows.clip(0, 1), distances.clip(None, FARTHEST)])

    def inputs(self, crops: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The inputs of the graph for some crops, by name."""
        found: dict[str, NDArray[Any]] = {"crops": np.ascontiguousarray(crops)}
        if "hog" in self.card.inputs:
            found["hog"] = hog_features(crops)
        if "measures" in self.card.inputs:
            found["measures"] = measure_crops(crops, self.card.measures, self.preprocessing.cut)
        return {name: found[name] for name in self.card.inputs}

    def label_face(self, box: Box, row: NDArray[np.floating] | Missing, turned: int = 0) -> FacePrediction:
        """The prediction for a face with the answer `row` (classes + 1,), or for one that shows no mouth."""
        if isinstance(row, str):
            known: dict[str, Any] = {"box": box, "outcome": row, "turned": turned, "probabilities": {}}
            return FacePrediction(**known, label=None, guess=None, confidence=None)
        shares, distance = row[:-1], float(row[-1])
        best = int(shares.argmax())
        guess, withheld = self.labels[best], self._withhold(float(shares[best]), distance)
        return FacePrediction(
            box=box,
            outcome=withheld or "answered",
            label=withheld or guess,
            guess=guess,
            confidence=round(float(shares[best]), 6),
            probabilities={label: round(float(value), 6) for label, value in zip(self.labels, shares, strict=True)},
            distance=None if isnan(distance) else round(distance, 4),
            turned=cast(Any, turned),
        )

    def _withhold(self, confidence: float, distance: float) -> Withheld | None:
        """Why an answer is withheld, if it is; a picture of something else may well be told with confidence."""
        if self.unknown and distance > self.unknown:  # never where it is NaN
            return "unknown"
        return "uncertain" if confidence < self.uncertain else None


def _check_photo(photo: Any) -> None:
    """Raise InputError for a path that is no file, TypeError for what is no photo."""
    if isinstance(photo, str | Path):
        if not Path(photo).is_file():
            what = "is a folder" if Path(photo).is_dir() else "no such file"
            raise InputError(f"{photo}: {what}: name a photo, or a list of photos")
        return
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
            raise TypeError(f"a photo is uint8 of shape (height, width, 3), not {photo.dtype} of shape {photo.shape}")
        return
    if not isinstance(photo, bytes):
        raise TypeError(f"a photo is a path, bytes or an array of pixels, not {type(photo).__name__}")


def _outcome_of(error: Exception) -> Outcome:
    too_large = isinstance(error, BadImage) and error.reason in {"too_many_pixels", "too_much_memory"}
    return "too_large" if too_large else "bad_image"


@lru_cache(maxsize=1)
def load_predictor(run: Path, uncertain: float | None = None, unknown: float = 1) -> Predictor:
    """One predictor per process and run, on one thread: the processes are the parallelism."""
    return Predictor(run, threads=1, uncertain=uncertain, unknown=unknown)


def predict_file(
    run: Path, is_crop: bool, path: Path, uncertain: float | None = None, unknown: float = 1
) -> Prediction:
    """Predict one file in a worker process; a file that is gone by now is a `bad_image`."""
    predictor = load_predictor(run, uncertain, unknown)
    try:
        return predictor.predict(path, is_crop=is_crop)
    except InputError:
        return Prediction(path=str(path), outcome="bad_image")
