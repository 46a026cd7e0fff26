"""Photos without a face are dropped; where the faces are goes on with the rest."""

from pathlib import Path

import pytest
from support.pictures import draw_pair, draw_portrait, draw_view, list_files, make_folder

from fer_pipeline.config.loader import load_config
from fer_pipeline.config.schema import FilterConfig
from fer_pipeline.dataset.rows import MANIFEST, Status, read_rows
from fer_pipeline.errors import SetupError
from fer_pipeline.pipeline import format_summary
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.image_io import read_image
from fer_pipeline.vision.landmarks import detect_faces


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_folder(
        tmp_path / "in",
        {"a/face.jpg": draw_portrait(1)[0], "a/pair.jpg": draw_pair(1), "a/view.jpg": draw_view(1)},
    )


@pytest.mark.parametrize("detector", ["haar", "hog", "yunet"])
def test_photos_with_a_face_stay_and_others_say_no_face(source: Path, detector: str) -> None:
    output = source.parent / "out"
    run_stage(FILTER, FilterConfig.model_validate({"input": source, "output": output, "detector": detector}))
    rows = {row.path: (row.status, row.reason) for row in read_rows(output)}
    assert rows == {
        "a/face.jpg": (Status.KEPT, ""),
        "a/pair.jpg": (Status.KEPT, ""),
        "a/view.jpg": (Status.DROPPED, "no_face"),
    }
    assert (output / "a/face.jpg").samefile(source / "a/face.jpg")
    assert not (output / "a/view.jpg").exists()


def test_every_face_is_noted_the_largest_first(source: Path) -> None:
    config = FilterConfig(input=source, output=source.parent / "out", sides=(480,))
    run_stage(FILTER, config)
    row = next(row for row in read_rows(config.output) if row.path == "a/pair.jpg")
    faces = row.attributes["faces"]
    assert len(faces) == 2
    assert row.box == Box(*faces[0][:4])
    assert row.box.area > Box(*faces[1][:4]).area
    found = detect_faces(read_image(source / "a/pair.jpg"), config)
    assert faces == [[*face.box, face.score] for face in found]


def test_without_a_detector_every_photo_stays_whole(source: Path) -> None:
    run_stage(FILTER, FilterConfig(input=source, output=source.parent / "out", detector="none"))
    rows = {row.path: row for row in read_rows(source.parent / "out")}
    assert {row.status for row in rows.values()} == {Status.KEPT}
    assert rows["a/pair.jpg"].box == Box(0, 0, 480, 320)


def test_a_missing_model_stops_the_stage_before_the_first_photo(source: Path) -> None:
    before = list_files(source)
    with pytest.raises(SetupError, match=r"filter.weights"):
        run_stage(FILTER, FilterConfig(input=source, output=source.parent / "out", weights=source / "none.onnx"))
    assert not (source.parent / "out" / MANIFEST).exists()
    assert list_files(source) == before


def test_a_face_that_only_the_second_detector_finds_says_so_and_is_counted(source: Path) -> None:
    config = FilterConfig(input=source, output=source.parent / "out", detector="haar", sides=(16,), second="yunet")
    summary = run_stage(FILTER, config)
    looks = {row.path: row.attributes.get("second_look") for row in read_rows(config.output)}
    assert looks == {"a/face.jpg": "yunet", "a/pair.jpg": "yunet", "a/view.jpg": None}
    assert summary.second_look == 2
    assert any("face of 2 was found by the second detector" in line for line in format_summary(summary))


@pytest.mark.parametrize(("faces", "every"), [("largest", False), ("all", True), ("single", True)])
def test_where_all_faces_count_the_filter_looks_on_as_predict_does(tmp_path: Path, faces: str, every: bool) -> None:
    path = tmp_path / "fer.yaml"
    path.write_text(f"name: x\ncrop: {{faces: {faces}}}\n")
    assert load_config(path).filter.every is every
