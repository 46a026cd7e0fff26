"""Promises of `fer_pipeline.training.ensemble` and `fer_pipeline.training.cv_ensemble`."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.drawn import draw_mouth, tiny_training, write_classes, write_split
from support.scored import make_metrics
from torch import Tensor

from fer_pipeline.__main__ import main
from fer_pipeline.config.schema import CropSettings, Preprocessing
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.evaluation.compare import compare_runs
from fer_pipeline.evaluation.evaluate import evaluate
from fer_pipeline.evaluation.scores import FoldScores, write_record
from fer_pipeline.files import write_aside, write_csv
from fer_pipeline.models.classifier import Classifier
from fer_pipeline.models.data import hash_data
from fer_pipeline.models.graph import FLOOR, geometric_mean
from fer_pipeline.models.model_file import Card, write_bundle
from fer_pipeline.models.model_module import ModelModule
from fer_pipeline.models.networks import build_network, default_normalisation
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.report.card import describe_model
from fer_pipeline.training import ensemble as module
from fer_pipeline.training.cv_ensemble import average_cross_validations
from fer_pipeline.training.ensemble import make_ensemble
from fer_pipeline.training.train import train
from fer_pipeline.vision.mouth import OUTLINE

torch.set_num_threads(1)
WORDS = ["closed", "open"]


class Ratios(ModelModule):
    """A model that listens to measures alone."""

    inputs = ("measures",)

    def tta_logits(self, *inputs: Tensor) -> Tensor:
        """The first measure against the last."""
        known = torch.nan_to_num(inputs[0])
        return torch.stack([known[:, 0], known[:, -1]], dim=1)[None]


def write_member(run: Path, data: Path, seed: int = 0, size: int = 32, **changes: Any) -> Path:
    """A run with a network as chance made it, which is as good as any to be averaged."""
    torch.manual_seed(seed)
    network = build_network("simpleconv3", 2, size)
    model: ModelModule = Classifier(network, *default_normalisation("simpleconv3"), flip=True)
    model.train()(torch.from_numpy(crops(size)))
    known: dict[str, Any] = {"labels": WORDS, "size": size, "network": "simpleconv3", "preprocessing": Preprocessing()}
    known |= {"data": hash_data(data), "settings": {"input": str(data)}, **changes}
    run.mkdir(parents=True)
    write_bundle(run / "model.onnx", Ratios() if "measures" in known else model, Card(**known))
    write_csv(run / "seen.csv", ["path", "label", "part"], [["train/open/000.png", "open", known["network"]]])
    return run


def crops(size: int) -> NDArray[np.uint8]:
    return np.stack([draw_mouth(word, number, size) for word in WORDS for number in range(4)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split(tmp_path_factory.mktemp("drawn") / "split", train=4, test=4)


@pytest.fixture(scope="module")
def home(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Members of one side, of another, with labels the other way round, and of measures; not to be changed."""
    home = tmp_path_factory.mktemp("runs")
    write_member(home / "one", data, 1)
    write_member(home / "two", data, 2, uncertain=0.3)
    write_member(home / "turned", data, 3, labels=WORDS[::-1])
    write_member(home / "large", data, 4, size=48)
    write_member(home / "ratios", data, measures=list(OUTLINE[:3]))
    write_member(home / "other", data, measures=list(OUTLINE[4:1:-1]))
    return home


def make(home: Path, output: Path, *names: str) -> Predictor:
    make_ensemble([home / name for name in names], output)
    return Predictor(output, threads=1)


def ask(run: Path, images: NDArray[np.uint8], labels: list[str]) -> NDArray[np.float32]:
    """A member's own answers, its classes in the order wanted."""
    predictor = Predictor(run, threads=1)
    return predictor.classify(images)[:, [predictor.card.labels.index(label) for label in labels]]


def test_the_file_says_the_mean_of_what_its_members_say(home: Path, tmp_path: Path) -> None:
    together = make(home, tmp_path / "run", "one", "two")
    answers = [ask(home / name, crops(32), WORDS) for name in ("one", "two")]
    got = together.classify(crops(32))
    assert np.abs(answers[0] - answers[1]).max() > 1e-2, "the members agree: the comparison shows nothing"
    odds = np.mean([np.log(one[:, 1] / one[:, 0]) for one in answers], axis=0)
    np.testing.assert_allclose(got, geometric_mean(answers), atol=1e-4)
    np.testing.assert_allclose(got[:, 1], 1 / (1 + np.exp(-odds)), atol=1e-4)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)


