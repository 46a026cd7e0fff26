"""`fer predict --url`: get predictions from a server."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from fer_pipeline import console
from fer_pipeline.errors import InputError, SetupError, UsageError
from fer_pipeline.models.prediction import Prediction
from fer_pipeline.serve.schema import PredictResponse

AT_ONCE = 4
RETRY_TIME = 60.0  # seconds for which a busy server, or one that a proxy does not find, is asked again
RETRIED = {502, 503}
FAILURES = {
    408: "the upload was too slow: try again, or serve with a larger --upload",
    502: "the proxy found no server: is one running?",
    503: "the server stayed busy: try again later",
    504: "the server took too long: send a smaller photo, or serve with a larger --timeout",
}
TIMEOUT = 120.0


def predict_at(url: str, files: Sequence[Path], model: str = "") -> Iterator[Prediction]:
    """Yield the predictions for some files, in their order; raises SetupError if no server answers.

    A file that gets no answer is `unanswered` and noted; InputError is raised after the last file.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url {url}: write it as http://127.0.0.1:8000")
    with requests.Session() as session, ThreadPoolExecutor(AT_ONCE) as threads:
        unanswered = 0
        for prediction in threads.map(lambda file: _predict(session, url.rstrip("/"), file, model), files):
            unanswered += prediction.outcome == "unanswered"
            yield prediction
    if unanswered:
        raise InputError(
            f"{url}: not answered: {unanswered} of {console.counted(len(files), 'photo')}: predict them again"
        )


def _predict(session: requests.Session, url: str, file: Path, model: str) -> Prediction:
    try:
        data = file.read_bytes()
    except OSError:
        return Prediction(path=str(file), outcome="bad_image")
    response = _post(session, url, data, model)
    if response is None or response.status_code == 408 or response.status_code >= 500:
        status = 504 if response is None else response.status_code
        console.note(f"{file}: {FAILURES.get(status, f'the server failed ({status}): its log says why')}")
        return Prediction(path=str(file), outcome="unanswered")
    if response.status_code == 413:
        return Prediction(path=str(file), outcome="too_large")
    try:
        (prediction,) = PredictResponse.model_validate_json(response.content).results
    except ValueError:  # pydantic's ValidationError, or another number of results
        raise InputError(f"{url}: {_reason(response)}: is this a `fer serve`?") from None
    return prediction.model_copy(update={"path": str(file)})


def _post(session: requests.Session, url: str, data: bytes, model: str) -> requests.Response | None:
    """Send one request, again if the server is busy; None if it took too long."""
    until = time.monotonic() + RETRY_TIME
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
        if response.status_code not in RETRIED or time.monotonic() > until:
            return response
        wait = response.headers.get("retry-after", "1")
        time.sleep(min(float(wait), 10) if wait.isdecimal() else 1)


def _reason(response: requests.Response) -> str:
    """What the server said in place of predictions, in a few words."""
    try:
        return str(response.json()["detail"])[:200]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}, not a prediction"
