"""Promises of `fer_pipeline.serve` about pictures that fail, crash or hold the process they are in."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from support.hostile import predict_or_fail, slow_jpeg
from support.served import PREPROCESSING, ask_json, fer_serve, predict, serving, write_run
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from fer_pipeline.workers.picture_pool import PictureFailed, Pool


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "lips")


def use(workers: int, timeout: float, talk: Callable[[Pool], Awaitable[None]]) -> list[str]:
    """What failed while a pool was talked to."""
    failures: list[str] = []

    async def follow() -> None:
        pool = Pool(workers, (list,), timeout, failures.append)
        try:
            await pool.warm()
            await talk(pool)
        finally:
            pool.close()

    asyncio.run(follow())
    return failures


async def outcomes(pool: Pool, *pictures: bytes) -> list[str]:
    async def outcome(picture: bytes) -> str:
        try:
            return (await pool.run(predict_or_fail, picture)).outcome
        except PictureFailed:
            return "failed"

    return await asyncio.gather(*map(outcome, pictures))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_picture_that_fails_or_crashes_costs_only_itself(workers: int) -> None:
    async def talk(pool: Pool) -> None:
        pictures = [b"a", b"die", b"b", b"c", b"memory", b"assert", b"die", *[b"d"] * 9]
        failing = {b"die", b"memory", b"assert"}
        assert await outcomes(pool, *pictures) == ["failed" if one in failing else "no_face" for one in pictures]

    assert sorted(use(workers, 60, talk)) == ["died", "died", "raised", "raised"]


@pytest.mark.slow
def test_a_picture_that_holds_its_process_costs_only_itself() -> None:
    async def talk(pool: Pool) -> None:
        assert await outcomes(pool, b"a", b"hold", b"b", b"c") == ["no_face", "failed", "no_face", "no_face"]

    assert use(1, 2, talk) == ["late"]


@pytest.mark.slow
def test_a_pool_is_closed_at_once_although_a_process_is_at_work() -> None:
    async def talk(pool: Pool) -> None:
        held = asyncio.ensure_future(pool.run(predict_or_fail, b"hold"))
        await asyncio.sleep(0)  # handed out
        pool.close()
        with pytest.raises(asyncio.CancelledError):
            await held

    assert use(1, 600, talk) == []


@pytest.mark.slow
def test_what_no_client_waits_for_any_more_is_not_begun() -> None:
    async def talk(pool: Pool) -> None:
        async with asyncio.timeout(60):  # a hundred of them would take minutes
            waiting = [asyncio.ensure_future(pool.run(predict_or_fail, b"hold")) for _ in range(100)]
            await asyncio.sleep(0)
            for one in waiting:
                one.cancel()
            assert await outcomes(pool, b"a") == ["no_face"]

    assert set(use(1, 2, talk)) == {"late"}


def test_what_a_picture_raises_is_an_outcome_and_is_counted(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fer_pipeline.serve.service.predict_picture", predict_or_fail)
    with serving(run) as url:
        answer = predict(url, b"assert", b"fine")
        assert answer.status_code == 200
        assert [one["outcome"] for one in ask_json(answer)["results"]] == ["bad_image", "no_face"]
        assert 'fer_pictures_failed_total{reason="raised"} 1.0' in requests.get(f"{url}/metrics", timeout=60).text
    told = capsys.readouterr().err
    assert told.splitlines() == ["a picture of 6 bytes is a bad image: AssertionError: !ssize.empty() in resize"]


@pytest.mark.slow
def test_a_frame_that_fails_or_holds_its_process_is_answered_and_so_is_the_next(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_pipeline.serve.service.predict_picture", predict_or_fail)
    with serving(run, timeout=4) as url, connect(url.replace("http", "ws") + "/live") as line:
        for frame, outcome in ((b"hold", "bad_image"), (b"assert", "bad_image"), (b"a", "no_face")):
            line.send(frame)
            assert json.loads(line.recv(timeout=60))["outcome"] == outcome
        assert 'fer_pictures_failed_total{reason="late"} 1.0' in requests.get(f"{url}/metrics", timeout=60).text


@pytest.mark.slow
def test_a_live_connection_that_cannot_be_answered_is_closed(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fer_pipeline.serve.service.predict_picture", predict_or_fail)
    with serving(run) as url, connect(url.replace("http", "ws") + "/live") as line:
        line.send(b"setup")
        with pytest.raises(ConnectionClosedError) as closed:
            line.recv(timeout=60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
    assert "live: SetupError: the landmarks went away" in capsys.readouterr().err


def wait_for(url: str, text: str) -> None:
    """Until the metrics say so."""
    end = time.monotonic() + 120
    while text not in requests.get(f"{url}/metrics", timeout=60).text:
        assert time.monotonic() < end, f"never {text}"


@pytest.mark.slow
def test_a_client_that_left_is_counted_and_its_picture_does_not_keep_a_server_from_stopping(run: Path) -> None:
    body = slow_jpeg()
    with fer_serve(str(run), "--workers", "1", "--timeout", "600") as (process, url):
        parts = urlsplit(url)
        head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as client:
            client.sendall(head + body)
            wait_for(url, "fer_queue_requests 1.0")
        wait_for(url, "fer_queue_requests 0.0")
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as client:
            client.sendall(head + body[:1000])
        wait_for(url, 'fer_requests_total{route="/predict",status="499"} 2.0')
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.slow
def test_missing_weights_are_told_in_one_line_before_any_address_is(tmp_path: Path) -> None:
    preprocessing = PREPROCESSING.model_copy(
        update={"cut": PREPROCESSING.cut.model_copy(update={"landmarks": tmp_path / "gone.dat"})}
    )
    run = write_run(tmp_path / "lips", preprocessing=preprocessing)
    command = [sys.executable, "-m", "fer_pipeline", "serve", str(run), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr == f"fer: {tmp_path}/gone.dat: no such model file: fix the setting crop.landmarks\n"
