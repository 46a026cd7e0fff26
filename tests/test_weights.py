"""The packaged models are found without importing the package that brings them."""

import importlib.util
import sys
from pathlib import Path

import pytest

from fer_pipeline.errors import SetupError
from fer_pipeline.vision.weights import CNN_DETECTOR, EMBEDDING, LANDMARKS, find_weights


@pytest.mark.parametrize("name", [LANDMARKS, EMBEDDING, CNN_DETECTOR])
def test_the_packaged_models_are_there(name: str) -> None:
    assert find_weights(name).stat().st_size > 100_000
    assert "face_recognition_models" not in sys.modules


def test_a_model_of_the_users_own_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "mine.dat"
    path.write_bytes(b"x")
    assert find_weights(LANDMARKS, path, "crop.landmarks") == path


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match="pip install face_recognition_models"):
        find_weights(LANDMARKS)
