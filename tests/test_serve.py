"""Promises of `fer_pipeline.serve`: the API."""

import asyncio
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image
from support.hostile import predict_or_fail, slow_jpeg
from support.pictures import draw_noise
from support.served import ask_json, draw_people, fer_serve, predict, serving, write_run
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from fer_pipeline.errors import InputError, SetupError
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.serve.limits import Full, Gate, Limits, TooLarge
from fer_pipeline.serve.service import Model, Service
from fer_pipeline.sources.sample.junk import to_jpeg
from fer_pipeline.web.frames import Newest


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return write_run(folder / "lips"), write_run(folder / "other", labels=("no", "yes"), seed=5)


@pytest.fixture(scope="module")
def url(runs: tuple[Path, Path]) -> Iterator[str]:
    with serving(*runs, max_bytes=300_000, max_files=3, max_pixels=1_000_000) as address:
        yield address


def test_a_photo_is_answered_as_fer_predict_answers_it(url: str, runs: tuple[Path, Path]) -> None:
    photo = draw_people(2)
    (result,) = ask_json(predict(url, photo))["results"]
    pixels = np.asarray(Image.open(io.BytesIO(photo)))
    expected = Predictor(runs[0]).predict(pixels).faces
    assert result == {"path": "0.jpg", "outcome": "ok", "width": 480, "height": 320, "faces": result["faces"]}
    assert len(expected) == 2
    for got, known in zip(result["faces"], expected, strict=True):
        assert got["box"] == list(known.box)
        assert got["probabilities"] == pytest.approx(known.probabilities, abs=1e-4)


def test_clients_of_the_usual_tutorials_are_answered(url: str) -> None:
    photo = draw_people()
    face = predict(url, photo).json()["results"][0]["faces"][0]
    for path in ("/predict", "/upload"):
        answer = requests.post(f"{url}{path}", files={"file": ("me.jpg", photo)}, timeout=60)
        assert answer.status_code == 200, answer.text
    assert answer.json() == {"prediction": face["guess"], "confidence": face["confidence"]}
    nobody = requests.post(f"{url}/upload", files={"file": ("x.jpg", to_jpeg(draw_noise(1, 200, 200), 90))}, timeout=60)
    assert nobody.status_code == 422
    assert nobody.json()["detail"].startswith("no_face: ")


def test_several_pictures_are_answered_in_their_order(url: str) -> None:
    blank = io.BytesIO()
    Image.new("RGB", (300, 300), "white").save(blank, "PNG")
    answer = predict(url, draw_people(1), b"no picture", blank.getvalue())
    assert answer.status_code == 200
    assert [one["outcome"] for one in ask_json(answer)["results"]] == ["ok", "bad_image", "no_face"]


def test_one_raw_picture_is_a_body(url: str) -> None:
    answer = requests.post(f"{url}/predict", data=draw_people(1), headers={"content-type": "image/jpeg"}, timeout=60)
    assert [one["outcome"] for one in ask_json(answer)["results"]] == ["ok"]


def test_a_model_is_chosen_by_its_run(url: str) -> None:
    (result,) = ask_json(predict(url, draw_people(1), model="other"))["results"]
    assert set(result["faces"][0]["probabilities"]) == {"no", "yes"}
    assert predict(url, draw_people(1), model="third").status_code == 404


def test_bad_pictures_are_outcomes_not_errors(url: str) -> None:
    truncated = draw_people(1)[:2000]
    for picture in (b"", b"GIF89a", truncated, b"\xff\xd8\xff\xe0" + bytes(300), b"<svg/>"):
        answer = predict(url, picture)
        assert answer.status_code == 422, picture[:8]
        assert ask_json(answer)["results"][0]["outcome"] == "bad_image"


def test_a_decompression_bomb_is_refused_undecoded(url: str) -> None:
    answer = predict(url, png_of(60_000, 60_000))
    assert answer.status_code == 422
    assert ask_json(answer)["results"][0]["outcome"] == "too_large"


