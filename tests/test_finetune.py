"""Promises of `fer train --from`: it fixes the camera's mouths, tells what it cost, and refuses what does not fit."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from support.drawn import write_config, write_png, write_split
from support.webcam import draw_crop

from fer_pipeline.__main__ import main
from fer_pipeline.config.schema import SplitConfig, TrainConfig
from fer_pipeline.dataset.rows import Row, read_rows, write_rows
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.evaluation.scores import Gains
from fer_pipeline.files import hash_file
from fer_pipeline.models.data import list_crops, load_crops
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.models.pretrained import choose_settings, read_base, read_weights
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.split import SPLIT
from fer_pipeline.training.finetune import finetune
from fer_pipeline.training.finetune_report import learned_from
from fer_pipeline.training.train import train

torch.set_num_threads(1)
LABELS = ("pout", "smile")
ANN, BOB = 501, 502  # before the camera, and in no other picture
FIRST, SECOND = "webcam:2026-11-20", "webcam:2026-11-21"
BASE: dict[str, Any] = {
    "network": "simpleconv3",
    "augment": "none",
    "epochs": 12,
    "batch": 16,
    "ema": 0,
    "device": "cpu",
}


def add_rows(crops: Path, name: str, people: Sequence[int], count: int, *, camera: bool = False) -> list[Row]:
    """So many crops of each class and person, as the crop stage would leave them."""
    rows = []
    for label in LABELS:
        for person in people:
            for number in range(count):
                bit = LABELS.index(label) << 47  # names are hashes: no two pictures have the same
                file = write_png(
                    crops / label / f"{hash_of(name, person, number) | bit:012x}.png",
                    draw_crop(person, label, number, cast=camera),
                )
                source = {"name": name} | ({"engine": "webcam"} if camera else {})
                path = file.relative_to(crops).as_posix()
                group = name if camera else f"person {person}"
                rows.append(Row(path=path, label=label, source=source, sha256=hash_file(file), group=group))
    return rows


def hash_of(name: str, person: int, number: int) -> int:
    return int.from_bytes(f"{name[-2:]}{person % 997:03}{number:02}".encode()[-6:], "big")


def split(crops: Path, rows: list[Row], folder: Path) -> Path:
    write_rows(crops, rows)
    run_stage(SPLIT, SplitConfig(input=crops, output=folder, test_share=0.25))
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`plain`, a split of drawn faces; `run`, a model of them; `camera`, a split with two sessions besides."""
    home = tmp_path_factory.mktemp("home")
    rows = add_rows(home / "crops", "drawn", range(30), 2)
    train(TrainConfig(input=split(home / "crops", rows, home / "plain"), output=home / "run", **BASE))
    rows += add_rows(home / "crops", FIRST, [ANN], 20, camera=True)
    rows += add_rows(home / "crops", SECOND, [BOB], 20, camera=True)
    split(home / "crops", rows, home / "camera")
    return home


