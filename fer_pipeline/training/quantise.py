"""Quantise a model file to 8-bit weights and activations, and compare its accuracy and speed with the float one."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.dataset.provenance import RUNS, check_own
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.compare import compare
from fer_pipeline.evaluation.evaluate import cache_of, read_test
from fer_pipeline.evaluation.metrics import score
from fer_pipeline.evaluation.predictions import PredictedLabel
from fer_pipeline.evaluation.scores import QuantisedScore, QuantisedScores, write_record
from fer_pipeline.files import write_aside
from fer_pipeline.models.classical import CLASSICAL
from fer_pipeline.models.data import Crops, hash_data, list_crops, load_crops
from fer_pipeline.models.model_file import ENSEMBLE, KEY, PROBABILITIES, Card, find_model, load_runtime
from fer_pipeline.models.predictor import Predictor

QUANTISED = "model.int8.onnx"
FIGURES = "quantised.json"
SAMPLES = 256  # training crops the ranges of the activations are read from
TIMED = 64  # crops a time measurement
ROUNDS = 7  # of which the median counts
LAYERS = ["Conv", "Gemm", "MatMul", "Relu", "Add"]  # the rest, as normalisation and softmax, stays float


def quantise(run: Path) -> QuantisedScores:
    """Write `model.int8.onnx` beside a run's model, and `quantised.json`: both scored on the same test images."""
    path = find_model(run)
    plain = Predictor(path, threads=1)
    if plain.card.precision != "float32":
        raise InputError(f"{path} is quantised already: name the run, or its model.onnx")
    if plain.card.network == ENSEMBLE:
        raise InputError(f"{path} is an ensemble, which stays as it is: quantise one of its members")
    if plain.card.network in CLASSICAL or plain.card.inputs != ["crops"]:
        raise InputError(f"{path}: only a network that sees pixels alone is quantised, this is another kind of model")
    check_own(path.parent, *RUNS)
    target = path.with_name(QUANTISED)
    _write(path, target, plain, _calibration_crops(path, plain.card))
    crops = read_test(path, plain.card, None, path.parent)
    sizes = {"float32": path.stat().st_size, "int8": target.stat().st_size}
    scores = _compare(crops, plain, Predictor(target, threads=1), sizes)
    write_record(path.with_name(FIGURES), scores)
    return scores


def _calibration_crops(path: Path, card: Card) -> NDArray[np.uint8]:
    """Choose training crops (n, size, size, 3), spread evenly over the classes' files."""
    folder = card.training_folder
    rows = list_crops(folder, "train")
    if hash_data(folder) != card.data:
        raise InputError(f"{folder} has changed since {path} was trained on it: run `fer train` first")
    crops = load_crops(folder, rows, card.labels, card.size, cache_of(path, path.parent))
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).round().astype(int))
    return np.asarray(crops.images[chosen])


class _Reader:
    """Hand crops to ONNX Runtime's calibration, 32 at a time."""

    def __init__(self, predictor: Predictor, crops: NDArray[np.uint8]) -> None:
        self.predictor = predictor
        self.batches = iter([crops[start : start + 32] for start in range(0, len(crops), 32)])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next input, or None at the end."""
        batch = next(self.batches, None)
        return None if batch is None else self.predictor.inputs(batch)


def _write(path: Path, target: Path, plain: Predictor, crops: NDArray[np.uint8]) -> None:
    """Quantise statically: weights per channel, activations by their range on the calibration crops; keep the card."""
    import onnx
    import onnx.utils

    load_runtime()
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    kinds = {node.op_type for node in onnx.load(str(path)).graph.node}
    if not kinds & {"Conv", "Gemm", "MatMul"}:
        raise InputError(f"{path} has no layer of weights to make smaller: quantise a network")
    aside, folded = (target.with_name(f".{target.name}.{part}") for part in ("part", "folded"))
    try:
        with _quiet():
            # Without the distance, whose limit was set on float features.
            onnx.utils.extract_model(str(path), str(folded), [*plain.card.inputs], [PROBABILITIES])
            # Without this the exporter's shared biases stay float, and every convolution with them.
            quant_pre_process(str(folded), str(folded), skip_symbolic_shape=True)
            quantize_static(
                str(folded),
                str(aside),
                _Reader(plain, crops),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=LAYERS,
                per_channel=True,
                activation_type=QuantType.QUInt8,  # signed ones halve the speed on x86
                weight_type=QuantType.QInt8,
            )
        model = onnx.load(str(aside))
    finally:
        folded.unlink(missing_ok=True)
    card = plain.card.model_copy(update={"precision": "int8", "known": 0})
    onnx.helper.set_model_props(model, {KEY: card.model_dump_json()})
    write_aside(target, [model.SerializeToString()])
    aside.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence ONNX Runtime's quantiser, which writes to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _compare(crops: Crops, plain: Predictor, small: Predictor, sizes: dict[str, int]) -> QuantisedScores:
    """Score both models on the same crops, compare their predictions, and time them in turn."""
    both = [predictor.classify(crops.images) for predictor in (plain, small)]
    names = [str(row.label) for row in crops.rows]
    judged = [
        [
            PredictedLabel(name, crops.labels[int(values.argmax())], row.group or row.path)
            for name, row, values in zip(names, crops.rows, answers, strict=True)
        ]
        for answers in both
    ]
    paired = compare(judged[0], judged[1], [row.path for row in crops.rows], (len(names), len(names)))
    scores = [score(crops.targets, answers, crops.labels) for answers in both]
    seconds = _time(np.asarray(crops.images[:TIMED]), plain, small)
    timed = [
        QuantisedScore(**dict(each.summary()), images_per_second=round(1 / one, 1))
        for each, one in zip(scores, seconds, strict=True)
    ]
    return QuantisedScores(
        count=len(names),
        float32=timed[0],
        int8=timed[1],
        speed_ratio=round(seconds[0] / seconds[1], 3),
        largest_difference=round(float(np.abs(both[0] - both[1]).max()), 4),
        paired=paired.summary(),
        bytes=sizes,
    )


def _time(crops: NDArray[np.uint8], *predictors: Predictor) -> list[float]:
    """Measure seconds of processor time per image on one thread: the median of rounds in turn, after a warm-up."""
    taken: list[list[float]] = [[] for _ in predictors]
    for turn in range(ROUNDS + 1):
        for own, predictor in zip(taken, predictors, strict=True):
            started = time.process_time()
            predictor.classify(crops)
            if turn:
                own.append((time.process_time() - started) / len(crops))
    return [max(float(np.median(own)), 1e-9) for own in taken]
