"""Predict the expression of every face in a photo from the model file alone, without torch."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import Preprocessing
from fer_pipeline.errors import InputError
from fer_pipeline.models.model_file import find_model, load_runtime, open_session, read_card
from fer_pipeline.models.prediction import FacePrediction, Outcome, Prediction, summarize_outcome
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.crop import as_crop, measure_crops, prepare
from fer_pipeline.vision.image_io import MAX_PIXELS, BadImage, Image, read_photo
from fer_pipeline.vision.landmarks import for_groups
from fer_pipeline.vision.mouth_check import Missing

Photo = str | Path | bytes | Image  # a file, the bytes of one, or upright RGB pixels (height, width, 3) as uint8
AnyPhoto = TypeVar("AnyPhoto", bound=Photo)
UNCERTAIN = "uncertain"
BATCH = 256
START_TIME, ROW_TIME = 60.0, 5.0  # seconds that a graph may take, and more for each row
TOLERANCE = 1e-3  # of a probability


def for_every_face(preprocessing: Preprocessing, *, groups: bool = False) -> Preprocessing:
    """The preprocessing for all faces of a photo, since training may keep one alone; `groups`: small ones too."""
    detector = for_groups(preprocessing.detector) if groups else preprocessing.detector
    return preprocessing.model_copy(
        update={"detector": detector, "cut": preprocessing.cut.model_copy(update={"faces": "all"})}
    )


class Predictor:
    """A model file, opened once; may be used by several threads."""

    def __init__(
        self, run: str | Path, threads: int = 0, uncertain: float | None = None, data: bytes | None = None
    ) -> None:
        """Open a run folder or model file, or `data`, the bytes of one that is only named by `run`.

        `threads` are those of ONNX Runtime, 0 for one per core; `uncertain` replaces the model's own threshold, the
        confidence below which a face is labelled `uncertain`. Raises InputError for what is not a model.
        """
        self.path = Path(run) if data else find_model(Path(run))
        self.session = open_session(self.path, threads, data)
        self.card = read_card(self.session, self.path)
        self.uncertain = self.card.uncertain if uncertain is None else uncertain
        self.quick = for_every_face(self.card.preprocessing)
        self.preprocessing = for_every_face(self.card.preprocessing, groups=True)

    @property
    def labels(self) -> list[str]:
        """The classes, in the order of the probabilities."""
        return self.card.labels

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
            (row,) = self.classify(as_crop(photo, self.card.size)[None])
            return [self.label_face(box, row)]
        crops = prepare(photo, self.quick if quick else self.preprocessing)
        shown = [as_crop(crop.image, self.card.size) for crop in crops if crop.missing is None]
        answers = iter(self.classify(np.stack(shown))) if shown else iter(())
        return [
            self.label_face(crop.face.box, next(answers) if crop.missing is None else crop.missing, crop.face.turned)
            for crop in crops
        ]

    def classify(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (n, classes) of crops (n, size, size, 3)."""
        parts = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
        rows = [self.infer(self.inputs(part)) for part in parts]
        return np.concatenate(rows) if rows else np.zeros((0, len(self.labels)), np.float32)

    def infer(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Probabilities (n, classes) by the graph alone; the inputs hold n rows each.

        Raises InputError for a graph that fails, does not end, or gives no probabilities: anybody may have written it.
        """
        count, options = len(next(iter(inputs.values()))), load_runtime().RunOptions()
        watch = threading.Timer(START_TIME + ROW_TIME * count, setattr, (options, "terminate", True))
        watch.daemon = True
        watch.start()
        try:
            rows = np.asarray(self.session.run(None, inputs, options)[0], np.float32)
        except Exception as error:  # noqa: BLE001  ONNX Runtime raises a dozen kinds
            reason = "takes too long" if options.terminate else " ".join(str(error).split())[:120]
            raise InputError(f"{self.path}: its graph fails ({reason}): train again with `fer train`") from None
        finally:
            watch.cancel()
        if rows.shape != (count, len(self.labels)) or not ((rows > -TOLERANCE) & (rows < 1 + TOLERANCE)).all():
            told = f"its graph does not give a probability for each of its {len(self.labels)} labels"
            raise InputError(f"{self.path}: {told}: train again with `fer train`")
        return rows.clip(0, 1)

    def inputs(self, crops: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The inputs of the graph for some crops, by name."""
        found: dict[str, NDArray[Any]] = {"crops": np.ascontiguousarray(crops)}
        if "measures" in self.card.inputs:
            found["measures"] = measure_crops(crops, self.card.measures, self.preprocessing.cut)
        return {name: found[name] for name in self.card.inputs}

    def label_face(self, box: Box, row: NDArray[np.floating] | Missing, turned: int = 0) -> FacePrediction:
        """The prediction for a face with the probabilities `row` (classes,), or for one that shows no mouth."""
        if isinstance(row, str):
            known: dict[str, Any] = {"box": box, "outcome": row, "turned": turned, "probabilities": {}}
            return FacePrediction(**known, label=None, guess=None, confidence=None)
        best = int(row.argmax())
        guess, unsure = self.labels[best], float(row[best]) < self.uncertain
        return FacePrediction(
            box=box,
            outcome="uncertain" if unsure else "answered",
            label=UNCERTAIN if unsure else guess,
            guess=guess,
            confidence=round(float(row[best]), 6),
            probabilities={label: round(float(value), 6) for label, value in zip(self.labels, row, strict=True)},
            turned=cast(Any, turned),
        )


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
def load_predictor(run: Path, uncertain: float | None = None) -> Predictor:
    """One predictor per process and run, on one thread: the processes are the parallelism."""
    return Predictor(run, threads=1, uncertain=uncertain)


def predict_file(run: Path, is_crop: bool, path: Path, uncertain: float | None = None) -> Prediction:
    """Predict one file in a worker process; a file that is gone by now is a `bad_image`."""
    predictor = load_predictor(run, uncertain)
    try:
        return predictor.predict(path, is_crop=is_crop)
    except InputError:
        return Prediction(path=str(path), outcome="bad_image")
