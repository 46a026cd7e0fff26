"""`fer predict --url`: the same answers from a server."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from fer_pipeline.boxes import Box
from fer_pipeline.errors import InputError, SetupError, UsageError
from fer_pipeline.model.predictor import Answer, Prediction

AT_ONCE = 4
PATIENCE = 60.0  # seconds that a busy server is asked again
TIMEOUT = 120.0


def predict_at(url: str, files: Sequence[Path], model: str = "") -> Iterator[Prediction]:
    """The predictions for some files, in their order; raises SetupError if no server answers."""
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url {url}: write it as http://127.0.0.1:8000")
    with requests.Session() as session, ThreadPoolExecutor(AT_ONCE) as threads:
        yield from threads.map(lambda file: _predict(session, url.rstrip("/"), file, model), files)


def _predict(session: requests.Session, url: str, file: Path, model: str) -> Prediction:
    try:
        data = file.read_bytes()
    except OSError:
        return Prediction(str(file), "bad_image", [])
    response = _post(session, url, data, model)
    if response.status_code == 413:
        return Prediction(str(file), "bad_image", [])
    try:
        (result,) = response.json()["results"]
        faces = [_answer(face) for face in result["faces"]]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{url}: {_tell(response)}: is this a `fer serve`?") from None
    outcome = {"uncertain": "ok", "too_large": "bad_image"}.get(result["outcome"], result["outcome"])
    return Prediction(str(file), outcome, faces)


def _post(session: requests.Session, url: str, data: bytes, model: str) -> requests.Response:
    """One request; a server that is busy is asked again when it said."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            response = session.post(
                f"{url}/predict",
                data=data,
                params={"model": model} if model else {},
                headers={"content-type": "application/octet-stream"},
                timeout=TIMEOUT,
            )
        except requests.RequestException as error:
            reason = type(error).__name__
            raise SetupError(f"{url}: no answer ({reason}): start the server with `fer serve RUN`") from None
        if response.status_code != 503 or time.monotonic() > until:
            return response
        wait = response.headers.get("retry-after", "1")
        time.sleep(min(float(wait), 10) if wait.isdecimal() else 1)


def _answer(face: dict[str, Any]) -> Answer:
    box = Box(*map(float, face["box"]))
    return Answer(
        box, face["outcome"], face["label"], face["guess"], float(face["confidence"]), dict(face["probabilities"])
    )


def _tell(response: requests.Response) -> str:
    """What a server says instead of an answer, in a few words."""
    try:
        return str(response.json()["detail"])[:200]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}, not an answer"