def config_of(home: Path, output: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(input=home / "camera", output=output, **(BASE | changes))


@pytest.fixture(scope="module")
def tuned(home: Path) -> Gains:
    gains = finetune(config_of(home, home / "run"), home / "run", {"epochs"}).report
    assert gains is not None
    return gains


@pytest.mark.slow
def test_a_session_of_somebody_else_under_the_same_cast_is_told_apart_after_it(tuned: Gains) -> None:
    (camera,) = [gain for name, gain in tuned.sources.items() if name.startswith("webcam")]
    assert list(tuned.sources) == ["drawn", SECOND]
    assert camera.count == 40
    assert camera.before.accuracy < 0.75
    assert camera.after.accuracy > camera.before.accuracy + 0.15
    low, high = camera.gain_ci95
    assert 0 < low < camera.gain < high
    assert camera.p < 0.05
    assert re.fullmatch(rf"gained [0-9.]+ points on {SECOND} \(n=40, p=[-0-9.e]+\)", camera.summary)


@pytest.mark.slow
def test_what_it_cost_elsewhere_is_told_with_its_interval(home: Path, tuned: Gains) -> None:
    old = tuned.old
    assert old is not None
    assert old.count == sum(row.split == "test" for row in read_rows(home / "plain")) >= 20
    assert old.gain == pytest.approx(old.after.accuracy - old.before.accuracy, abs=1e-3)
    assert old.gain_ci95[0] <= old.gain <= old.gain_ci95[1]
    assert old.after.accuracy > 0.8, "it forgot what it knew"
    assert old.summary.endswith("within chance)") or old.p < 0.05 or old.gain == 0


@pytest.mark.slow
def test_the_figures_are_those_of_both_model_files(home: Path, tuned: Gains) -> None:
    assert Gains.model_validate_json((home / "run-tuned/finetune_report.json").read_bytes()) == tuned
    rows = [row for row in list_crops(home / "camera", "test") if row.group == SECOND]
    for side, run in (("before", home / "run"), ("after", home / "run-tuned")):
        crops = load_crops(home / "camera", rows, list(LABELS), 48, run / "cache")
        hits = Predictor(run, threads=1).classify(crops.images).argmax(axis=1) == crops.targets
        assert getattr(tuned.sources[SECOND], side).accuracy == hits.mean()
        assert getattr(tuned, side).model == hash_file(run / "model.onnx")


@pytest.mark.slow
def test_the_model_it_began_from_is_left_as_it_was_and_named(home: Path, tuned: Gains) -> None:
    provenance = json.loads((home / "run-tuned/provenance.json").read_text())
    assert provenance["base"] == hash_file(home / "run/model.onnx") == Predictor(home / "run-tuned").card.base
    assert "base" not in json.loads((home / "run/provenance.json").read_text())


@pytest.mark.slow
def test_a_finished_one_is_left_alone_and_told_again(home: Path, tuned: Gains) -> None:
    before = (home / "run-tuned/model.onnx").stat().st_mtime_ns
    again = finetune(config_of(home, home / "run"), home / "run", {"epochs"})
    assert not again.outcome.fresh
    assert again.report == tuned
    assert (home / "run-tuned/model.onnx").stat().st_mtime_ns == before


@pytest.mark.slow
def test_another_model_to_begin_from_is_another_training(home: Path, tuned: Gains, tmp_path: Path) -> None:
    other = train(TrainConfig(input=home / "plain", output=tmp_path / "run", **(BASE | {"seed": 1}))).model.parent
    shutil.copytree(home / "run-tuned", tmp_path / "mine-tuned")
    result = finetune(config_of(home, tmp_path / "mine", epochs=1), other, {"epochs"})
    assert result.outcome.fresh
    assert (tmp_path / "mine-tuned.1/model.onnx").is_file()


@pytest.mark.slow
def test_it_goes_on_after_a_kill_and_ends_with_the_same_weights(home: Path, tuned: Gains, tmp_path: Path) -> None:
    del tuned
    whole = torch.load(home / "run-tuned/checkpoints/last.ckpt", weights_only=True)
    shutil.copytree(home / "run-tuned", tmp_path / "run-tuned")
    (tmp_path / "run-tuned/model.onnx").unlink()
    result = finetune(config_of(home, tmp_path / "run"), home / "run", {"epochs"})
    again = torch.load(tmp_path / "run-tuned/checkpoints/last.ckpt", weights_only=True)
    assert result.outcome.fresh
    assert all(torch.equal(whole["state_dict"][name], again["state_dict"][name]) for name in whole["state_dict"])


def test_the_schedule_is_short_and_what_somebody_asks_for_stands(home: Path) -> None:
    base = read_base(home / "run")
    short = choose_settings(config_of(home, home / "run"), base, set())
    assert (short.sampler, short.keep, short.learning_rate) == ("sources", "last", 5e-4)
    assert short.epochs == 60, "15,000 crops, but no more than so many passes"
    assert short.output == home / "run-tuned"
    said = choose_settings(config_of(home, home / "other", learning_rate=1e-4), base, {"epochs", "output"})
    assert (said.learning_rate, said.epochs, said.output) == (1e-4, BASE["epochs"], home / "other")


@pytest.mark.parametrize(("name", "value"), [("network", "fer_cnn"), ("size", 64), ("grey", True), ("geometry", True)])
def test_another_network_or_input_is_refused_by_name(home: Path, name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"train\.{name} is .*was trained with.*leave it out, or train again"):
        finetune(config_of(home, home / "run", **{name: value}), home / "run")


def test_the_model_it_begins_from_is_never_overwritten(home: Path) -> None:
    before = hash_file(home / "run/model.onnx")
    with pytest.raises(UsageError, match=r"would be overwritten: name another run by --set train\.output"):
        finetune(config_of(home, home / "run"), home / "run", {"output"}, force=True)
    assert hash_file(home / "run/model.onnx") == before


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (("open", "pout", "smile"), "does not know the class 'open', but pout, smile"),
        (("open", "pout"), "does not know the class 'open'"),
    ],
)
def test_other_classes_are_refused_with_the_remedy(home: Path, tmp_path: Path, labels: Any, told: str) -> None:
    data = write_split(tmp_path / "split", train=4, test=2, labels=labels)
    with pytest.raises(InputError, match=told):
        finetune(TrainConfig(input=data, output=tmp_path / "run", **BASE), home / "run")


@pytest.mark.slow
def test_a_class_that_would_be_forgotten_is_named(home: Path, tmp_path: Path) -> None:
    three = tmp_path / "three"
    rows = [row.replace(path=f"{row.split}/{row.path}") for row in read_rows(home / "plain")]
    for row in rows:
        label = "neutral" if row.label == "pout" and row.path.endswith("0.png") else row.label
        target = three / str(row.split) / str(label) / Path(row.path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / "plain" / row.path, target)
    run = train(TrainConfig(input=three, output=tmp_path / "run", **(BASE | {"epochs": 1}))).model.parent
    with pytest.raises(InputError, match=r"no image of 'neutral', which .* knows and would forget: bring the old data"):
        finetune(config_of(home, tmp_path / "other"), run)