def png_of(width: int, height: int) -> bytes:
    """A small file that claims a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    )


def test_too_many_bytes_are_refused_while_they_come(url: str) -> None:
    """The server answers although the client never sends the rest."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sendall(b"%x\r\n" % 310_000 + bytes(310_000) + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_declared_length_over_the_limit_is_refused_at_once(url: str) -> None:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_too_many_files_are_refused(url: str) -> None:
    answer = predict(url, *[b"x"] * 4)
    assert answer.status_code == 413
    assert "3 pictures" in ask_json(answer)["detail"]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"", 400),
        ("multipart/form-data; boundary=x", b"", 400),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nab',
            400,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="q"\r\n\r\nab\r\n--x--\r\n',
            422,
        ),
        ("multipart/form-data; boundary=x", b"garbage", 400),
    ],
)
def test_a_body_that_is_no_upload_says_so(url: str, kind: str, body: bytes, status: int) -> None:
    answer = requests.post(f"{url}/predict", data=body, headers={"content-type": kind}, timeout=60)
    assert answer.status_code == status
    assert ask_json(answer)["detail"]


def test_a_file_name_is_only_told_back(url: str) -> None:
    name = "../../etc/\u7b11<script>.jpg"
    answer = requests.post(f"{url}/predict", files={"files": (name, draw_people(1))}, timeout=60)
    assert ask_json(answer)["results"][0]["path"].endswith(".jpg")


def head_of(length: int) -> bytes:
    return b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length


def connect_to(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60)