def test_labels_in_another_order_are_put_in_order(home: Path, tmp_path: Path) -> None:
    for names, labels in ((("one", "turned"), WORDS), (("turned", "one"), WORDS[::-1])):
        together = make(home, tmp_path / names[0], *names)
        assert together.card.labels == labels
        answers = [ask(home / name, crops(32), labels) for name in names]
        np.testing.assert_allclose(together.classify(crops(32)), geometric_mean(answers), atol=1e-4)


def test_members_of_other_sides_and_measures_each_get_what_they_want(home: Path, tmp_path: Path) -> None:
    together = make(home, tmp_path / "run", "one", "large", "ratios", "other")
    assert (together.card.size, together.card.inputs) == (48, ["crops", "measures"])
    assert together.card.measures == [OUTLINE[place] for place in (0, 1, 2, 4, 3)]
    images, rng = crops(48), np.random.default_rng(0)
    measures = rng.random((len(images), 5), np.float32)
    small, large = (Predictor(home / name, threads=1) for name in ("one", "large"))
    ratios, other = (Predictor(home / name, threads=1) for name in ("ratios", "other"))
    flat = np.ascontiguousarray(np.broadcast_to(images[:, :1, :1], images.shape))  # the same at every side
    answers = [
        small.classify(np.ascontiguousarray(flat[:, :32, :32])),
        large.classify(flat),
        ratios.infer({"measures": measures[:, :3]}),
        other.infer({"measures": np.ascontiguousarray(measures[:, [3, 4, 2]])}),
    ]
    np.testing.assert_allclose(
        together.infer({"crops": flat, "measures": measures}), geometric_mean(answers), atol=1e-4
    )


def test_a_crop_made_smaller_inside_the_file_is_the_crop(home: Path, tmp_path: Path) -> None:
    together, large = make(home, tmp_path / "run", "one", "large"), Predictor(home / "large", threads=1)
    expected = geometric_mean([ask(home / "one", crops(32), WORDS), large.classify(crops(48))])
    assert np.abs(together.classify(crops(48)) - expected).max() < 0.05


def test_nobody_has_a_veto() -> None:
    first, second = np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)
    np.testing.assert_allclose(geometric_mean([first, second]), [[0.5, 0.5]])
    np.testing.assert_allclose(geometric_mean([first, first])[0, 1], FLOOR, rtol=1e-3)


def test_the_card_names_the_members(home: Path, tmp_path: Path) -> None:
    card = make(home, tmp_path / "run", "one", "two").card
    assert (card.network, card.uncertain, card.calibration, card.inputs) == ("ensemble", 0.3, None, ["crops"])
    members = card.settings["members"]
    assert list(members) == [str(home / "one"), str(home / "two")]
    assert {one["network"] for one in members.values()} == {"simpleconv3"}
    assert {len(one["sha256"]) for one in members.values()} == {64}
    told = dict(describe_model(card, tmp_path / "run" / "model.onnx", []))["Training"]
    assert told.startswith("none of its own: the mean of the log-probabilities of simpleconv3 of ")


def test_an_ensemble_can_be_a_member(home: Path, tmp_path: Path) -> None:
    inner = make(home, tmp_path / "inner", "one", "two")
    outer = make(home, tmp_path / "outer", str(tmp_path / "inner"), "turned")
    expected = geometric_mean([inner.classify(crops(32)), ask(home / "turned", crops(32), WORDS)])
    np.testing.assert_allclose(outer.classify(crops(32)), expected, atol=1e-4)


def test_eval_measures_it_on_the_test_part_and_looks_for_leaks(home: Path, tmp_path: Path) -> None:
    make(home, tmp_path / "run", "one", "large")
    metrics = evaluate(tmp_path / "run", allow_leakage=True).metrics
    assert metrics.leakage is not None
    assert (metrics.count, metrics.leakage.checked) == (8, True)
    assert compare_runs(tmp_path / "run", tmp_path / "run").p == 1


def test_what_any_member_learned_from_is_noted(home: Path, tmp_path: Path) -> None:
    make(home, tmp_path / "run", "one", "two")
    with (tmp_path / "run" / "seen.csv").open(newline="") as file:
        assert [line["path"] for line in csv.DictReader(file)] == ["train/open/000.png"]


