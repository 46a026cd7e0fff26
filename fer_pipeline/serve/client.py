"""`fer predict --url`: the same answers from a server."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from fer_pipeline import console
from fer_pipeline.errors import InputError, SetupError, UsageError
from fer_pipeline.models.predictor import Answer, Prediction
from fer_pipeline.vision.boxes import Box

AT_ONCE = 4
PATIENCE = 60.0  # seconds that a busy server, or one that a proxy does not find, is asked again
AGAIN = {502, 503}
TROUBLES = {
    408: "it came too slowly: try again, or serve with a larger --upload",
    502: "the proxy found no server: is one running?",
    503: "the server stayed busy: try again later",
    504: "the server took too long: send it smaller, or serve with a larger --timeout",
}
TIMEOUT = 120.0


def predict_at(url: str, files: Sequence[Path], model: str = "") -> Iterator[Prediction]:
    """The predictions for some files, in their order; raises SetupError if no server answers.

    A file that gets no answer ends nothing but is said, and InputError is raised once all were asked.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url {url}: write it as http://127.0.0.1:8000")
    with requests.Session() as session, ThreadPoolExecutor(AT_ONCE) as threads:
        unanswered = 0
        for prediction in threads.map(lambda file: _predict(session, url.rstrip("/"), file, model), files):
            unanswered += prediction.outcome == "unanswered"
            yield prediction
    if unanswered:
        raise InputError(f"{url}: {unanswered} of {len(files)} photos were not answered: ask for them again")


def _predict(session: requests.Session, url: str, file: Path, model: str) -> Prediction:
    try:
        data = file.read_bytes()
    except OSError:
        return Prediction(str(file), "bad_image", [])
    response = _post(session, url, data, model)
    if response is None or response.status_code == 408 or response.status_code >= 500:
        status = 504 if response is None else response.status_code
        console.note(f"{file}: {TROUBLES.get(status, f'the server failed ({status}): its log says why')}")
        return Prediction(str(file), "unanswered", [])
    if response.status_code == 413:
        return Prediction(str(file), "bad_image", [])
    try:
        (result,) = response.json()["results"]
        faces = [_answer(face) for face in result["faces"]]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{url}: {_tell(response)}: is this a `fer serve`?") from None
    outcome = {"uncertain": "ok", "too_large": "bad_image"}.get(result["outcome"], result["outcome"])
    return Prediction(str(file), outcome, faces)


def _post(session: requests.Session, url: str, data: bytes, model: str) -> requests.Response | None:
    """One request, None if it took too long; a server that is busy is asked again when it said."""
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
        except requests.ReadTimeout:
            return None
        except requests.RequestException as error:
            reason = type(error).__name__
            raise SetupError(f"{url}: no answer ({reason}): start the server with `fer serve RUN`") from None
        if response.status_code not in AGAIN or time.monotonic() > until:
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
