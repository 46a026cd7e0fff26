"""Promises of `import fer_pipeline as fer`: the public functions, and docs/python.md."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.drawn import draw_mouth, write_classes, write_png
from support.pictures import draw_portrait

import fer_pipeline as fer
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.models.prediction import Prediction
from fer_pipeline.sources.folders import find_in_folder
from fer_pipeline.sources.importers import import_images
from fer_pipeline.vision.image_io import read_image, write_image

torch.set_num_threads(1)
PAGE = Path(__file__).parent.parent / "docs" / "python.md"
YAML = """name: mine
workers: 1
dedupe: {distance: 0, group_distance: 0}
filter: {detector: none}
crop: {region: whole, size: 32}
split: {test_share: 0.25}
train: {size: 32, epochs: 1, batch: 8, augment: none, device: cpu, validation_share: 0.2, network: simpleconv3}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a split, a run trained on it, photos and a fer.yaml. Not to be changed."""
    home = tmp_path_factory.mktemp("home")
    classes = find_in_folder(write_classes(home / "classes", 16))
    import_images(classes, home / "data" / "mine" / "raw", "drawn")
    (home / "fer.yaml").write_text(YAML)
    config = fer.load_config(home / "fer.yaml", {"data": home / "data", "runs": home / "runs"})
    fer.run(config, until="split")
    fer.train(config)
    write_image(home / "photo.jpg", draw_portrait(3, "smile")[0])
    for number in range(2):
        write_image(home / "photos" / f"{number}.jpg", draw_mouth("open", number))
    write_image(home / "crop.png", draw_mouth("open", 9))
    return home


@pytest.fixture
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working folder."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def model(home: Path) -> Any:
    return fer.load(str(home / "runs" / "mine"))


def test_a_file_its_bytes_and_its_pixels_get_the_same_prediction(home: Path, model: Any) -> None:
    path = home / "photo.jpg"
    predictions = [model.predict(photo) for photo in (str(path), path, path.read_bytes(), read_image(path))]
    assert [one.path for one in predictions] == [str(path), str(path), "", ""]
    assert len({one.model_copy(update={"path": ""}).model_dump_json() for one in predictions}) == 1
    assert predictions[0].faces[0].label in model.labels == ["closed", "open"]
    height, width = read_image(path).shape[:2]
    assert (predictions[0].width, predictions[0].height) == (width, height)


def test_a_list_gets_a_list_in_its_order(home: Path, model: Any) -> None:
    photos = [home / "photos" / "1.jpg", home / "photos" / "0.jpg"]
    predictions = model.predict(photos)
    assert [one.path for one in predictions] == [str(photo) for photo in photos]
    assert predictions == fer.predict(home / "runs" / "mine", tuple(photos))
    assert predictions[0] == fer.predict(home / "runs" / "mine", photos[0])
    assert model.predict([]) == []


def test_what_cannot_be_decoded_is_an_outcome(model: Any) -> None:
    assert model.predict([b"", b"no photo"]) == [Prediction(outcome="bad_image")] * 2


def test_a_path_that_is_no_file_is_named_before_anything_is_predicted(home: Path, model: Any) -> None:
    with pytest.raises(InputError, match=r"gone\.jpg: no such file"):
        model.predict([home / "photo.jpg", "gone.jpg"])
    with pytest.raises(InputError, match="photos: is a folder: name a photo, or a list of photos"):
        model.predict(home / "photos")
    with pytest.raises(InputError, match="run `fer train` first"):
        fer.load(home)


@pytest.mark.parametrize(
    "photo", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), 3, None]
)
def test_what_is_no_photo_is_a_type_error(model: Any, photo: Any) -> None:
    with pytest.raises(TypeError, match="a photo is"):
        model.predict(photo)


def test_a_threshold_makes_faces_uncertain(home: Path) -> None:
    cautious = fer.load(home / "runs" / "mine", threads=1, uncertain=1.0)
    prediction = cautious.predict(home / "photos" / "0.jpg", is_crop=True)
    assert (prediction.outcome, prediction.faces[0].label) == ("uncertain", "uncertain")
    assert prediction.faces[0].guess in cautious.labels


def test_overrides_are_a_mapping_or_words_of_the_command_line(home: Path) -> None:
    path = home / "fer.yaml"
    plain = fer.load_config(str(path))
    assert plain == fer.load_config(path, []) == fer.load_config(path, {})
    mapped = fer.load_config(path, {"crop.margin": 1.4, "train.input": Path("my crops"), "train.network": "vgg"})
    assert mapped == fer.load_config(path, ["crop.margin=1.4", "train.input=my crops", "train.network=vgg"])
    with pytest.raises(UsageError, match="margin"):
        fer.load_config(path, {"crop.margin": "wide"})


def test_every_example_of_the_page_runs(here: Path) -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S):
        exec(compile(block, str(PAGE), "exec"), names)
    assert [one.path for one in names["several"]] == ["photos/0.jpg", "photos/1.jpg"]
    assert Prediction.model_validate_json(names["text"]) == names["one"]
    assert names["grey"].outcome in {"ok", "uncertain", "no_face"}
    assert names["metrics"].count > 4
    assert (here / "runs" / "mine" / "metrics.json").is_file()
    assert names["outcome"].model == Path("runs/short/model.onnx")
    assert len(names["rows"]) == 32
    by_hand = names["card"]["labels"][names["probabilities"].argmax()]
    assert by_hand == fer.load("runs/mine").predict("crop.png", is_crop=True).faces[0].guess


def test_the_page_names_every_function(here: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in fer.__all__ if f"fer.{name}(" not in text and name != "__version__"] == []
    assert set(fer.__all__) <= set(dir(fer))
    with pytest.raises(AttributeError, match="no attribute 'prediction'"):
        fer.prediction  # noqa: B018


def python(code: str, *arguments: object) -> Any:
    """What a fresh interpreter prints, read as JSON."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


