"""Frames of films: at their own times, sharp and different, and a split never parts a film."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.pictures import draw_noise

from fer_pipeline.__main__ import main
from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.vision.films import open_film, read_frames
from fer_pipeline.vision.image_io import Image


def write_film(path: Path, frames: list[Image], rate: float = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
    for frame in frames:
        writer.write(frame[:, :, ::-1])
    writer.release()
    return path


def vary_rate(path: Path, counts: list[tuple[int, int]]) -> None:
    """Give the frames of an mp4 other durations: (how many, in units of one frame of the constant rate)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"stts")
    _, unit = struct.unpack(">II", data[at + 12 : at + 20])
    entries = b"".join(struct.pack(">II", count, units * unit) for count, units in counts)
    more = 8 * (len(counts) - 1)
    data[at + 8 : at + 20] = struct.pack(">I", len(counts)) + entries
    frames, length = sum(count for count, _ in counts), sum(count * units for count, units in counts)
    for box, inside in ((b"elst", 12), (b"mdhd", 20), (b"tkhd", 24), (b"mvhd", 20)):  # where each has its duration
        place = data.index(box) + inside
        (duration,) = struct.unpack(">I", data[place : place + 4])
        data[place : place + 4] = struct.pack(">I", duration * length // frames)
    for box in (b"stts", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        place = data.index(box) - 4
        data[place : place + 4] = struct.pack(">I", struct.unpack(">I", data[place : place + 4])[0] + more)
    path.write_bytes(bytes(data))


def scenes(*seeds: int, each: int = 10) -> list[Image]:
    """For each seed a still picture, shown for some frames; all but one of them blurred."""
    frames = []
    for seed in seeds:
        sharp = draw_noise(seed, 64, 64)
        soft = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 3), np.uint8)
        frames += [sharp if number == each // 2 else soft for number in range(each)]
    return frames


def test_frames_bear_the_times_of_the_file_where_its_rate_varies(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", scenes(1, 2))
    vary_rate(path, [(10, 1), (10, 10)])
    capture, _ = open_film(path)
    times = [round(moment, 3) for _, moment, _ in read_frames(capture)]
    capture.release()
    assert times == pytest.approx([number / 10 for number in range(10)] + [1.0 + number for number in range(10)])


def test_of_every_second_the_sharpest_frame_is_taken_once(tmp_path: Path) -> None:
    film = write_film(tmp_path / "smile" / "ann.mp4", scenes(1, 1, 2))
    assert main(["import", "video", str(film), "--output", str(tmp_path / "raw")]) == 0
    rows = read_rows(tmp_path / "raw")
    assert sorted(row.source["file"] for row in rows) == ["smile/ann.mp4@0.50", "smile/ann.mp4@2.50"]
    assert {(row.label, row.group, row.source["name"]) for row in rows} == {
        ("smile", "film:smile/ann.mp4", "smile/ann.mp4")
    }
    assert main(["import", "video", str(film), "--output", str(tmp_path / "raw")]) == 0
    assert read_rows(tmp_path / "raw") == rows


def test_films_of_a_folder_bear_the_class_of_theirs_and_a_broken_one_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, seed in (("smile", 1), ("pout", 2)):
        write_film(tmp_path / "films" / label / "ann.mp4", scenes(seed))
    (tmp_path / "films" / "pout" / "broken.mp4").write_bytes(b"no film")
    assert main(["import", "video", str(tmp_path / "films"), "--output", str(tmp_path / "raw")]) == 0
    assert {(row.label, row.group) for row in read_rows(tmp_path / "raw")} == {
        ("smile", "film:smile/ann.mp4"),
        ("pout", "film:pout/ann.mp4"),
    }
    assert "broken.mp4: not a video OpenCV can read: convert it to .mp4" in capsys.readouterr().err


def test_what_is_no_film_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "video", str(tmp_path), "--output", str(tmp_path / "raw")]) == 1
    assert "holds no film" in capsys.readouterr().err
