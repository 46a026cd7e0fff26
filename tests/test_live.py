"""Promises of `fer live`, `fer predict --url` and what they share."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.loopback import Reply, Web
from support.pictures import draw_portrait
from support.served import draw_people, serving, write_run

from fer_pipeline.__main__ import main
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.serve.smoothing import Tracker, overlap
from fer_pipeline.serve.video_writer import annotate, open_output
from fer_pipeline.sources.sample import LABELS
from fer_pipeline.vision.boxes import Box

BOX, FAR = Box(0, 0, 100, 100), Box(300, 0, 400, 100)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "lips")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of one drawn person, who is gone in the last frame."""
    path = tmp_path_factory.mktemp("video") / "me.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 4, (320, 320))
    frame = np.ascontiguousarray(draw_portrait(3, "smile")[0][:, :, ::-1])
    for _ in range(7):
        writer.write(frame)
    writer.write(np.full_like(frame, 200))
    writer.release()
    return path


def test_a_video_becomes_a_table_with_a_row_per_face(run: Path, video: Path, tmp_path: Path) -> None:
    table = tmp_path / "seen.csv"
    assert main(["live", str(run), "--video", str(video), "--output", str(table)]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [int(row["frame"]) for row in rows] == list(range(7))
    assert {row["face"] for row in rows} == {"1"}
    assert sum(float(rows[-1][label]) for label in LABELS) == pytest.approx(1, abs=1e-3)
    assert float(rows[4]["seconds"]) == 1.0


def test_a_video_becomes_an_annotated_video(run: Path, video: Path, tmp_path: Path) -> None:
    output = tmp_path / "seen.mp4"
    assert main(["live", str(run), "--video", str(video), "--output", str(output), "--every", "2"]) == 0
    capture = cv2.VideoCapture(str(output))
    frames = [frame for there, frame in iter(capture.read, (False, None)) if there]
    assert len(frames) == 4
    blue = np.abs(frames[1].astype(int) - (206, 99, 11)).max(axis=2) < 60
    assert blue.sum() > 200  # the box and the label's ground
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("name", ["seen.csv", "seen.avi"])
def test_a_film_without_a_frame_replaces_nothing_and_leaves_nothing(
    run: Path, video: Path, tmp_path: Path, name: str
) -> None:
    output = tmp_path / name
    output.write_text("mine")
    asked = ["live", str(run), "--video", str(video), "-o", str(output), "--force"]
    assert main([*asked, "--seconds", "0.1"]) == 0  # so that the command itself is not at fault below
    output.write_text("mine")
    headless = tmp_path / "headless.avi"
    headless.write_bytes(empty_film(tmp_path / "made.avi"))
    assert main([*asked[:3], str(headless), *asked[4:]]) == 1
    assert output.read_text() == "mine"
    assert not list(tmp_path.glob(".part-*"))


def empty_film(path: Path) -> bytes:
    """A film that opens and holds no frame."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 4, (320, 320))
    writer.write(np.zeros((320, 320, 3), np.uint8))
    writer.release()
    data = path.read_bytes()
    return data[: data.index(b"movi") + 4]  # the header alone


def test_an_exception_leaves_the_older_output_and_nothing_beside_it(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "seen.csv"
    output.write_text("mine")
    with pytest.raises(ZeroDivisionError), open_output(output, Predictor(run), 4):
        raise ZeroDivisionError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"seen.csv": "mine"}


def test_a_camera_slower_than_the_film_is_written_at_its_own_speed(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "seen.avi"
    with open_output(output, Predictor(run), 20) as writer:
        for number, moment in enumerate((0, 0.1, 0.11, 0.5, 1)):
            writer.write(number, moment, np.zeros((64, 64, 3), np.uint8), [])
    film = cv2.VideoCapture(str(output))
    frames = [frame for there, frame in iter(film.read, (False, None)) if there]
    assert len(frames) == 21


def test_a_model_that_is_uncertain_says_so_in_table_and_film(video: Path, tmp_path: Path) -> None:
    cautious, table = write_run(tmp_path / "cautious", uncertain=1.0), tmp_path / "seen.csv"
    assert main(["live", str(cautious), "--video", str(video), "-o", str(table), "--seconds", "0.2"]) == 0
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert row["outcome"] == "uncertain"
    assert row["label"] in LABELS
    sure, frame = write_run(tmp_path / "sure", uncertain=0.0), np.zeros((320, 320, 3), np.uint8)
    (track,) = Tracker().update(0, [(Box(100, 100, 200, 200), np.array([0.7, 0.1, 0.1, 0.1, np.nan]))])
    plain, asked = (annotate(frame, [track], Predictor(one)) for one in (sure, cautious))
    assert (plain != asked).any()


def test_a_face_unlike_training_is_unknown_in_table_and_film(video: Path, tmp_path: Path) -> None:
    strange, table = write_run(tmp_path / "strange", known=0.95), tmp_path / "seen.csv"
    assert main(["live", str(strange), "--video", str(video), "-o", str(table), "--seconds", "0.2"]) == 0
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert row["outcome"] == "unknown"
    assert row["label"] in LABELS
    frame, predictor = np.zeros((320, 320, 3), np.uint8), Predictor(strange)
    films = []
    for distance in (0.9, 1.1):
        (track,) = Tracker().update(0, [(Box(100, 100, 200, 200), np.array([0.7, 0.1, 0.1, 0.1, distance]))])
        films.append(annotate(frame, [track], predictor))
    assert (films[0] != films[1]).any()


def test_seconds_end_a_video_early(run: Path, video: Path, tmp_path: Path) -> None:
    table = tmp_path / "seen.csv"
    assert main(["live", str(run), "--video", str(video), "-o", str(table), "--seconds", "0.5"]) == 0
    assert len(list(csv.DictReader(table.read_text().splitlines()))) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--video", "none.mp4", "-o", "x.csv"], "no such file"),
        (["--video", "empty.mp4", "-o", "x.csv"], "not a video"),
        (["--video", "me.avi", "-o", "x.gif"], ".mp4, .avi"),
        (["--camera", "77", "-o", "x.csv"], "camera 77 cannot be opened"),
        (["--video", "me.avi", "-o", "./me.avi"], "that is the video itself"),
        (["--video", "me.avi", "-o", "kept.csv"], "add --force"),
    ],
)
def test_mistakes_are_told_in_one_line(
    run: Path,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.mp4").write_bytes(b"")
    Path("me.avi").write_bytes(video.read_bytes())
    Path("kept.csv").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["live", str(run), *arguments]) in {1, 2}
    assert told in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_face_keeps_its_number_while_it_moves_a_little() -> None:
    tracker = Tracker()
    shares = np.array([1.0, 0.0])
    (first,) = tracker.update(0, [(BOX, shares)])
    near, far = tracker.update(0.1, [(Box(20, 0, 120, 100), shares), (FAR, shares)])
    assert (first.number, near.number, far.number) == (1, 1, 2)
    assert 0 < near.box.left < 20
    assert near.last.left == 20
    (again,) = tracker.update(5, [(BOX, shares)])
    assert again.number == 3  # nobody remembers it for so long


def test_a_box_follows_a_head_within_a_tenth_of_a_second_and_keeps_its_number() -> None:
    """At 10 frames a second a head that crosses the picture moves by two thirds of itself a frame."""
    tracker, shares = Tracker(window=0.5), np.array([1.0, 0.0])
    for step in range(6):
        (track,) = tracker.update(step / 10, [(Box(60 * step, 0, 60 * step + 100, 100), shares)])
    assert track.number == 1
    assert 300 - track.box.left < 30  # half a second's average was 240 behind


def test_probabilities_are_averaged_over_the_window() -> None:
    tracker = Tracker(window=0.5)
    tracker.update(0, [(BOX, np.array([1.0, 0.0]))])
    (track,) = tracker.update(0.5, [(BOX, np.array([0.0, 1.0]))])
    assert track.answer == pytest.approx([np.exp(-1), 1 - np.exp(-1)])
    unsmoothed = Tracker(window=0)
    unsmoothed.update(0, [(BOX, np.array([1.0, 0.0]))])
    (track,) = unsmoothed.update(0.1, [(BOX, np.array([0.0, 1.0]))])
    assert list(track.answer) == [0, 1]


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(BOX, BOX) == 1
    assert overlap(BOX, FAR) == 0
    assert overlap(BOX, Box(50, 0, 150, 100)) == pytest.approx(1 / 3)


def test_a_server_answers_fer_predict_as_the_run_would(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "people.jpg").write_bytes(draw_people(2))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with serving(run) as url:
        assert main(["predict", "--url", url, str(tmp_path), "--json"]) == 0
    asked = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["predict", str(run), str(tmp_path), "--json"]) == 0
    own = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["outcome"] for one in asked] == [one["outcome"] for one in own] == ["bad_image", "ok"]
    for got, known in zip(asked[1]["faces"], own[1]["faces"], strict=True):
        assert got["probabilities"] == pytest.approx(known["probabilities"], abs=1e-4)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(b"<html>", kind="text/html"), "is this a `fer serve`?"),
        (Reply(b'{"detail": "no model of that name"}', 404, "application/json"), "no model of that name"),
    ],
)
def test_an_odd_server_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: Reply, told: str) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with Web({"/predict": reply}) as web:
        assert main(["predict", "--url", web.url, str(tmp_path)]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "told"),
    [(504, "larger --timeout"), (500, "its log says why"), (408, "larger --upload")],
)
def test_a_photo_that_is_not_answered_ends_no_run_but_fails_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, told: str
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(b"x")
    answer = Reply(b'{"model": "lips", "results": [{"outcome": "no_face", "faces": []}]}', 200, "application/json")
    trouble = Reply(b'{"detail": "trouble"}', status, "application/json")
    with Web({"/predict": lambda time: trouble if time == 1 else answer}) as web:
        assert main(["predict", "--url", web.url, str(tmp_path), "--json"]) == 1
    said = capsys.readouterr()
    assert sorted(json.loads(line)["outcome"] for line in said.out.splitlines()) == ["no_face", "no_face", "unanswered"]
    assert told in said.err
    assert "not answered: 1 of 3 photos" in said.err


def test_a_server_that_a_proxy_does_not_find_or_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    answer = Reply(b'{"model": "lips", "results": [{"outcome": "no_face", "faces": []}]}', 200, "application/json")
    wait = {"Retry-After": "0"}
    with Web({"/predict": lambda time: Reply(b"", [502, 503][time - 1], headers=wait) if time < 3 else answer}) as web:
        assert main(["predict", "--url", web.url, str(tmp_path)]) == 0
        assert len(web.asked) == 3


def test_what_the_server_settles_is_not_asked_for(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    for arguments in ([str(tmp_path), "--crops"], [str(tmp_path), "--uncertain", "0.9"], [str(run), str(tmp_path)]):
        assert main(["predict", "--url", "http://127.0.0.1:9", *arguments]) == 2
        assert "server" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert main(["predict", "--url", "http://127.0.0.1:9", str(tmp_path)]) == 1
    assert "start the server" in capsys.readouterr().err
    assert main(["predict", "--url", "127.0.0.1:9", str(tmp_path)]) == 2