@pytest.mark.slow
def test_prediction_needs_neither_torch_nor_the_members(home: Path, data: Path, tmp_path: Path) -> None:
    make(home, tmp_path / "run", "one", "ratios")
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None; from fer_pipeline.__main__ import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    picture = data / "test" / "open" / "004.png"
    command = [sys.executable, "-c", code, "predict", str(tmp_path / "run"), str(picture), "--crops", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path)
    assert set(json.loads(done.stdout)["faces"][0]["probabilities"]) == set(WORDS)


def test_it_is_not_quantised(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(home, tmp_path / "run", "one", "two")
    assert main(["quantise", str(tmp_path / "run")]) == 1
    assert "is an ensemble, which stays as it is: quantise one of its members" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": ["closed", "wide"]}, r"know other labels \(closed, wide, not closed, open\): train both"),
        ({"elsewhere": True}, "learned from other data, .* train both on the same split"),
        (
            {"preprocessing": Preprocessing(cut=CropSettings(region="whole", margin=2))},
            r"\(cut\.margin 2\.0, not null\): train both on the same crops",
        ),
        ({"precision": "int8"}, "is quantised: name the run"),
    ],
)
def test_what_cannot_be_averaged_is_told_in_one_line(
    home: Path, data: Path, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    other = write_classes(tmp_path / "other") if "elsewhere" in changes else data
    odd = write_member(tmp_path / "odd", other, **changes)  # a card ignores what it does not know
    with pytest.raises(InputError, match=told) as caught:
        make_ensemble([home / "one", odd], tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_one_member_twice_or_alone_is_refused(home: Path, tmp_path: Path) -> None:
    one, two = home / "one", home / "two"
    for runs, output, told in (
        ([one], tmp_path / "run", "two members or more"),
        ([one, one], tmp_path / "run", "is named twice"),
        ([one, one / "model.onnx"], tmp_path / "run", "is named twice"),
        ([one, two], one, "is one of the members: name another folder"),
        ([one, two / "model.onnx"], two, "is one of the members: name another folder"),
    ):
        with pytest.raises(UsageError, match=told):
            make_ensemble(runs, output, force=True)
    assert (one / "model.onnx").is_file()


def test_a_finished_ensemble_is_left_alone_and_another_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ensemble", str(home / "one"), str(home / "two"), "--output", str(tmp_path / "run")]
    assert main(command) == 0
    before = (tmp_path / "run" / "model.onnx").stat().st_mtime_ns
    assert main(command) == 0
    assert "is finished, nothing to do" in capsys.readouterr().err
    assert (tmp_path / "run" / "model.onnx").stat().st_mtime_ns == before
    assert make_ensemble([home / "one", home / "turned"], tmp_path / "run").fresh
    assert (tmp_path / "run.1/model.onnx").stat().st_mtime_ns == before


def test_a_killed_one_leaves_no_model_and_the_same_command_makes_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_die(path: Path, parts: list[bytes]) -> None:
        write_aside(path, parts)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_aside", write_and_die)
        with pytest.raises(KeyboardInterrupt):
            make(home, tmp_path / "run", "one", "two")
    assert not (tmp_path / "run" / "model.onnx").exists()
    assert make(home, tmp_path / "run", "one", "two").card.network == "ensemble"
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.endswith((".part", ".joined"))]


def write_folds(run: Path, says: list[float], groups: list[str] | None = None, **changes: Any) -> Path:
    """A cross-validation of four images, the first two of class a; `says` is what it thinks of a."""
    run.mkdir(parents=True)
    header = ["path", "label", "predicted", "p_b", "p_a", *(["group"] if groups else [])]
    lines = []
    for index, value in enumerate(says):
        label, guess = "ab"[index // 2 % 2], "a" if value > 0.5 else "b"
        own = [groups[index]] if groups else []
        lines.append([f"train/{label}/{index}.png", label, guess, f"{1 - value:.6f}", f"{value:.6f}", *own])
    write_csv(run / "predictions.csv", header, lines)
    pooled = make_metrics(["ab".index(line[1]) for line in lines], ["ab".index(line[2]) for line in lines])
    write_record(run / "folds.json", FoldScores(pooled=pooled, folds={}))
    (run / "provenance.json").write_text(json.dumps({"stage": "folds", "folds": 2, "input": "ab"} | changes))
    return run


GROUPS = ["p", "p", "q", "r"]


def test_cross_validations_are_averaged_and_paired_with_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_folds(tmp_path / "one", [0.9, 0.9, 0.2, 0.6], GROUPS)
    two = write_folds(tmp_path / "two", [0.4, 0.9, 0.8, 0.1])  # as an older version wrote it, without groups
    assert main(["ensemble", str(two), str(one), "--output", str(tmp_path / "both")]) == 0
    told = capsys.readouterr().out
    assert "accuracy 100.0%" in told
    assert f"A = {one}" in told
    with (tmp_path / "both" / "predictions.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["group"] for line in lines] == GROUPS
    assert [line["predicted"] for line in lines] == ["a", "a", "b", "b"]
    odds = np.mean([np.log(0.9 / 0.1), np.log(0.4 / 0.6)])
    assert float(lines[0]["p_a"]) == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-5)
    figures = json.loads((tmp_path / "both" / "folds.json").read_text())
    assert figures["pooled"]["accuracy_ci95"] == [0.5101, 1.0]
    assert figures["members"][str(one)]["accuracy"] == 0.75
    assert figures["paired"]["images"] == 4
    assert main(["-q", "compare", str(one), str(tmp_path / "both")]) == 0


def test_only_shared_images_are_averaged(tmp_path: Path) -> None:
    one = write_folds(tmp_path / "one", [0.9, 0.9, 0.2, 0.6], GROUPS)
    two = write_folds(tmp_path / "two", [0.4, 0.9, 0.8], GROUPS)
    assert average_cross_validations([one, two], tmp_path / "both").scores.pooled.count == 3


@pytest.mark.parametrize(
    ("says", "groups", "changes", "told"),
    [
        ([0.9] * 4, ["p", "x", "q", "r"], {}, r"train/a/1\.png has another label or group in .*two than in .*one"),
        ([0.9] * 4, GROUPS, {"folds": "sources"}, "only one left out whole sources"),
        ([float("nan")] * 4, GROUPS, {}, r"predictions\.csv:2: no probabilities: cross-validate again"),
        ([7.0] * 4, GROUPS, {}, r"predictions\.csv:2: no probabilities: cross-validate again"),
    ],
)
def test_cross_validations_that_contradict_each_other_are_refused(
    tmp_path: Path, says: list[float], groups: list[str], changes: dict[str, Any], told: str
) -> None:
    one = write_folds(tmp_path / "one", [0.9, 0.9, 0.2, 0.6], GROUPS)
    two = write_folds(tmp_path / "two", says, groups, **changes)
    with pytest.raises(InputError, match=told) as caught:
        average_cross_validations([one, two], tmp_path / "both")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("figures", ["", "[]", "{}", '{"pooled": 3}', '{"pooled": {"count": 4, "accuracy": 0.5}}'])
def test_figures_of_other_predictions_are_refused(tmp_path: Path, figures: str) -> None:
    one = write_folds(tmp_path / "one", [0.9, 0.9, 0.2, 0.6], GROUPS)
    two = write_folds(tmp_path / "two", [0.9, 0.9, 0.2, 0.6], GROUPS)
    (two / "folds.json").write_text(figures)
    with pytest.raises(InputError, match="does not tell of the 4 predictions beside it: cross-validate again"):
        average_cross_validations([one, two], tmp_path / "both")


def test_a_model_and_a_cross_validation_are_not_averaged(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = write_folds(tmp_path / "folds", [0.9, 0.9, 0.2, 0.6])
    assert main(["ensemble", str(folds), str(home / "one"), "--output", str(tmp_path / "run")]) == 2
    assert "is a cross-validation and" in capsys.readouterr().err


def test_gradients_are_of_the_same_crop_in_whatever_size(home: Path, data: Path, tmp_path: Path) -> None:
    """A support vector machine, which looks at its crops by HOG, beside a network of larger crops."""
    run = train(tiny_training(data, tmp_path / "svm", network="hog_svm", size=32)).model.parent
    together = make(home, tmp_path / "run", "large", str(run))
    assert (together.card.size, together.card.inputs) == (48, ["crops", "hog"])
    flat = np.ascontiguousarray(np.repeat(np.repeat(crops(16), 3, axis=1), 3, axis=2))
    answers = [ask(home / "large", flat, WORDS), ask(run, flat, WORDS)]
    np.testing.assert_allclose(together.classify(flat), geometric_mean(answers), atol=1e-4)
