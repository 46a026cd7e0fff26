"""Promises of `fer collect`: what is kept of a camera's frames, and that no crash, copy or second session harms it."""

import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from support.browser import running
from support.killed import run_until, started
from support.pictures import draw_noise, draw_view, list_files, make_folder
from support.webcam import draw_crop, draw_frame, to_jpeg
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from fer_pipeline.__main__ import main
from fer_pipeline.config.schema import Config, Preprocessing, with_folders
from fer_pipeline.dataset.experiment import of_config
from fer_pipeline.dataset.journal import JOURNAL, Journal
from fer_pipeline.dataset.naming import item_of
from fer_pipeline.dataset.provenance import settings_of, write_provenance
from fer_pipeline.dataset.rows import MANIFEST, read_rows, write_rows
from fer_pipeline.errors import InputError
from fer_pipeline.report.status import read_status
from fer_pipeline.sources.camera.app import make_app
from fer_pipeline.sources.camera.capture_store import CaptureStore
from fer_pipeline.sources.camera.frame_selection import FrameSelector
from fer_pipeline.sources.camera.session import SessionOptions
from fer_pipeline.sources.camera.target import find_labels, find_target
from fer_pipeline.sources.folders import find_in_folder
from fer_pipeline.sources.importers import import_images
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.dedupe import DEDUPE
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.refresh import refresh
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.split import SPLIT
from fer_pipeline.stages.unify import UNIFY

PREPROCESSING = Preprocessing.model_validate(
    {"detector": {"sides": [200]}, "cut": {"scale": "eyes", "align": True, "size": 48}}
)
STAGES = (UNIFY, DEDUPE, FILTER, CROP, SPLIT)


def photo(number: int) -> bytes:
    """A small JPEG like no other."""
    return to_jpeg(draw_noise(number, 64, 64))


# The store: what is written, and what a crash leaves


def test_a_session_is_one_source_and_one_group_of_photos_as_an_import_leaves_them(tmp_path: Path) -> None:
    with CaptureStore(tmp_path / "raw") as store:
        rows = [store.keep(label, photo(number)) for number, label in enumerate(("smile", "smile", "pout"))]
    assert sorted(read_rows(tmp_path / "raw"), key=lambda row: row.path) == sorted(rows, key=lambda row: row.path)
    name = f"webcam:{datetime.now().astimezone():%Y-%m-%d}"
    assert {(row.group, row.source["name"], row.source["engine"]) for row in rows} == {(name, name, "webcam")}
    assert len({row.source["file"] for row in rows}) == 3
    assert all((tmp_path / "raw" / row.path).read_bytes() == photo(n) for n, row in enumerate(rows))
    assert [path.name for path in (tmp_path / "raw").iterdir() if path.is_file()].count(JOURNAL) == 0


