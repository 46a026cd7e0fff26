"""Write a folder that classifies photos and a camera's frames in the browser alone, for any static host.

It holds the page of `fer serve`, whose server is replaced by modules of our own, the model, YuNet and the runtime.
"""

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_pipeline import __version__
from fer_pipeline.dataset.provenance import check_own, read_provenance, write_provenance
from fer_pipeline.dataset.rows import MANIFEST, Status, read_rows
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.evaluate import is_evaluated, read_metrics
from fer_pipeline.export.runtime import MODULE, WASM, list_licences, read_runtime
from fer_pipeline.export.yunet import read_yunet
from fer_pipeline.files import remove_files, write_aside
from fer_pipeline.models.model_file import Card, find_model
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.serve.example import draw_example
from fer_pipeline.vision import crop, detectors, five, landmarks, mouth_check
from fer_pipeline.web.pages import SHARED

STAGE = "export"
LARGE = 20_000_000  # bytes of a folder from which a page takes long to load
OWN = Path(__file__).with_name("static")
SERVED = OWN.parent.parent / "serve" / "static"
REPLACED = {"ask.js", "line.js", "serve.html"}  # what of the served page asks a server
MARK = f'<meta name="generator" content="fer-pipeline {__version__}">'
POLICY = (
    """<meta http-equiv="Content-Security-Policy" content="default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; """
    """img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'">"""
)
MODULE_TAG = '<script type="module" src="own/serve.js">'
BROUGHT = (".js", ".mjs", ".json", ".onnx", ".bin", ".packed", ".jpg")  # files that the modules load


@dataclass(frozen=True)
class Exported:
    """The folder written and its size in bytes."""

    folder: Path
    size: int


def export_web(run: Path, folder: Path, runtime: Path | None = None) -> Exported:
    """Write the page of a run into `folder`; `runtime` is an unpacked onnxruntime-web, else npm fetches it.

    Raises InputError for a model whose crops a browser cannot cut, and for a folder that fer did not make.
    """
    path = find_model(run)
    card = Predictor(path, threads=1).card
    check_fit(path, card)
    check_own(folder, STAGE)
    files = {**_page(), **_model(path, card), **_pack(read_runtime(runtime))}
    files["offline.js"] = _bring_along(files)
    _write(folder, files)
    return Exported(folder, sum(map(len, files.values())))


def check_fit(path: Path, card: Card) -> None:
    """Raise InputError, with the settings to train with, for a model whose inputs a browser cannot make."""
    detector, cut = card.preprocessing.detector, card.preprocessing.cut
    wrong = {
        "crop.align_by=five": cut.align_by != "five",
        "filter.detector=yunet": detector.detector != "yunet" or detector.weights is not None,
        "filter.second=none": detector.asked_next is not None
        and detector.detector == "yunet"
        and cut.align_by == "five",
        "train.geometry=false": "measures" in card.inputs,
    }
    if any(wrong.values()):
        settings = " ".join(f"--set {setting}" for setting, is_wrong in wrong.items() if is_wrong)
        raise InputError(
            f"{path}: its crops need dlib's 68 landmarks, which no browser has: `fer run {settings}`, then export again"
        )


def _page() -> dict[str, bytes]:
    """The page and its modules, ours in place of those that ask a server."""
    html = (SERVED / "serve.html").read_text(encoding="utf-8")
    html = html.replace(" Without it: <code>fer predict RUN PHOTO</code>.", "")
    pages = {
        "index.html": html.replace(
            "<title>", f'{MARK}\n  {POLICY}\n  <script src="own/opened.js"></script>\n  <title>'
        ),
        "offline.html": html.replace("<title>", f"{MARK}\n  <title>").replace(
            MODULE_TAG, '<script src="offline.js" defer>'
        ),
    }
    served = {f"own/{file.name}": file for file in SERVED.iterdir() if file.name not in REPLACED}
    own = {f"own/{file.name}": file for file in OWN.glob("*.js") if file.name != "offline.js"}
    shared = {f"static/{file.name}": file for file in SHARED.iterdir()}
    notes = {f"licences/{name}": file for name, file in list_licences().items()}
    found = {name: file.read_bytes() for name, file in {**served, **own, **shared, **notes}.items() if file.is_file()}
    return {**{name: page.encode() for name, page in pages.items()}, "example.jpg": draw_example(), **found}