@pytest.mark.slow
def test_a_full_server_says_when_to_come_again(runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_pipeline.serve.service.predict_picture", predict_or_fail)
    with serving(runs[0], queue=1, timeout=600) as url:
        with connect_to(url) as first:
            first.sendall(head_of(4) + b"hold")
            while "fer_queue_requests 1.0" not in requests.get(f"{url}/metrics", timeout=60).text:
                pass
            answer = predict(url, b"x")
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
        while "fer_queue_requests 0.0" not in requests.get(f"{url}/metrics", timeout=60).text:
            pass
        assert requests.get(f"{url}/readyz", timeout=60).status_code == 200


def test_those_who_send_slowly_take_no_place_from_others(runs: tuple[Path, Path]) -> None:
    with serving(runs[0], queue=1) as url, connect_to(url) as slow, connect_to(url) as slower:
        for one in (slow, slower):
            one.sendall(head_of(9).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
            assert one.recv(100).startswith(b"HTTP/1.1 100 ")  # the server reads its body now
            one.sendall(b"x")
        assert predict(url, b"x").status_code == 422
        slow.sendall(bytes(8))
        assert slow.recv(100).startswith(b"HTTP/1.1 422 ")


@pytest.mark.slow
def test_an_upload_that_takes_too_long_is_told_so(runs: tuple[Path, Path]) -> None:
    with serving(runs[0], upload=0.2) as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as slow:
            slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")


@pytest.mark.slow
def test_a_picture_that_kills_its_process_costs_only_itself(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_pipeline.serve.service.predict_picture", predict_or_fail)
    with serving(runs[0], timeout=600) as url, ThreadPoolExecutor(3) as clients:
        pictures = [b"die", draw_people(1), draw_people(1, 1)]
        outcomes = clients.map(lambda picture: ask_json(predict(url, picture))["results"][0]["outcome"], pictures)
        assert list(outcomes) == ["bad_image", "no_face", "no_face"]


@pytest.mark.slow
def test_less_confident_answers_are_uncertain(runs: tuple[Path, Path]) -> None:
    with serving(runs[0], uncertain=1.0) as url:
        (result,) = ask_json(predict(url, draw_people(1)))["results"]
        assert result["outcome"] == "uncertain"
        assert result["faces"][0]["label"] == "uncertain"


@pytest.mark.slow
def test_faces_unlike_training_are_unknown_and_the_limit_is_told(tmp_path: Path) -> None:
    with serving(write_run(tmp_path / "strange", known=0.95)) as url:
        (result,) = ask_json(predict(url, draw_people(1)))["results"]
        face = result["faces"][0]
        assert (result["outcome"], face["label"]) == ("unknown", "unknown")
        assert face["guess"] in face["probabilities"]
        (model,) = ask_json(requests.get(f"{url}/version", timeout=60))["models"]
        assert face["distance"] > model["unknown"] == 1


def test_health_version_and_metrics_tell_what_runs(url: str) -> None:
    predict(url, draw_people(1))
    assert requests.get(f"{url}/readyz", timeout=60).status_code == 200
    version = requests.get(f"{url}/version", timeout=60).json()
    assert [model["name"] for model in version["models"]] == ["lips", "other"]
    assert len(version["models"][0]["sha256"]) == 64
    text = requests.get(f"{url}/metrics", timeout=60).text
    for name in ("fer_requests_total", "fer_request_seconds_bucket", "fer_queue_requests"):
        assert name in text
    assert 'fer_pictures_total{outcome="ok"}' in text


def test_the_example_shows_three_faces(url: str) -> None:
    example = requests.get(f"{url}/example.jpg", timeout=60)
    (result,) = ask_json(predict(url, example.content))["results"]
    assert len(result["faces"]) == 3


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Host": "rebound.example"}, 400),
        ("POST", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("GET", {"Origin": "http://evil.example"}, 200),
    ],
)
def test_pages_of_other_sites_cannot_ask(url: str, method: str, headers: dict[str, str], status: int) -> None:
    path = "/version" if method == "GET" else "/predict"
    answer = requests.request(method, url + path, headers=headers, data=b"" if method == "POST" else None, timeout=60)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_our_pages_load_nothing_from_elsewhere(url: str) -> None:
    page = requests.get(url, timeout=60)
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert requests.get(f"{url}/own/../app.py", timeout=60).status_code == 404
    assert requests.get(f"{url}/docs", timeout=60).status_code == 404


def test_below_a_path_of_a_proxy_every_address_of_the_page_answers(runs: tuple[Path, Path]) -> None:
    with serving(runs[0], root="/fer") as url:
        for base in (f"{url}/fer/", f"{url}/"):  # the proxy left the path, or cut it off
            seen, left = set[str](), {base}
            while left:
                address = left.pop()
                seen.add(address)
                answer = requests.get(address, timeout=60)
                assert answer.status_code == 200, address
                if address.endswith((".css", ".svg", ".jpg")):
                    continue
                named = re.findall(r"""(?:src|href|from|fetch\()\s*=?\s*["']([^"'#:]+)["']""", answer.text)
                left |= {urljoin(address if name[0] == "." else base, name) for name in named if "." in name} - seen
            assert {f"{base}own/serve.js", f"{base}static/language.js", f"{base}own/line.js"} <= seen
            assert requests.get(f"{base}version", timeout=60).json()["models"]
            prediction = requests.post(f"{base}predict", data=draw_people(1), timeout=60).json()
            assert prediction["results"][0]["outcome"] == "ok"
            with connect(f"ws{base[4:]}live") as line:
                line.send(draw_people(1))
                assert json.loads(line.recv(timeout=60))
        bare = requests.get(f"{url}/fer", timeout=60, allow_redirects=False)
        assert (bare.status_code, bare.headers["location"]) == (307, "/fer/")


@pytest.mark.slow
def test_no_request_makes_the_server_fail(url: str) -> None:
    """What schemathesis makes of the OpenAPI description: no answer is a server's error, all follow the description."""
    import schemathesis
    from schemathesis.core.result import Ok

    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=25, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        def check(case: schemathesis.Case[Any]) -> None:
            response = case.call(base_url=url)
            assert response.status_code < 500
            case.validate_response(response, checks=[schemathesis.checks.not_a_server_error])

        check()


def test_live_frames_are_answered_and_models_switched(url: str) -> None:
    with connect(url.replace("http", "ws") + "/live") as socket:
        socket.send(draw_people(1))
        first = json.loads(socket.recv(timeout=60))
        assert (first["frame"], first["outcome"], first["model"]) == (0, "ok", "lips")
        socket.send(json.dumps({"model": "other"}))
        socket.send(b"no picture")
        second = json.loads(socket.recv(timeout=60))
        assert (second["frame"], second["outcome"], second["model"]) == (1, "bad_image", "other")
        for text in ("[", '{"model": "third"}', '{"model": []}', "[" * 5000):
            socket.send(text)
            assert "detail" in json.loads(socket.recv(timeout=60))


def test_a_live_connection_from_another_site_is_refused(url: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(url.replace("http", "ws") + "/live", origin=Origin("http://evil.example"))


def test_the_newest_frame_wins() -> None:
    newest = Newest()
    for number in range(5):
        newest.put(number, b"%d" % number)
    assert asyncio.run(newest.get()) == (4, b"4")
    assert newest.overtaken == 4


def test_the_gate_counts_requests_and_bytes() -> None:
    gate = Gate(Limits(queue=2, max_bytes=10, all_bytes=15))
    with gate.load() as first, gate.load() as second:
        with gate.place(), gate.place():
            with pytest.raises(Full), gate.place():
                pass
            with pytest.raises(Full), gate.load():
                pass
        first.add(10)
        with pytest.raises(TooLarge):
            first.add(1)
        with pytest.raises(Full):
            second.add(6)
    assert (gate.requests, gate.bytes) == (0, 0)


@pytest.mark.slow
def test_requests_in_flight_finish_when_the_server_is_stopped(runs: tuple[Path, Path]) -> None:
    with fer_serve(str(runs[0])) as (process, url), ThreadPoolExecutor(1) as client:
        assert requests.get(f"{url}/readyz", timeout=60).status_code == 200
        parts = urlsplit(url)
        body = draw_people(1)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60) as slow:
            head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
            slow.sendall(head % len(body))
            assert slow.recv(100).startswith(b"HTTP/1.1 100 ")
            process.send_signal(signal.SIGTERM)
            refused = threading.Event()

            def wait_until_it_listens_no_more() -> None:
                end = time.monotonic() + 60
                while not refused.is_set() and time.monotonic() < end:
                    try:
                        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60).close()
                    except OSError:
                        refused.set()

            client.submit(wait_until_it_listens_no_more).result(timeout=120)
            assert refused.is_set()
            slow.sendall(body)
            assert slow.recv(100).startswith(b"HTTP/1.1 200 ")
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing"], "run `fer train` first"),
        (["lips", "--root-path", "fer?"], "write it as /fer"),
        pytest.param(["lips", "lips"], "served already", marks=pytest.mark.slow),
        pytest.param(["lips", "--host", "no.such.host.invalid"], "no such address", marks=pytest.mark.slow),
    ],
)
def test_mistakes_are_told_in_one_line(runs: tuple[Path, Path], arguments: list[str], told: str) -> None:
    command = [sys.executable, "-m", "fer_pipeline", "serve", *arguments]
    done = subprocess.run(command, cwd=runs[0].parent, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in {1, 2}
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_is_named_by_its_folder_and_a_name_of_its_own(runs: tuple[Path, Path], tmp_path: Path) -> None:
    model = runs[0] / "model.onnx"
    for name in ("model.onnx", "model.int8.onnx", "best.onnx"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(model.read_bytes())
    files = ("", "model.int8.onnx", "best.onnx")
    assert [Model(tmp_path / "mine" / file).name for file in files] == ["mine", "mine-int8", "mine-best"]


@pytest.mark.slow
def test_a_camera_without_frames_gives_its_place_to_another(runs: tuple[Path, Path]) -> None:
    with serving(runs[0], connections=1, idle=0.5) as url:
        limits = requests.get(f"{url}/version", timeout=60).json()["limits"]
        assert (limits["cameras"], limits["idle"]) == (1, 0.5)
        assert isinstance(limits["cameras"], int), "a count is no 1.0"
        address = url.replace("http", "ws") + "/live"
        with connect(address) as first, connect(address) as second:
            assert "connected already" in second.recv(timeout=60)
            for line, code in ((second, 1013), (first, 4000)):
                with pytest.raises(ConnectionClosed) as closed:
                    line.recv(timeout=60)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == code
        with connect(address) as third:
            third.send(draw_people(1))
            assert json.loads(third.recv(timeout=60))["outcome"] == "ok"


def write_graph(folder: Path, run: Path, nodes: list[Any]) -> Path:
    """A copy of a run whose graph is another: the nodes make `probabilities` of `crops`."""
    import onnx

    model = onnx.load(str(run / "model.onnx"))
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("crops", kinds.UINT8, ["count", 32, 32, 3])],
        [helper.make_tensor_value_info("probabilities", kinds.FLOAT, None)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.helper.set_model_props(made, {one.key: one.value for one in model.metadata_props})
    folder.mkdir()
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return folder


def means(*after: Any) -> list[Any]:
    """Nodes that give the mean of a crop as its one column, `means`, and more nodes."""
    import onnx

    node, kinds = onnx.helper.make_node, onnx.TensorProto
    axes = onnx.helper.make_tensor("axes", kinds.INT64, [2], [1, 2])
    reduced = [node("Cast", ["crops"], ["floats"], to=kinds.FLOAT), node("Constant", [], ["axes"], value=axes)]
    return [*reduced, node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0), *after]


def endless_on_bright_crops() -> list[Any]:
    """Nodes that call all classes equal for a blank crop, and loop for ever on any other."""
    import onnx

    helper, kinds = onnx.helper, onnx.TensorProto
    node, value = helper.make_node, helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["again"], ["again_out"]), node("Identity", ["rows"], ["rows_out"])],
        "body",
        [value("round", kinds.INT64, []), value("again", kinds.BOOL, []), value("rows", kinds.FLOAT, None)],
        [value("again_out", kinds.BOOL, []), value("rows_out", kinds.FLOAT, None)],
    )
    return means(
        node("Softmax", ["means"], ["even"]),
        node("ReduceMax", ["means"], ["top"], keepdims=0),
        node("Constant", [], ["zero"], value=helper.make_tensor("zero", kinds.FLOAT, [], [0.0])),
        node("Greater", ["top", "zero"], ["bright"]),
        node("Loop", ["", "bright", "even"], ["probabilities"], body=body),
    )


