"""The application of `fer review` serves what the manifests name, and writes down what it said it would."""

import csv
import errno
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.browser import running
from support.pictures import draw_portrait
from support.reviewed import make_home, name, open_session

from fer_pipeline.__main__ import main
from fer_pipeline.config.schema import SplitConfig
from fer_pipeline.dataset.decisions import DECISIONS, Decision, read_decisions
from fer_pipeline.dataset.rows import MANIFEST, read_rows, write_rows
from fer_pipeline.review.app import make_app
from fer_pipeline.review.decision_log import Log
from fer_pipeline.review.pictures import Memory
from fer_pipeline.review.session import ReviewSession
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.split import SPLIT
from fer_pipeline.vision.image_io import read_image, write_image

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "data" / "mine")


@pytest.fixture
def session(home: Path) -> ReviewSession:
    return open_session(home)


@pytest.fixture
def client(session: ReviewSession) -> Iterator[httpx.Client]:
    with running(make_app(session)) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def place_of(session: ReviewSession, image: str) -> int:
    return session.catalogue.places[image]


def order(client: httpx.Client, action: str, *places: int, since: int = 0, **fields: Any) -> Any:
    token = client.get("/api/data").json()["token"]
    body = {"token": token, "action": action, "places": places, **fields}
    return client.post(f"/api/decisions?since={since}", json=body)


def actions(home: Path) -> dict[str, str]:
    return {image: one.action for image, one in read_decisions(home).items()}


def refused(answer: Any, code: int, told: str) -> None:
    assert (answer.status_code, told in answer.text) == (code, True), answer.text


NO_FACE, COPY, CLASH = f"smile/{name(903)}", f"smile/{name(901)}", f"smile/{name(902)}"
FIRST, SECOND = f"pout/{name(0)}", f"pout/{name(1)}"


# --- what is there


def test_every_image_is_there_once_where_its_way_ended(client: httpx.Client, session: ReviewSession) -> None:
    about = client.get("/api/data").json()
    assert (about["total"], about["labels"], about["name"]) == (17, ["pout", "smile"], "mine")
    rows = client.get("/api/rows", params={"token": about["token"], "start": 0, "count": 100}).json()
    fates = [(row[2], row[3]) for row in rows]
    assert fates.count(("crop", "")) == 12
    assert {fate for fate in fates if fate[1]} == {
        ("unify", "unreadable"), ("dedupe", "copy"), ("dedupe", "conflicting_labels"), ("filter", "no_face")
    }  # fmt: skip
    assert len({row[0] for row in rows}) == 17
    pages = [client.get("/api/rows", params={"token": about["token"], "start": start, "count": 10}).json()
             for start in (0, 10)]  # fmt: skip
    assert [*pages[0], *pages[1]] == rows


def test_photos_that_were_not_cut_yet_can_be_reviewed(home: Path) -> None:
    (home / "crops" / MANIFEST).unlink()
    session = open_session(home)
    assert {item.stage for item in session.catalogue.items if not item.reason} == {"filter"}
    assert all(item.picture == item.photo for item in session.catalogue.items)


def test_the_source_is_told_as_text_and_only_web_addresses_are_links(
    client: httpx.Client, session: ReviewSession
) -> None:
    token = session.catalogue.token
    plain = client.get(f"/api/images/{token}/{place_of(session, FIRST)}").json()
    assert plain["link"].startswith("https://photos.example.org/pout/")
    hostile = client.get(f"/api/images/{token}/{place_of(session, NO_FACE)}").json()
    assert (hostile["link"], hostile["source"]["url"]) == ("", "javascript:alert(1)")


def test_each_session_before_a_camera_is_a_source_of_its_own(home: Path) -> None:
    rows = read_rows(home / "crops")
    sessions = [{"engine": "webcam", "name": f"webcam:2026-11-2{number % 2}"} for number in range(len(rows))]
    write_rows(home / "crops", [row.replace(source=source) for row, source in zip(rows, sessions, strict=True)])
    assert {"webcam:2026-11-20", "webcam:2026-11-21"} < set(open_session(home).describe()["sources"])


