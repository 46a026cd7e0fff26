"""A served model that has learned nothing, for the tests of `fer serve` and its pages."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch
from torch import nn

from fer_pipeline.config.schema import CropSettings, Detector, Preprocessing
from fer_pipeline.models.classifier import Classifier
from fer_pipeline.models.feature_distance import FeatureDistance
from fer_pipeline.models.model_file import Card, write_bundle
from fer_pipeline.serve.app import make_app
from fer_pipeline.serve.limits import Limits
from fer_pipeline.serve.service import Service
from fer_pipeline.sources.sample import LABELS, draw_photo, random_face
from fer_pipeline.sources.sample.junk import to_jpeg
from support.browser import running
from support.pictures import facing

HALF = (0.5, 0.5, 0.5)
PREPROCESSING = Preprocessing(detector=Detector(sides=(200, 320)), cut=CropSettings(scale="eyes", align=True, size=48))


def write_run(folder: Path, labels: Sequence[str] = LABELS, size: int = 32, seed: int = 2, **card: Any) -> Path:
    """A run folder with a model of drawn weights, which tells crops apart that differ by a pixel.

    With `known` on its card it measures a distance, beyond whose limit everything lies.
    """
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, len(labels)))
    nn.init.normal_(network.get_parameter("1.weight"), std=0.05)
    values: dict[str, Any] = {
        "labels": list(labels),
        "size": size,
        "network": "simpleconv3",
        "preprocessing": PREPROCESSING,
    } | card
    pixels = 3 * size * size
    strange = FeatureDistance(np.full((1, pixels), 9.0), np.ones((pixels, 1))) if card.get("known") else None
    model = Classifier(network, HALF, HALF, grey=False, flip=False)
    write_bundle(folder / "model.onnx", model, Card(**values), strange)
    return folder


def draw_people(count: int = 1, seed: int = 0, width: int = 480, height: int = 320) -> bytes:
    """Some drawn people side by side, as JPEG."""
    rng = np.random.default_rng([seed, count])
    faces = [
        facing(
            random_face(
                rng, LABELS[place % 3], width, height, (width * (place + 0.5) / count, height * 0.44), height * 0.38
            )
        )
        for place in range(count)
    ]
    return to_jpeg(draw_photo(faces, width, height, rng)[0], 92)


@contextmanager
def serving(
    *runs: Path, workers: int = 1, uncertain: float | None = None, root: str = "", **limits: Any
) -> Iterator[str]:
    """The application on loopback, ready; the value is its URL."""
    service = Service(runs, Limits(**limits), workers, uncertain)
    with running(make_app(service, root_path=root)) as url:
        assert requests.get(f"{url}/healthz", timeout=60).status_code == 200
        yield url


def predict(url: str, *pictures: bytes, **query: str) -> requests.Response:
    """Ask for some pictures as a form."""
    files = [("files", (f"{number}.jpg", picture)) for number, picture in enumerate(pictures)]
    return requests.post(f"{url}/predict", files=files, params=query, timeout=600)


@contextmanager
def fer_serve(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The real command in a process of its own, and its URL."""
    command = [sys.executable, "-m", "fer_pipeline", "serve", *arguments, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        try:
            yield process, line.split()[1]
        finally:
            process.kill()


def ask_json(response: requests.Response) -> Any:
    """The body, which must be JSON and nothing else."""
    assert response.headers["content-type"] == "application/json"
    return json.loads(response.text)