def _bring_along(files: Mapping[str, bytes]) -> bytes:
    """A script with all that the page loads, for one that is opened as a file, where browsers load nothing."""
    brought = {name: b64encode(data).decode() for name, data in files.items() if name.endswith(BROUGHT)}
    return f"const files = {json.dumps(brought)};\n".encode() + (OWN / "offline.js").read_bytes()


def _pack(runtime: Mapping[str, bytes]) -> dict[str, bytes]:
    """The runtime, compressed: many hosts send files as they are."""
    return {f"runtime/{MODULE}": runtime[MODULE], f"runtime/{WASM}.packed": gzip.compress(runtime[WASM], mtime=0)}


def _model(path: Path, card: Card) -> dict[str, bytes]:
    weights, bias = mouth_check.load_weights()
    yunet, layers = read_yunet()
    return {
        "model.onnx": path.read_bytes(),
        "yunet.onnx": yunet,
        "mouth.bin": weights.astype("<f4").tobytes(),
        "model.json": json.dumps(_describe(path, card, bias, layers), indent=1).encode(),
    }


def _describe(path: Path, card: Card, bias: float, layers: list[str]) -> dict[str, Any]:
    """All that the modules must know: how photos are prepared, in the numbers of our own modules, and the card."""
    detector, cut = card.preprocessing.detector, card.preprocessing.cut
    return {
        "name": path.parent.resolve().name,
        "labels": card.labels,
        "size": card.size,
        "uncertain": card.uncertain,
        "detector": {
            "sides": detector.looked_at,
            "enlarge": detector.enlarge,
            "threshold": detector.least_score,
        },
        "cut": {
            "region": cut.region,
            "scale": cut.scale,
            "align": cut.align,
            "margin": crop.margin_of(cut),
            "size": cut.size,
            "input": card.size,
            "mouthCheck": cut.mouth_check,
        },
        "yunet": {
            "thin": detectors.THIN,
            "least": detectors.LEAST_YUNET,
            "smallest": landmarks.MIN_FACE["yunet"],
            "ratio": landmarks.SIZE_RATIO,
            "sure": landmarks.SURE,
            "turnMargin": landmarks.TURN_MARGIN,
            "turnSide": landmarks.TURN_SIDE,
            "layers": layers,
        },
        "five": {
            "side": five.SIDE,
            "least": five.LEAST,
            "near": five.NEAR,
            "aroundBox": five.AROUND_BOX,
            "aroundPoints": five.AROUND_POINTS,
            "eyes": five.EYES,
            "lipsWidth": five.LIPS_WIDTH,
            "lipsDown": five.LIPS_DOWN,
            "lipsHalf": five.LIPS_HALF,
            "faceSide": five.FACE_SIDE,
            "faceDown": five.FACE_DOWN,
            "beyond": crop.BEYOND_FIVE,
        },
        "check": {
            "side": mouth_check.SIDE,
            "margin": mouth_check.MARGIN,
            "least": mouth_check.LEAST,
            "bias": bias,
        },
        "card": _describe_card(path, card),
    }


def _describe_card(path: Path, card: Card) -> dict[str, Any]:
    """What the page tells of the model; nothing of this machine."""
    told: dict[str, Any] = {"network": card.network, "version": f"fer-pipeline {__version__}"}
    folder = card.training_folder
    if is_evaluated(path.parent, folder):
        metrics = read_metrics(path.parent)
        told |= {"count": metrics.count, "accuracy": metrics.accuracy, "interval": metrics.accuracy_ci95}
    if (folder / MANIFEST).is_file():
        told["images"] = sum(row.split == "train" and row.status == Status.KEPT for row in read_rows(folder))
    return told


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace what an export wrote before, and nothing else."""
    made = read_provenance(folder) or {}
    known = made.get("files")
    before = [name for name in known if isinstance(name, str)] if isinstance(known, list) else []
    foreign = [name for name in files if name not in before and (folder / name).exists()]
    if foreign:
        raise InputError(f"{folder / foreign[0]}: is there already and fer did not write it: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_provenance(folder, {"stage": STAGE, "version": __version__, "files": sorted({*before, *files})})
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_aside(folder / name, [data])
    remove_files(folder, [name for name in before if name not in files])
    write_provenance(folder, {"stage": STAGE, "version": __version__, "files": sorted(files)})