def test_those_alike_are_told_of_each_other(client: httpx.Client, session: ReviewSession) -> None:
    told = client.get(f"/api/images/{session.catalogue.token}/{place_of(session, COPY)}").json()
    assert sorted(told["group"]) == sorted([place_of(session, COPY), place_of(session, f"smile/{name(5)}")])


def test_opinions_of_audit_and_model_are_shown_also_after_a_move(home: Path) -> None:
    for folder, table, lines in (
        ("mine-audit", "audit.csv", [("path", "quality", "is_issue", "suggested"),
                                     (f"train/{FIRST}.png", "0.01", "1", "smile"), ("", "x", "", "")]),
        ("mine", "predictions.csv", [("path", "predicted", "confidence"), (f"test/{SECOND}.png", "smile", "0.7"),
                                     ("test/smile/00000000000e.png", "pout", "nan")]),
    ):  # fmt: skip
        (home.parent.parent / "runs" / folder).mkdir(parents=True)
        with (home.parent.parent / "runs" / folder / table).open("w", newline="") as file:
            csv.writer(file).writerows(lines)
    session = open_session(home)
    assert session.opinions[FIRST][:3] == (0.01, True, "smile")
    assert session.opinions[SECOND][3:] == (0.7, "smile")
    assert (session.describe()["audited"], session.describe()["judged"]) == (True, True)


# --- pictures


def test_pictures_are_those_of_the_manifests(client: httpx.Client, session: ReviewSession, home: Path) -> None:
    token, place = session.catalogue.token, place_of(session, FIRST)
    thumb = client.get(f"/thumb/{token}/{place}")
    assert (thumb.content, thumb.headers["content-type"]) == (
        (home / "crops" / f"{FIRST}.png").read_bytes(),
        "image/png",
    )
    assert "immutable" in thumb.headers["cache-control"]
    photo = client.get(f"/photo/{token}/{place}")
    assert photo.content == (home / "unified" / f"{FIRST}.jpg").read_bytes()
    whole = client.get(f"/thumb/{token}/{place}?whole=1")
    assert read_image(whole.content).shape == (60, 90, 3)


def test_pictures_in_memory_are_bounded_by_their_bytes_and_the_last_asked_for_stay() -> None:
    memory, made = Memory(100), []

    def make(size: int) -> tuple[bytes, str]:
        made.append(size)
        return bytes(size), "image/png"

    for size in (40, 50, 40, 30, 40, 50):
        assert len(memory.get(size, partial(make, size))[0]) == size
        assert memory.size <= 100
    assert made == [40, 50, 30, 50]
    memory.get(200, partial(make, 200))
    assert memory.size == 0


def test_a_file_that_nobody_looked_at_is_never_sent_as_it_is(client: httpx.Client, session: ReviewSession) -> None:
    place = place_of(session, "smile/broken")
    for address in (f"/thumb/{session.catalogue.token}/{place}", f"/photo/{session.catalogue.token}/{place}"):
        answer = client.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert b"svg" not in answer.content


def test_a_picture_that_is_gone_is_missing_without_a_path(
    client: httpx.Client, session: ReviewSession, home: Path
) -> None:
    (home / "crops" / f"{FIRST}.png").unlink()
    answer = client.get(f"/thumb/{session.catalogue.token}/{place_of(session, FIRST)}")
    refused(answer, 404, "no such image")
    assert str(home) not in answer.text


def test_a_link_out_of_the_data_folders_shows_nothing(
    client: httpx.Client, session: ReviewSession, home: Path, tmp_path: Path
) -> None:
    """Data of a stranger may hold links, to a file or in place of a folder."""
    secret = tmp_path / "secret"
    write_image(secret / f"{name(0)}.jpg", draw_portrait(1, "pout")[0])
    token, place = session.catalogue.token, place_of(session, FIRST)
    photo = home / "unified" / f"{FIRST}.jpg"
    photo.unlink()
    photo.symlink_to(secret / f"{name(0)}.jpg")
    for address in ("photo", "thumb", "api/face"):
        refused(client.get(f"/{address}/{token}/{place}"), 404, "no such image")
    photo.unlink()
    (home / "unified" / "pout").rename(tmp_path / "away")
    (home / "unified" / "pout").symlink_to(secret)
    refused(client.get(f"/photo/{token}/{place}"), 404, "no such image")