def test_a_graph_that_does_not_end_costs_its_picture_and_neither_other_models_nor_the_stop(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    three = write_run(tmp_path / "three", labels=("a", "b", "c"))
    endless = write_graph(tmp_path / "endless", three, endless_on_bright_crops())
    with serving(endless, runs[0], workers=2, timeout=4) as url, ThreadPoolExecutor(2) as clients:
        held = clients.submit(predict, url, draw_people(1), model="endless")
        assert ask_json(predict(url, draw_people(1), model="lips"))["results"][0]["outcome"] == "ok"
        assert ask_json(held.result())["results"][0]["outcome"] == "bad_image"
        clients.submit(predict, url, draw_people(1), model="endless")  # still at work when the server stops


@pytest.mark.parametrize(("labels", "function"), [("ab", "Softmax"), ("abc", "Log"), ("abc", "Exp")])
def test_a_model_that_gives_no_probabilities_is_told_in_one_line(
    runs: tuple[Path, Path], tmp_path: Path, labels: str, function: str
) -> None:
    """Three columns for two labels; minus infinity of a blank crop; infinity of a bright one."""
    import onnx

    nodes = means(onnx.helper.make_node(function, ["means"], ["probabilities"]))
    broken = write_graph(tmp_path / "broken", write_run(tmp_path / "run", labels=labels), nodes)
    with pytest.raises(InputError, match="a probability for each of its"):
        Predictor(broken).predict(draw_people(1))
    if function != "Exp":
        with pytest.raises(SetupError, match="a probability for each of its"):
            Service([broken], Limits(), 1).start()
        return
    with serving(broken, runs[0]) as url:
        answer = predict(url, draw_people(1))
        assert (answer.status_code, ask_json(answer)["detail"]) == (
            500,
            "the model cannot be used: see the server's log",
        )
        assert predict(url, draw_people(1), model="lips").status_code == 200


def memory_mb(process: "subprocess.Popen[str]", kind: str) -> float:
    """Memory of a server without its workers in MB: VmRSS now, VmHWM at most."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition(f"{kind}:")[2].split()[0]) / 1000


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc on this system")


@pytest.mark.slow
@needs_proc
def test_the_pictures_of_clients_that_left_are_held_no_longer(runs: tuple[Path, Path]) -> None:
    with fer_serve(str(runs[0]), "--workers", "1", "--timeout", "600") as (process, url):
        assert predict(url, b"x").status_code == 422
        before = memory_mb(process, "VmRSS")
        body = slow_jpeg()  # one that keeps the worker busy, and others that wait for it
        for number in range(1, 21):
            with connect_to(url) as client:
                client.sendall(head_of(len(body)) + body)
                while "fer_queue_requests 1.0" not in requests.get(f"{url}/metrics", timeout=60).text:
                    pass
            left = f'status="499"}} {number}.0'
            while left not in requests.get(f"{url}/metrics", timeout=60).text:
                pass
            body = bytes(20_000_000)
        assert memory_mb(process, "VmRSS") < before + 100


@pytest.mark.slow
@needs_proc
def test_the_head_of_a_request_takes_no_memory_without_bounds(runs: tuple[Path, Path]) -> None:
    with fer_serve(str(runs[0])) as (process, url):
        assert predict(url, b"x").status_code == 422
        before = memory_mb(process, "VmHWM")
        for more in (b"X: 1\r\n" * 10_000, b"x" * 60_000):
            with connect_to(url) as client, suppress(OSError):
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
                for _ in range(1000):
                    client.sendall(more)
        assert memory_mb(process, "VmHWM") < before + 30
        assert predict(url, b"x").status_code == 422


def test_a_form_of_endless_small_parts_is_refused_at_its_first_hundreds(url: str) -> None:
    """The answer comes although most of the form was never sent."""
    for part in (b"", b"x" * 70_000):
        with connect_to(url) as client:
            kind = b"\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
            client.sendall(head_of(290_000).replace(b"\r\n\r\n", kind))
            one = b'--x\r\nContent-Disposition: form-data; name="q"\r\n\r\n' + part + b"\r\n"
            client.sendall(one if part else one * 200)
            assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_body_in_crumbs_is_refused_and_one_in_small_chunks_is_not(url: str) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect_to(url) as client:
        client.sendall(head + b"1\r\nx\r\n" * 2000)
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    with connect_to(url) as client:
        client.sendall(head + (b"64\r\n" + b"x" * 100 + b"\r\n") * 2000 + b"0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 422 ")


def test_connections_that_send_no_request_are_closed_and_a_camera_is_not(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_pipeline.web.server.HEAD_TIME", 0.5)
    with serving(runs[0]) as url, connect(url.replace("http", "ws") + "/live") as camera:
        with connect_to(url) as silent, connect_to(url) as slow, connect_to(url) as again:
            slow.sendall(b"GET / HTTP/1.1\r\nX:")
            again.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert again.recv(1000).startswith(b"HTTP/1.1 200 ")
            again.sendall(b"GET /healthz HTTP/1.1\r\nX:")
            for one in (silent, slow, again):
                with suppress(ConnectionResetError):
                    assert one.recv(100) == b""
        camera.send(draw_people(1))
        assert json.loads(camera.recv(timeout=60))["outcome"] == "ok"


@pytest.mark.slow
def test_more_connections_than_a_usual_limit_of_open_files_take_no_place(runs: tuple[Path, Path]) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4000:
        pytest.skip("this system allows few open files")
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # what the server inherits
        _, url = stack.enter_context(fer_serve(str(runs[0])))
        resource.setrlimit(resource.RLIMIT_NOFILE, (4000, hard))
        for _ in range(1100):
            stack.enter_context(connect_to(url))
        assert predict(url, b"x").status_code == 422
