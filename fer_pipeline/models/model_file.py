"""The model file: an ONNX graph from uint8 crops to probabilities, with everything needed to use it in its metadata."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fer_pipeline import __version__
from fer_pipeline.config.schema import Preprocessing
from fer_pipeline.errors import InputError
from fer_pipeline.vision.hog import LENGTH

if TYPE_CHECKING:
    import torch

    from fer_pipeline.models.feature_distance import FeatureDistance
    from fer_pipeline.models.model_module import ModelModule

MODEL = "model.onnx"
KEY = "fer"
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"  # its wheels since 1.31 report to their maker
PROBABILITIES, DISTANCE = "probabilities", "distance"  # outputs of the graph; not every file has the second
ENSEMBLE = "ensemble"  # the network of a file that averages others
OPSET = 18


class TemperatureFit(BaseModel):
    """The temperature in the graph, and what it changed on the validation images it was fitted on.

    `ece` is the expected calibration error, `nll` the negative log-likelihood; `before` is temperature 1.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    temperature: float
    images: int
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float


class Card(BaseModel):
    """The metadata of a model file: how to prepare its input, and what its output means."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    labels: list[str] = Field(min_length=1)
    size: int = Field(ge=1, le=4096)
    network: str
    preprocessing: Preprocessing
    data: str = ""  # SHA-256 of the manifest it was trained on
    settings: dict[str, Any] = {}  # of the training
    base: str = ""  # SHA-256 of the model file whose weights it began with
    inputs: list[Literal["crops", "hog", "measures"]] = Field(["crops"], min_length=1)  # of the graph
    measures: list[str] = []  # their names, in order
    calibration: TemperatureFit | None = None  # None: not fitted, the temperature is 1
    known: float = 0  # share of the validation part that is not `unknown`; 0: the graph measures no distance
    uncertain: float = 0  # faces below this confidence are labelled `uncertain`
    precision: str = "float32"  # of the weights; int8 where they were quantised
    version: str = __version__

    @property
    def training_folder(self) -> Path:
        """The folder the model was trained on, as named then."""
        return Path(str(self.settings.get("input", "")))


def write_bundle(path: Path, classifier: "ModelModule", card: Card, distance: "FeatureDistance | None" = None) -> None:
    """Export a trained classifier to ONNX, with the distance of its features if that was fitted; check the file."""
    import onnx
    import torch

    classifier = classifier.eval().cpu()
    drawn = torch.Generator().manual_seed(0)
    known = {
        "crops": torch.randint(0, 256, (2, card.size, card.size, 3), dtype=torch.uint8, generator=drawn),
        "hog": torch.rand(2, LENGTH, generator=drawn) / 4,
        "measures": torch.rand(2, len(card.measures), generator=drawn),
    }
    known["crops"][0], known["hog"][0], known["measures"][0] = 90, 0, float("nan")  # a blank crop: divisions fail
    example = {name: known[name] for name in classifier.inputs}
    aside = path.with_name(f".{path.name}.part")
    card = card.model_copy(update={"inputs": list(example)})
    model = classifier.to_onnx(example, card, distance)
    onnx.helper.set_model_props(model, {KEY: card.model_dump_json()})
    aside.write_bytes(model.SerializeToString())
    _check_parity(aside, classifier.with_distance(distance), example)
    aside.replace(path)


def _check_parity(path: Path, exported: "torch.nn.Module", example: "dict[str, torch.Tensor]") -> None:
    import torch

    with torch.inference_mode():
        answer = exported(*example.values())
    expected = [values.numpy() for values in (answer if isinstance(answer, tuple) else (answer,))]
    got = open_session(path).run(None, {name: values.numpy() for name, values in example.items()})
    pairs = zip(got, expected, strict=True)  # a distance may be any number, and is compared as a share of it
    difference = max(float((np.abs(one - other) / np.maximum(np.abs(other), 1)).max()) for one, other in pairs)
    if not difference < 1e-4:
        raise InputError(f"{path}: ONNX Runtime differs from the model by {difference:.2g}: choose another network")


def load_runtime() -> Any:
    """Import ONNX Runtime with its telemetry off, which it decides once and from the environment, at its import."""
    given = os.environ.get(NO_TELEMETRY)
    os.environ[NO_TELEMETRY] = given or "1"
    try:
        import onnxruntime
    finally:
        if given is None:
            del os.environ[NO_TELEMETRY]
    return onnxruntime


def open_session(path: Path, threads: int = 0, data: bytes | None = None) -> Any:
    """Open a model, or the bytes of it, with ONNX Runtime on the CPU; raises InputError for a file that is no model."""
    onnxruntime = load_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data or str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  ONNX Runtime raises a dozen kinds, all for an unusable file
        reason = str(error).partition("\n")[0][:120]
        raise InputError(
            f"{path}: not a model ONNX Runtime can open ({reason}): train again with `fer train`"
        ) from None


def read_card(session: Any, path: Path) -> Card:
    """Read the metadata of an opened model file; raises InputError for a foreign or damaged one."""
    try:
        text = session.get_modelmeta().custom_metadata_map.get(KEY)
        if text is None:
            raise InputError(f"{path}: an ONNX file, but not one of `fer train`: name a run folder")
        return Card.model_validate(json.loads(text))
    except (ValueError, ValidationError, RecursionError):  # also what is no UTF-8
        raise InputError(f"{path}: its metadata is damaged: train again with `fer train`") from None


def find_model(run: Path) -> Path:
    """Find the model file of a run folder, or take the file itself; raises InputError if there is none."""
    path = run / MODEL if run.is_dir() else run
    if not path.is_file():
        if (run / "folds.json").is_file():
            raise InputError(f"{run} is a cross-validation, which leaves no model: run `fer train` without --folds")
        raise InputError(f"{run} holds no finished model ({MODEL}): run `fer train` first")
    return path
