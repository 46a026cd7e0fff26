"""MediaPipe's face mesh in place of dlib's landmarks."""

from pathlib import Path

import numpy as np
import pytest

from fer_pipeline.errors import SetupError
from fer_pipeline.vision import mesh
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.landmarks import find_landmarks, find_landmarks_in_crop, load_landmarks

CROSSES = {0: (90, 150), 33: (60, 80), 263: (120, 80), 61: (75, 130), 291: (105, 130)}  # point of the mesh: x, y


class Bright:
    """Stands for the network: finds the one bright dot of each channel pair that `draw` put down."""

    def setInput(self, blob: np.ndarray) -> None:  # noqa: N802
        self.seen = blob[0]

    def forward(self, _: str) -> np.ndarray:
        points = np.full((mesh.POINTS, 3), 96.0, np.float32)
        for number, index in enumerate(CROSSES):
            rows, columns = np.nonzero(np.abs(self.seen[0] * 255 - 50 * (number + 1)) < 12)
            if len(rows):
                points[index, :2] = np.median(columns), np.median(rows)
        return points.reshape(1, -1, 1, 1)


def draw() -> np.ndarray:
    photo = np.zeros((220, 180, 3), np.uint8)
    for number, (x, y) in enumerate(CROSSES.values()):
        photo[y - 6 : y + 7, x - 6 : x + 7] = 50 * (number + 1)
    return photo


def test_the_points_come_back_in_pixels_of_the_photo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "face_landmark.tflite"
    file.touch()
    monkeypatch.setattr(mesh, "load_mesh", lambda _: (Bright(), "points"))
    found = find_landmarks(draw(), Box(50, 70, 130, 150), file)
    assert found.shape == (68, 2)
    for index, at in ((36, 33), (45, 263), (48, 61), (54, 291)):
        assert np.abs(found[index] - CROSSES[at]).max() < 2.5, index


def test_every_landmark_stands_at_a_point_of_its_own() -> None:
    assert len(set(mesh.AT_68)) == 68
    assert max(mesh.AT_68) < mesh.POINTS


def test_a_file_that_is_no_mesh_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "mine.tflite"
    file.write_bytes(b"no flatbuffer at all" * 40)
    with pytest.raises(SetupError, match=r"face_landmark\.tflite"):
        load_landmarks(file)


def test_a_mesh_is_not_asked_for_the_mouth_in_a_crop_of_the_lips(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="region=face"):
        find_landmarks_in_crop(np.zeros((96, 96, 3), np.uint8), "lips", tmp_path / "face_landmark.tflite")