@pytest.mark.parametrize("path", [
    "/thumb/{token}/99999", "/photo/{token}/-1", "/photo/{token}/..%2f..%2fmanifest.jsonl", "/own/../app.py",
    "/own/%2e%2e/app.py", "/static/..%2fserver.py", "/api/images/{token}/100",
])  # fmt: skip
def test_nothing_else_is_served(client: httpx.Client, session: ReviewSession, path: str) -> None:
    answer = client.get(path.format(token=session.catalogue.token))
    assert answer.status_code in {404, 422}


def test_old_addresses_say_that_the_data_changed(client: httpx.Client, session: ReviewSession) -> None:
    refused(client.get("/thumb/0000/1"), 409, "reload")
    refused(client.get("/api/rows?token=0000&start=0&count=1"), 409, "reload")


def test_a_crop_is_shown_before_it_is_decided(client: httpx.Client, session: ReviewSession) -> None:
    address = f"/preview/{session.catalogue.token}/{place_of(session, NO_FACE)}"
    shown = client.get(f"{address}?box=10&box=10&box=50&box=50")
    assert read_image(shown.content).shape == (32, 32, 3)
    refused(client.get(f"{address}?box=900&box=900&box=950&box=950"), 404, "no crop")
    assert client.get(f"{address}?box=nan&box=0&box=1&box=1").status_code == 422


def test_the_crop_that_was_shown_is_the_crop_that_split_makes(
    client: httpx.Client, session: ReviewSession, home: Path
) -> None:
    place = place_of(session, NO_FACE)
    shown = client.get(f"/preview/{session.catalogue.token}/{place}?box=10&box=10&box=50&box=50").content
    assert order(client, "keep", place, box=[10, 10, 50, 50]).status_code == 200
    run_stage(SPLIT, SplitConfig(input=home / "crops", output=home / "split", test_share=0.25))
    row = next(row for row in read_rows(home / "split") if "brought_back" in row.attributes)
    assert (home / "split" / str(row.split) / row.path).read_bytes() == shown


def test_a_face_that_was_missed_is_guessed(client: httpx.Client, session: ReviewSession, home: Path) -> None:
    address = f"/api/face/{session.catalogue.token}/{place_of(session, NO_FACE)}"
    assert client.get(address).json() == {"box": None}
    write_image(home / "unified" / f"{NO_FACE}.jpg", draw_portrait(3, side=240)[0])
    left, top, right, bottom = client.get(address).json()["box"]
    assert left < 120 < right
    assert top < 100 < bottom


# --- decisions


def test_what_was_decided_is_in_the_file_before_the_answer(
    client: httpx.Client, session: ReviewSession, home: Path
) -> None:
    first, second = place_of(session, FIRST), place_of(session, SECOND)
    answer = order(client, "drop", first, second).json()
    assert answer["decisions"] == [[first, "drop", "", 2], [second, "drop", "", 3]]
    order(client, "move", first, label="smile")
    assert actions(home) == {FIRST: "move", SECOND: "drop"}
    assert (home / DECISIONS).read_text().startswith("time,path,action,label,box,by\n20")


def test_keeping_what_a_stage_dropped_brings_it_back(client: httpx.Client, session: ReviewSession, home: Path) -> None:
    order(client, "keep", place_of(session, FIRST), place_of(session, CLASH))
    assert actions(home) == {FIRST: "keep", CLASH: "restore"}


def test_a_photo_without_a_face_needs_a_box(client: httpx.Client, session: ReviewSession, home: Path) -> None:
    place = place_of(session, NO_FACE)
    refused(order(client, "keep", place), 422, "draw a box around the face first")
    refused(order(client, "move", place, label="pout"), 422, "draw a box")
    for box in ([500, 500, 600, 600], [1, 1, 5, 5], [9, 9, 1, 1], [-900, -900, 900, 900]):
        refused(order(client, "keep", place, box=box), 422, "outside the photo")
    assert order(client, "drop", place).status_code == 200
    assert order(client, "keep", place, box=[-5, 10, 70, 90.04]).status_code == 200
    assert read_decisions(home)[NO_FACE].box == (-5, 10, 70, 90)  # a face may reach beyond its photo