def test_crops_cut_otherwise_are_refused_by_the_setting(home: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(home / "camera", tmp_path / "camera"))
    provenance = json.loads((data / "provenance.json").read_text())
    lips = {"region": "lips", "margin": 1.4}
    provenance["upstream"] = {
        "stage": "crop",
        "settings": lips,
        "upstream": {"stage": "filter", "settings": {"detector": "hog"}},
    }
    (data / "provenance.json").write_text(json.dumps(provenance))
    with pytest.raises(InputError, match=r"made with crop\.region = lips, .*run with whole: make the crops as"):
        finetune(TrainConfig(input=data, output=tmp_path / "run", **BASE), home / "run")


def test_weights_of_another_training_or_none_are_refused(home: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(home / "run", tmp_path / "run"))
    base, config = read_base(run), config_of(home, tmp_path / "run")
    checkpoint = run / "checkpoints/best.ckpt"
    shutil.copyfile(run / "checkpoints/best.ckpt", tmp_path / "kept")
    state = torch.load(checkpoint, weights_only=True)
    state["state_dict"] = {
        name: value * 1.5 if value.is_floating_point() else value for name, value in state["state_dict"].items()
    }
    torch.save(state, checkpoint)
    with pytest.raises(InputError, match="are of two trainings"):
        read_weights(base, config)
    checkpoint.write_bytes(b"rubbish")
    with pytest.raises(InputError, match="does not hold the weights of"):
        read_weights(base, config)
    checkpoint.unlink()
    with pytest.raises(InputError, match="is missing, which holds the weights to go on from"):
        read_weights(base, config)


@pytest.mark.slow
def test_a_model_without_weights_is_refused(home: Path, tmp_path: Path) -> None:
    run = train(TrainConfig(input=home / "plain", output=tmp_path / "svm", network="hog_svm")).model.parent
    with pytest.raises(UsageError, match="is a hog_svm, which has no weights to go on from"):
        finetune(config_of(home, tmp_path / "run"), run)


def test_test_images_that_the_first_model_learned_from_are_left_out(home: Path, tmp_path: Path) -> None:
    """Where the data were split again, what was learned from may be test now."""
    run = Path(shutil.copytree(home / "run", tmp_path / "run"))
    tests = [row for row in read_rows(home / "camera") if row.split == "test" and row.group != SECOND]
    lines = (run / "seen.csv").read_text() + "".join(f"train/{row.path},{row.label},training\r\n" for row in tests[:7])
    (run / "seen.csv").write_text(lines)
    assert {row.path for row in tests[:7]} <= learned_from(run)
    gains = finetune(config_of(home, tmp_path / "run", epochs=1), run, {"epochs"}).report
    assert gains is not None
    assert gains.left_out == 7
    assert gains.old is not None
    assert gains.old.count == len(tests) - 7


@pytest.mark.slow
def test_what_an_earlier_model_of_a_chain_learned_from_is_left_out_also_in_another_class(
    home: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(home / "run", tmp_path / "run"))
    tests = [row for row in read_rows(home / "camera") if row.split == "test" and row.group != SECOND]
    with (run / "seen.csv").open("a") as file:
        file.writelines(f"train/moved/{Path(row.path).name},moved,training\r\n" for row in tests[:7])
    finetune(config_of(home, tmp_path / "run", epochs=1), run, {"epochs"})
    chain = finetune(config_of(home, tmp_path / "more", epochs=1), tmp_path / "run-tuned", {"epochs"})
    assert chain.report is not None
    assert chain.report.left_out == 7
    parts = [line.rpartition(",")[2] for line in (tmp_path / "more-tuned/seen.csv").read_text().splitlines()]
    assert parts.count("base") >= 7


def test_with_one_session_it_is_learned_from_and_a_second_is_asked_for(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row.replace(split=None, path=row.path) for row in read_rows(home / "camera") if row.group != SECOND]
    data = split(home / "crops", rows, tmp_path / "data/drawn/split")
    assert {row.split for row in read_rows(data) if row.group == FIRST} == {"train"}
    settings = "\n".join(f"  {name}: {value}" for name, value in BASE.items())
    config = write_config(tmp_path, f"train:\n{settings}\n")
    code = main(["train", "--config", str(config), "--from", str(home / "run"), "--set", "train.epochs=1"])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "no session is held out: record a second one (`fer collect`)" in said.out
    assert "drawn" in said.out
    assert f"fer serve {home / 'run'} {tmp_path / 'runs/drawn-tuned'}" in said.err.replace("\n", "")
    assert (tmp_path / "runs/drawn-tuned/config.json").is_file()


def test_judging_by_folds_what_the_first_model_has_seen_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path)
    assert main(["train", "--config", str(config), "--from", str(home / "run"), "--folds", "2"]) == 2
    assert "has seen the images that --folds and --by-source would judge" in capsys.readouterr().err