KEEP = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_camera import photo
from fer_pipeline.sources.camera.capture_store import CaptureStore
with CaptureStore(Path(sys.argv[1])) as store:
    for number in range(3):
        store.keep("smile", photo(number))
    print("kept", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_killed_server_loses_no_photo_and_the_next_one_adds_to_them(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw", {"pout/000000000000.jpg": draw_noise(9)}, source={"name": "web"})
    write_provenance(raw, {"stage": "raw"})
    command = [sys.executable, "-c", KEEP, str(raw), str(Path(__file__).parent)]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "kept\n"
        process.send_signal(signal.SIGKILL)
    assert len(read_rows(raw)) == 1, "usable as it was before"
    assert find_labels(find_target(raw.parent, None)) == ["pout", "smile"]
    (raw / "smile/.123456789abc.jpg.part").write_bytes(b"half a photo, as a kill while writing leaves it")
    with CaptureStore(raw) as store:
        assert store.counts == {"smile": 3}, "the same session goes on"
        store.keep("smile", photo(3))
    rows = read_rows(raw)
    assert len(rows) == 5
    assert all((raw / row.path).is_file() for row in rows)
    assert len({row.group for row in rows if row.label == "smile"}) == 1
    assert not (raw / JOURNAL).exists()


def test_after_a_long_pause_or_on_demand_another_session_begins(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    with CaptureStore(raw) as store:
        first = store.keep("smile", photo(1)).group
        store.end()
        second = store.keep("smile", photo(2)).group
        assert (store.counts, store.before) == ({"smile": 1}, {"smile": 1})
    with CaptureStore(raw) as store:
        assert store.keep("smile", photo(3)).group == second
    assert second == f"{first}-2"
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    write_rows(raw, [row.replace(source={**row.source, "time": long_ago}) for row in read_rows(raw)])
    with CaptureStore(raw) as store:
        assert store.keep("smile", photo(4)).group == f"{first}-3"


def test_a_session_that_was_ended_is_not_gone_on_with_after_a_restart(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    with CaptureStore(raw) as store:
        first = store.keep("smile", photo(1)).group
        store.end()
    with CaptureStore(raw) as store:
        assert (store.session, store.before) == (None, {"smile": 1})
        assert store.keep("smile", photo(2)).group == f"{first}-2"
    with CaptureStore(raw) as store:
        assert store.session == f"{first}-2", "that one was not ended"


def test_what_is_taken_back_leaves_neither_row_nor_file(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    with CaptureStore(raw) as store:
        rows = [store.keep("smile", photo(number)) for number in range(2)]
        store.complete()
        assert store.undo() == rows[1]
        assert store.undo() == rows[0]
        assert store.undo() is None
        assert store.refuse(photo(0)) is None
        store.keep("pout", photo(0))
    assert [row.label for row in read_rows(raw)] == ["pout"]
    assert [path.name for path in raw.rglob("*.jpg")] == [rows[0].path.partition("/")[2]]


def test_the_same_bytes_and_forgotten_ones_are_not_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "data/mine"
    with CaptureStore(home / "raw") as store:
        row = store.keep("smile", photo(1))
        store.keep("smile", photo(2))
        assert store.refuse(photo(1)) == "same"
    assert main(["trace", str(home / "raw" / row.path)]) == 0
    assert f"name: {row.group}" in capsys.readouterr().out
    assert main(["forget", str(home / "raw" / row.path), "--yes"]) == 0
    with CaptureStore(home / "raw") as store:
        assert store.counts == {"smile": 1}
        assert store.refuse(photo(1)) == "forgotten"


def test_no_import_writes_beside_an_open_page(tmp_path: Path) -> None:
    make_folder(tmp_path / "photos", {"smile/1.jpg": draw_noise(1)})
    with CaptureStore(tmp_path / "raw") as store:
        store.keep("smile", photo(2))
        with pytest.raises(InputError, match="another fer command is writing here"):
            import_images(find_in_folder(tmp_path / "photos"), tmp_path / "raw", "photos")
    import_images(find_in_folder(tmp_path / "photos"), tmp_path / "raw", "photos")
    assert (
        len([row for row in read_rows(tmp_path / "raw") if row.source["name"] != "."]) == 3
    )  # with the manifest's row


def test_what_a_killed_import_noted_is_left_for_it_to_finish(tmp_path: Path) -> None:
    files = {f"smile/{number}_{number}.jpg": draw_noise(number) for number in range(2)}
    photos = make_folder(tmp_path / "photos", files)
    (photos / MANIFEST).unlink()
    raw = tmp_path / "raw"
    import_images(find_in_folder(photos, "([0-9])_"), raw, "photos")
    with Journal(raw) as journal:
        first = read_rows(raw)[0]
        journal.append(item_of(first), [first])
    (raw / MANIFEST).unlink()
    with (
        pytest.raises(InputError, match="unfinished crawl or import: let the same command finish first"),
        CaptureStore(raw),
    ):
        pass
    import_images(find_in_folder(photos, "([0-9])_"), raw, "photos")
    assert [row.group for row in sorted(read_rows(raw), key=lambda row: str(row.group))] == ["photos:0", "photos:1"]


# The judge: which crops are worth keeping


def test_another_picture_is_kept_and_the_same_is_not_whatever_the_light() -> None:
    selector, rng = FrameSelector(), np.random.default_rng(0)
    crop = draw_crop(1, "smile", 1)
    noisy = np.clip(crop + rng.normal(0, 4, crop.shape) + 12, 0, 255).astype(np.uint8)
    assert selector.refuse("smile", crop) is None
    assert selector.refuse("smile", noisy) == "same"
    assert selector.refuse("pout", noisy) is None, "of another class"
    assert selector.refuse("smile", draw_crop(1, "smile", 2)) is None
    selector.forget("pout")
    assert selector.refuse("pout", crop) is None, "the first one was taken back"


def test_a_crop_that_is_blurred_for_this_session_is_not_kept() -> None:
    import cv2

    selector = FrameSelector()
    for number in range(6):
        selector.refuse("smile", draw_crop(1, "smile", number))
    soft = np.asarray(cv2.GaussianBlur(draw_crop(1, "smile", 7), (0, 0), 3), np.uint8)
    assert selector.refuse("smile", soft) == "blurred"
    assert selector.refuse("pout", soft) is None, "of another class nothing is known yet"


# The server: frames in, what became of them out


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = SessionOptions(("smile", "pout"), 3, PREPROCESSING)
    with CaptureStore(tmp_path_factory.mktemp("data") / "raw") as store, running(make_app(options, store)) as url:
        yield url


@pytest.fixture
def page(url: str) -> Iterator[ClientConnection]:
    """A connection as the page makes it, in a session of its own."""
    with connect(url.replace("http", "ws") + "/session", open_timeout=60) as socket:
        hear(socket)
        ask(socket, end=True)
        yield socket


def hear(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=60))
    return message


def ask(socket: ClientConnection, **options: Any) -> dict[str, Any]:
    socket.send(json.dumps(options))
    return hear(socket)


def show(socket: ClientConnection, label: str | None, data: bytes) -> dict[str, Any]:
    """Hold a class, send a frame, and hear what became of it."""
    socket.send(json.dumps({"hold": label}))
    socket.send(data)
    return hear(socket)


def test_frames_are_kept_until_the_target_and_each_refusal_is_told(page: ClientConnection, url: str) -> None:
    frames = [to_jpeg(draw_frame(3, "smile", number)) for number in range(5)]
    first = show(page, "smile", frames[0])
    assert (first["outcome"], first["width"], first["height"]) == ("kept", 480, 360)
    left, top, right, bottom = first["boxes"][0]
    assert 0 < left < 240 < right < 480
    assert 0 < top < bottom < 360
    assert show(page, "smile", frames[0])["outcome"] == "same"
    assert show(page, "smile", to_jpeg(draw_view(1)))["outcome"] == "no_face"
    assert show(page, "smile", b"\xff\xd8 rubbish")["outcome"] == "bad_image"
    for frame in frames[1:3]:
        assert show(page, "smile", frame)["outcome"] == "kept"
    last = show(page, "smile", frames[4])
    assert last["outcome"] == "full"
    assert last["state"]["classes"][0]["kept"] == 3
    assert last["state"]["refused"] == {"same": 1, "no_face": 1, "bad_image": 1, "full": 1}
    assert [one["label"] for one in last["state"]["recent"]] == ["smile"] * 3
    with urllib.request.urlopen(f"{url}/crops/{first['photo']}.png", timeout=60) as answer:
        assert PIL.Image.open(answer).size == (48, 48)


def test_what_is_taken_back_on_the_page_may_be_taken_again(page: ClientConnection) -> None:
    frame = to_jpeg(draw_frame(4, "pout", 1))
    assert show(page, "pout", frame)["outcome"] == "kept"
    assert ask(page, undo=True)["state"]["classes"][1]["kept"] == 0
    assert show(page, "pout", frame)["outcome"] == "kept"


def test_a_new_session_has_another_name_and_counts_anew(page: ClientConnection) -> None:
    one = show(page, "pout", to_jpeg(draw_frame(5, "pout", 1)))["state"]
    assert ask(page, end=True)["state"]["session"] is None
    two = show(page, "pout", to_jpeg(draw_frame(5, "pout", 2)))["state"]
    assert one["session"] != two["session"]
    assert two["classes"][1]["kept"] == 1
    assert two["classes"][1]["before"] == one["classes"][1]["before"] + 1


@pytest.mark.slow
def test_a_long_pause_ends_a_session_of_a_server_that_runs_on(tmp_path: Path) -> None:
    options, frame = SessionOptions(("smile",), 1, PREPROCESSING), draw_frame(3, "smile", 1)
    with (
        CaptureStore(tmp_path / "raw", pause=timedelta(0)) as store,
        running(make_app(options, store)) as url,
        connect(url.replace("http", "ws") + "/session", open_timeout=60) as socket,
    ):
        hear(socket)
        one = show(socket, "smile", to_jpeg(frame))["state"]
        two = show(socket, "smile", to_jpeg(frame, 80))
    assert two["outcome"] == "kept", "neither the same as before nor beyond the target"
    assert two["state"]["session"] == f"{one['session']}-2"


@pytest.mark.parametrize(("person", "options"), [(8, {"end": True}), (9, {"undo": True})])
def test_a_frame_on_its_way_is_not_kept_after_what_it_shows_was_ended_or_taken_back(
    page: ClientConnection, person: int, options: dict[str, bool]
) -> None:
    assert show(page, "pout", to_jpeg(draw_frame(person, "pout", 1)))["outcome"] == "kept"
    page.send(to_jpeg(draw_frame(person, "pout", 2)))
    page.send(json.dumps(options))
    told = [hear(page), hear(page)]
    assert told[1]["state"]["classes"][1]["kept"] == 0


def test_a_frame_is_not_taken_while_nothing_is_held(page: ClientConnection) -> None:
    page.send(json.dumps({"hold": None}))
    page.send(to_jpeg(draw_frame(6, "smile", 1)))
    answer = show(page, "smile", to_jpeg(draw_frame(6, "smile", 2)))
    assert answer["frame"] == 1
    assert answer["state"]["classes"][0]["kept"] == 1


@pytest.mark.parametrize("text", ["", "null", "[]", '{"hold": "../../etc"}', '{"hold": 3}', '{"undo": 1}', "[" * 5000])
def test_what_no_page_sends_is_answered_with_what_may_be_sent(page: ClientConnection, text: str) -> None:
    page.send(text)
    assert hear(page)["detail"].startswith("send a frame")


def test_pages_of_other_sites_get_nothing(url: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(url.replace("http", "ws") + "/session", origin=Origin("http://evil.example"), open_timeout=60)


@pytest.mark.parametrize("path", ["/crops/000000000000.png", "/crops/..%2f..%2fetc%2fpasswd", "/own/../session.py"])
def test_only_crops_just_kept_and_the_page_are_served(url: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(url + path, timeout=60)


# The folders after raw


def experiment(home: Path) -> Config:
    """An experiment on pictures that are crops already, so that no detector has to run."""
    settings: dict[str, Any] = {"name": "mine", "data": str(home / "data"), "runs": str(home / "runs")}
    settings |= {"filter": {"detector": "none"}, "crop": {"region": "whole", "size": 32}}
    return Config.model_validate_json(json.dumps(with_folders(settings)))


def make_stages(config: Config) -> None:
    for stage in STAGES:
        run_stage(stage, getattr(config, stage.name))


def test_the_folders_follow_without_force_and_hold_what_a_run_from_the_start_would(tmp_path: Path) -> None:
    config, fresh = experiment(tmp_path / "one"), experiment(tmp_path / "two")
    photos = make_folder(
        tmp_path / "photos",
        {f"{a}/{n}.jpg": draw_noise(10 * i + n, 64, 64) for i, a in enumerate(("pout", "smile")) for n in range(8)},
    )
    (photos / MANIFEST).unlink()
    import_images(find_in_folder(photos), config.crawl.output, "photos")
    make_stages(config)
    before = {row.path: row.split for row in read_rows(config.split.output)}
    for session in (1, 2):
        with CaptureStore(config.crawl.output) as store:
            store.end()
            for number in range(4):
                store.keep("smile" if number % 2 else "pout", photo(100 * session + number))
        assert [summary.stage for summary in refresh(of_config(config))] == [stage.name for stage in STAGES]
    assert not [stand.stale for stand in read_status(config) if stand.stale]
    fresh.crawl.output.parent.mkdir(parents=True)
    fresh.crawl.output.symlink_to(config.crawl.output)
    make_stages(fresh)
    for stage in STAGES:
        one, two = (list_files(getattr(each, stage.name).output) for each in (config, fresh))
        assert one == two
    rows = read_rows(config.split.output)
    parts = {str(row.group): row.split for row in rows if row.source.get("engine") == "webcam"}
    assert [part for _, part in sorted(parts.items())] == ["train", "test"]
    assert {row.path: row.split for row in rows if row.path in before} == before, "a session moves no other image"


GROW = """
import fer_pipeline.stages.refresh as refreshing, fer_pipeline.stages.records as records, fer_pipeline.files as files
from fer_pipeline.dataset.experiment import of_home
count_in(refreshing, records, files)
for _ in refreshing.refresh(of_home(Path(arguments[0]))):
    pass
"""


@pytest.mark.slow
def test_killed_anywhere_the_next_one_brings_the_new_photos_along(tmp_path: Path) -> None:
    config = experiment(tmp_path)
    home, raw = config.crawl.output.parent, config.crawl.output
    with CaptureStore(raw) as store:
        for number in range(4):
            store.keep("smile", photo(number))
            store.keep("pout", photo(10 + number))
            store.end()
    make_stages(config)
    with CaptureStore(raw) as store:
        store.keep("smile", photo(90))
    shutil.copytree(home, tmp_path / "grown")
    ended, step = False, 0
    while not ended:
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "grown", home)
        ended, step = run_until(step, GROW, home), step + 9
        with CaptureStore(raw) as store:
            store.keep("smile", photo(91))
        make_stages(config)
        assert not [stand.stale for stand in read_status(config) if stand.stale]
        fresh = experiment(tmp_path / f"fresh{step}")
        fresh.crawl.output.parent.mkdir(parents=True)
        fresh.crawl.output.symlink_to(raw)
        make_stages(fresh)
        for stage in STAGES:
            left, files = (list_files(getattr(one, stage.name).output) for one in (config, fresh))
            assert left == files, (step, stage.name)
    assert step > 9, "nothing counts its steps"


def test_each_folder_is_brought_up_to_date_by_the_settings_it_was_made_with(tmp_path: Path) -> None:
    config = experiment(tmp_path)
    with CaptureStore(config.crawl.output) as store:
        for number in range(4):
            store.keep("smile", photo(number))
    for stage in (UNIFY, DEDUPE, FILTER):
        run_stage(stage, getattr(config, stage.name))
    run_stage(DEDUPE, config.dedupe.model_copy(update={"hash": "dhash"}))
    with CaptureStore(config.crawl.output) as store:
        store.keep("smile", photo(9))
    done = {summary.stage: summary for summary in refresh(of_config(config))}
    assert list(done) == ["unify", "dedupe", "filter"]
    assert (settings_of(config.filter.output, "dedupe") or {})["hash"] == "dhash"
    assert done["dedupe"].counts == (4, 1, 0)


def test_nothing_is_done_where_no_stage_was_made(tmp_path: Path) -> None:
    config = experiment(tmp_path)
    with CaptureStore(config.crawl.output) as store:
        store.keep("smile", photo(1))
    assert list(refresh(of_config(config))) == []


# The command


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data/mine"], "which classes? Name each by --label"),
        ([], "Name a data folder, as in `fer collect data/mine`"),
        (["data/mine", "--label", "../up"], "must be a plain name"),
        (["file.txt", "--label", "smile"], "a file: name a data folder"),
        (["data/other", "--config", "c.yaml", "--label", "smile"], "is not the data folder of the configuration"),
    ],
)
def test_a_command_that_cannot_work_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.txt").write_text("text")
    Path("c.yaml").write_text("name: mine\n")
    assert main(["collect", *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_serves_until_it_is_stopped_then_brings_the_folders_along(tmp_path: Path) -> None:
    make_folder(
        tmp_path / "photos",
        {f"{a}/{n}.jpg": draw_noise(10 * i + n, 64, 64) for i, a in enumerate(("pout", "smile")) for n in range(4)},
    )
    import_images(find_in_folder(tmp_path / "photos"), tmp_path / "data/mine/raw", "photos")
    config = tmp_path / "c.yaml"
    config.write_text("name: mine\nworkers: 1\nfilter: {detector: none}\ncrop: {region: whole, size: 32}\n")
    command = [sys.executable, "-m", "fer_pipeline", "collect", "--config", "c.yaml", "--port", "0", "--label", "smile"]
    made = [*command[:3], "run", "--config", "c.yaml", "--until", "split"]
    subprocess.run(made, cwd=tmp_path, capture_output=True, check=True, timeout=120)
    with started(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        url = next(line.split()[1] for line in process.stderr if "http://" in line)
        address, _, key = url.replace("http", "ws").partition("/?key=")
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"{address}/session", open_timeout=60)
        shown = {"Authorization": f"Bearer {key}"}
        with connect(f"{address}/session", open_timeout=60, additional_headers=shown) as socket:
            hear(socket)
            assert show(socket, "smile", photo(50))["outcome"] == "kept"
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(60) == 0
    assert "photos of all sessions in data/mine/raw: 1" in said
    assert "split: kept 9 of 9; reused 8, new 1, gone 0" in said
    assert "fer train --config c.yaml --from runs/mine" in said
    assert len([row for row in read_rows(tmp_path / "data/mine/split") if row.source.get("engine") == "webcam"]) == 1