def test_what_has_no_picture_cannot_come_back(client: httpx.Client, session: ReviewSession, home: Path) -> None:
    broken = place_of(session, "smile/broken")
    refused(order(client, "keep", place_of(session, FIRST), broken), 422, "no face can be cut out of it")
    assert actions(home) == {}
    assert order(client, "drop", broken).status_code == 200


def test_undo_gives_back_what_was_before(client: httpx.Client, session: ReviewSession, home: Path) -> None:
    place = place_of(session, FIRST)
    order(client, "keep", place)
    line = order(client, "drop", place).json()["decisions"][0][3]
    assert order(client, "undo", place, lines=[line]).json()["decisions"] == [[place, "keep", "", 2]]
    assert actions(home) == {FIRST: "keep"}


def test_an_undo_does_not_undo_what_somebody_else_decided(
    client: httpx.Client, session: ReviewSession, home: Path
) -> None:
    place = place_of(session, FIRST)
    line = order(client, "drop", place).json()["decisions"][0][3]
    Log(home).append([Decision(f"{FIRST}.png", "keep")])
    refused(order(client, "undo", place, lines=[line]), 409, "another decision was made since")
    assert actions(home) == {FIRST: "keep"}


@pytest.mark.parametrize("fields", [
    {"action": "restore"}, {"action": "delete"}, {"action": "move"}, {"action": "move", "label": "../x"},
    {"action": "move", "label": "a/b"}, {"action": "move", "label": "\u202e"}, {"action": "drop", "label": "smile"},
    {"action": "drop", "places": []}, {"action": "drop", "places": ["1"]}, {"action": "drop", "places": [-1]},
    {"action": "keep", "box": [1, 2, 3]}, {"action": "keep", "box": [0, 0, float("inf"), 1]},
    {"action": "drop", "more": 1},    {"action": "drop", "places": [99_999]},
])  # fmt: skip
def test_what_makes_no_sense_is_refused(client: httpx.Client, home: Path, fields: dict[str, Any]) -> None:
    token = client.get("/api/data").json()["token"]
    body = {"token": token, "places": [0], **fields}
    text = json.dumps(body)
    answer = client.post("/api/decisions?since=0", content=text, headers={"content-type": "application/json"})
    assert answer.status_code in {404, 422}, answer.text
    assert actions(home) == {}


def test_pages_of_other_sites_decide_nothing(client: httpx.Client, session: ReviewSession, home: Path) -> None:
    token = client.get("/api/data").json()["token"]
    body = {"token": token, "action": "drop", "places": [0]}
    foreign = client.post("/api/decisions?since=0", json=body, headers={"origin": "https://evil.example"})
    assert (foreign.status_code, actions(home)) == (403, {})
    assert client.get("/api/data", headers={"host": "evil.example"}).status_code == 400


def test_only_what_is_new_is_told(client: httpx.Client, session: ReviewSession, home: Path) -> None:
    order(client, "drop", place_of(session, FIRST))
    seen = client.get("/api/news?since=0").json()
    assert (seen["line"], seen["all"], len(seen["decisions"])) == (2, True, 1)
    Log(home).append([Decision(f"{SECOND}.png", "keep"), Decision("gone/1.png", "drop")])
    fresh = client.get("/api/news", params={"since": 2, "rewritten": seen["rewritten"]}).json()
    assert (fresh["all"], fresh["decisions"]) == (False, [[place_of(session, SECOND), "keep", "", 3]])
    (home / DECISIONS).unlink()
    again = client.get("/api/news", params={"since": 4, "rewritten": seen["rewritten"]}).json()
    assert (again["all"], again["decisions"]) == (True, [])


def test_a_file_edited_into_garbage_is_told_by_its_line(
    client: httpx.Client, session: ReviewSession, home: Path
) -> None:
    (home / DECISIONS).write_text("time,path,action,label,box,by\n\nnonsense\n")
    refused(client.get("/api/news?since=0"), 422, "decisions.csv:3: not a line")
    body = {"token": session.catalogue.token, "action": "drop", "places": [0]}
    refused(client.post("/api/decisions?since=0", json=body), 422, "decisions.csv:3")