IMPORT = """
import json, sys
import fer_pipeline
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names)))
"""


def test_the_import_alone_loads_no_other_package() -> None:
    loaded = {name for name in python(IMPORT) if not name.startswith(("_", "sitecustomize", "distutils"))}
    assert loaded <= {"fer_pipeline"}


STATE = """
import json, locale, logging, os, signal, sys, threading, warnings
import cv2, matplotlib, numpy, onnxruntime, PIL.Image, pydantic, sklearn.metrics, scipy.stats, random

PIL.Image.MAX_IMAGE_PIXELS = 1_234_567
matplotlib.rcParams["font.family"] = ["monospace"]
logging.getLogger("matplotlib.font_manager").setLevel(logging.INFO)
warnings.filterwarnings("error", "a filter of the host")
numpy.random.seed(3), random.seed(3)

def state():
    loggers = {name: logging.getLogger(name).level for name in list(logging.root.manager.loggerDict)}
    return {
        "pillow": PIL.Image.MAX_IMAGE_PIXELS,
        "matplotlib": [matplotlib.get_backend(), json.loads(json.dumps(dict(matplotlib.rcParams), default=str))],
        "opencv": [cv2.getNumThreads(), cv2.utils.logging.getLogLevel(), cv2.useOptimized()],
        "logging": [logging.root.level, logging.root.manager.disable, len(logging.root.handlers)],
        "warnings": [str(one) for one in warnings.filters],
        "environment": dict(os.environ),
        "numpy": [numpy.geterr(), str(numpy.random.get_state()), str(random.getstate())],
        "process": [os.getcwd(), locale.setlocale(locale.LC_ALL), sys.getrecursionlimit(), str(signal.getsignal(2))],
    }, loggers

before, levels = state()
import fer_pipeline as fer
run, photo, out = sys.argv[1:]
model = fer.load(run)
threads = [threading.Thread(target=model.predict, args=([photo] * 3,)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
model.predict(b"no photo")
metrics = fer.evaluate(run, out=out).metrics
from fer_pipeline.report.plots import plot_confusion
plot_confusion(metrics, __import__("pathlib").Path(out) / "confusion.png")
after, now = state()
changed = [name for name in before if before[name] != after[name]]
changed += [name for name, level in levels.items() if now[name] != level]
print(json.dumps([changed, "torch" in sys.modules]))
"""


@pytest.mark.slow
def test_the_settings_of_the_host_are_as_before_and_torch_is_not_imported(home: Path, tmp_path: Path) -> None:
    arguments = home / "runs" / "mine", home / "photo.jpg", tmp_path / "scores"
    assert python(STATE, *arguments) == [[], False]


def test_training_leaves_the_random_numbers_and_loggers_of_the_host(home: Path, tmp_path: Path) -> None:
    import logging

    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    state = torch.get_rng_state()
    config = fer.load_config(home / "fer.yaml", {"data": home / "data", "runs": tmp_path})
    outcome = fer.train(config)
    assert outcome.fresh
    assert torch.equal(torch.get_rng_state(), state)
    assert [logger.level for logger in loggers] == levels
    assert not fer.train(config).fresh


def test_a_crop_is_taken_as_the_face(home: Path, tmp_path: Path, model: Any) -> None:
    path = write_png(tmp_path / "a.png", draw_mouth("open", 7, 90))
    (face,) = model.predict(path, is_crop=True).faces
    assert tuple(face.box) == (0, 0, 90, 90)