def test_a_full_disk_is_told_and_nothing_kept(
    client: httpx.Client, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    refused(order(client, "drop", 0), 507, "No space left on device: make room")
    assert actions(home) == {}


def test_a_stage_made_anew_is_noticed(client: httpx.Client, session: ReviewSession, home: Path) -> None:
    before = client.get("/api/data").json()
    write_rows(home / "crops", read_rows(home / "crops")[1:])
    assert client.get("/api/news?since=0").json()["token"] != before["token"]
    assert client.get("/api/data").json()["total"] == before["total"] - 1
    body = {"token": before["token"], "action": "drop", "places": [0]}
    refused(client.post("/api/decisions?since=0", json=body), 409, "reload")


def test_while_a_stage_is_made_anew_the_images_stay_and_then_the_new_ones_come(
    client: httpx.Client, session: ReviewSession, home: Path
) -> None:
    before = client.get("/api/data").json()
    rows = read_rows(home / "crops")
    (home / "crops" / MANIFEST).unlink()
    write_rows(home / "unique", read_rows(home / "unique"))
    assert client.get("/api/data").json() == before
    write_rows(home / "crops", rows[1:])
    assert client.get("/api/data").json()["total"] == before["total"] - 1


def test_a_stage_that_was_not_there_when_the_page_began_is_noticed(home: Path) -> None:
    (home / "crops").rename(home.parent / "crops")
    with running(make_app(open_session(home))) as url, httpx.Client(base_url=url, timeout=30) as client:
        assert client.get("/api/data").json()["stages"] == ["unify", "dedupe", "filter"]
        (home.parent / "crops").rename(home / "crops")
        assert client.get("/api/data").json()["stages"] == ["unify", "dedupe", "filter", "crop"]


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Inode, time and bytes of every file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_reviewing_writes_nothing_but_the_decisions_whatever_lies_beside_them(
    client: httpx.Client, session: ReviewSession, home: Path
) -> None:
    for file in ("notes.txt", "crops/mine.png", "unified/.mine.part", "smile.jpg"):
        (home / file).write_bytes(b"mine")
    before = snapshot(home)
    token, place = session.catalogue.token, place_of(session, NO_FACE)
    order(client, "drop", place_of(session, FIRST), place_of(session, SECOND))
    order(client, "move", place_of(session, FIRST), label="smile")
    order(client, "undo", place_of(session, SECOND))
    for address in (f"/thumb/{token}/{place}", f"/photo/{token}/{place}", f"/api/face/{token}/{place}", "/api/data"):
        assert client.get(address).status_code == 200
    client.get(f"/preview/{token}/{place}", params={"box": [10, 10, 40, 40]})
    after = snapshot(home)
    assert {Path(path).name for path in after if after[path] != before.get(path)} <= {DECISIONS, ".decisions.lock"}
    assert before.keys() <= after.keys()


# --- the command


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The applications that would be served."""
    apps: list[Any] = []

    def serve(app: Any, bound: Any, title: str, **_: Any) -> None:
        bound.close()
        apps.append((title, app))

    monkeypatch.setattr("fer_pipeline.web.server.serve", serve)
    return apps


@pytest.mark.parametrize("below", ["", "crops"])
def test_a_data_folder_or_a_stage_in_it_is_reviewed(home: Path, served: list[Any], below: str) -> None:
    assert main(["review", str(home / below), "--port", "0"]) == 0
    assert [title for title, _ in served] == ["review"]


def test_a_configuration_is_reviewed(home: Path, tmp_path: Path, served: list[Any]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"name: mine\ndata: {home.parent}\n")
    assert main(["review", "--config", str(config), "--port", "0"]) == 0
    assert len(served) == 1


@pytest.mark.parametrize(("arguments", "told"), [
    ([], "name a data folder, or an experiment by --config"),
    (["nowhere"], "nowhere: no such folder"),
    (["."], "no finished stage to review: run `fer clean`"),
])  # fmt: skip
def test_what_cannot_be_reviewed_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["review", *arguments, "--port", "0"]) in {1, 2}
    assert told in capsys.readouterr().err
