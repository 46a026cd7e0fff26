"""Promises of the command line."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from support.drawn import draw_mouth, write_classes, write_config, write_png, write_split
from support.killed import started

from fer_pipeline.__main__ import main
from fer_pipeline.cli import app
from fer_pipeline.cli.app import read_config
from fer_pipeline.config.recipes import list_recipes
from fer_pipeline.dataset.rows import Row, read_rows, write_rows
from fer_pipeline.pipeline import count_workers

Capture = pytest.CaptureFixture[str]
# The photo is the crop: no detector is needed, and stages take milliseconds.
WHOLE = "filter: {detector: none}\ncrop: {region: whole, size: 32}\nsplit: {test_share: 0.25}\n"
TRAINING = "train: {network: simpleconv3, size: 32, epochs: 2, batch: 8, device: cpu, augment: none, ema: 0}\n"


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that name it."""
    group = group or typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())


def fails(capsys: Capture, arguments: list[str], code: int) -> str:
    """Run a command that must fail with that code and one line; returns the line."""
    assert main(["--quiet", *arguments]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("fer: ")
    assert told.err.count("\n") == 1, told.err
    assert "Traceback" not in told.err
    return told.err.strip()


def run_fer(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "fer_pipeline", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd)


def import_mouths(folder: Path, text: str = "", count: int = 8) -> Path:
    """A configuration whose raw folder is filled with drawn mouths."""
    photos = write_classes(folder / "photos", count)
    assert main(["-q", "import", "folder", str(photos), "-o", str(folder / "data" / "drawn" / "raw")]) == 0
    # The mouths are near-copies of one another; that is not what is tested here.
    return write_config(folder, f"workers: 1\ndedupe: {{distance: 0, group_distance: 0}}\n{WHOLE}{text}")


# --- help


def test_every_step_has_its_command() -> None:
    steps = "crawl unify dedupe filter clean crop split run train eval predict report sample status show config doctor"
    assert {(name,) for name in steps.split()} <= COMMANDS.keys()
    assert {("import", "folder"), ("import", "fer2013"), ("import", "celeba")} <= COMMANDS.keys()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_every_command_ends_with_an_example_that_parses(words: tuple[str, ...], capsys: Capture) -> None:
    assert main([*words, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    example = re.search(r"Example: (fer .+)", COMMANDS[words].help)
    assert example, "no example"
    assert example.group(1) in shown
    given = shlex.split(example.group(1))
    assert given[: 1 + len(words)] == ["fer", *words]
    # Parses it without running: an option that is gone, or an argument that is missing, raises.
    COMMANDS[words].make_context(" ".join(words), given[1 + len(words) :])


def test_help_of_the_whole_ends_with_an_example(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example: fer init sample --name me && fer run" in " ".join(shown.split())
    assert all(words[0] in shown for words in COMMANDS)
    panels = re.findall(r"─ (\w+) ─", shown)
    assert panels == ["Options", "Data", "Cleaning", "Training", "Use", "Look", "Care"]


def test_help_loads_nothing_heavy() -> None:
    heavy = {"torch", "cv2", "numpy", "PIL", "onnxruntime", "dlib", "pydantic", "yaml"}
    code = (
        "import sys\nfrom fer_pipeline.__main__ import main\nmain(['--help'])\n"
        f"print('loaded', sorted({heavy} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_fer_alone_shows_its_help(capsys: Capture) -> None:
    main([])
    told = capsys.readouterr()
    assert "Usage: fer" in told.out + told.err


def test_the_version_is_told(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"fer \d+\.\d+\.\d+\n", capsys.readouterr().out)


# --- without words: the configuration of the working folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with no configuration named by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FER_CONFIG", raising=False)
    return tmp_path


def test_init_lists_the_recipes_a_line_each_and_begins_with_one(here: Path, capsys: Capture) -> None:
    assert main(["init"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == sorted(list_recipes())
    assert main(["init", "sample", "--name", "me"]) == 0
    assert main(["run", "--dry"]) == 0
    assert capsys.readouterr().out.startswith("crawl: will ask sample\nunify: will run\n")
    assert [path.name for path in here.iterdir()] == ["fer.yaml"]
    assert "--force" in fails(capsys, ["init", "lips"], 2)
    assert "did you mean `lips`?" in fails(capsys, ["init", "lip", "--force"], 2)


def test_commands_need_no_words_where_a_configuration_lies(here: Path, capsys: Capture) -> None:
    write_classes(here / "photos", 8)
    text = f"name: me\nworkers: 1\ndedupe: {{distance: 0, group_distance: 0}}\n{WHOLE}"
    (here / "fer.yaml").write_text(text)
    for words in (["import", "folder", "photos"], ["run", "--until", "split"], ["unify"], ["report"]):
        assert main(words) == 0, words
    assert len(read_rows(here / "data" / "me" / "raw")) == 16
    capsys.readouterr()
    assert main(["status"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: fer run"
    assert main(["status", "--set", "crop.size=40"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("next: fer run --set crop.size=40")
    for words in (["eval"], ["quantise"], ["live", "--output", "seen.csv"]):
        assert "runs/me" in fails(capsys, words, 1), words
        assert "leave one of them out" in fails(capsys, [*words, "runs/me", "--config", "fer.yaml"], 2), words


def test_without_a_configuration_each_command_says_how_to_begin(here: Path, capsys: Capture) -> None:
    for words in (["crop"], ["run"], ["train"], ["import", "folder", "photos"], ["review"], ["report"]):
        assert "`fer init RECIPE --name NAME`" in fails(capsys, words, 2), words
    for words in (["eval"], ["serve"], ["quantise"], ["live", "--output", "seen.csv"]):
        assert "name a run, as in runs/mine" in fails(capsys, words, 2), words


def test_status_without_a_configuration_lists_the_experiments(here: Path, capsys: Capture) -> None:
    assert main(["status"]) == 0
    assert "no experiment in data/ or runs/" in capsys.readouterr().out
    config = import_mouths(here)
    assert main(["-q", "run", "-c", str(config), "--until", "split"]) == 0
    measured = {"accuracy": 0.9, "accuracy_ci95": [0.8, 0.95]}
    for name, figures in (("other", measured), ("drawn", {}), ("[b]", {})):
        (here / "runs" / name).mkdir(parents=True)
        (here / "runs" / name / "model.onnx").touch()
        (here / "runs" / name / "metrics.json").write_text(json.dumps(figures))
    capsys.readouterr()
    assert main(["status"]) == 0
    head, *lines = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["name", "crawl", "unify", "dedupe", "filter", "crop", "split", "run"]
    assert lines == [
        ["[b]", *"------", "not", "measured"],
        ["drawn", *["16"] * 6, "not", "measured"],
        ["other", *"------", "90.0%", "(80.0%", "to", "95.0%)"],
    ]


def test_a_dry_run_says_what_each_step_would_do_and_writes_nothing(here: Path, capsys: Capture) -> None:
    config = str(import_mouths(here))
    assert main(["-q", "run", "-c", config, "--until", "split"]) == 0
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    capsys.readouterr()
    dry = ["run", "-c", config, "--dry", "--set", "crop.size=40", "--set", "split.labels=[open]"]
    assert main(dry) == 0
    assert capsys.readouterr().out.splitlines() == [
        "crawl: nothing to do",
        "unify: nothing to do",
        "dedupe: nothing to do",
        "filter: nothing to do",
        "crop: will run again: it was made with other settings (crop.size 32 → 40)",
        "split: will be brought up to date after crop",
        "train: will run",
        "eval: will run",
    ]
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("fer cr", ["crawl", "crop"]),
        ("fer crop -c li", ["lips", "lips4"]),
        ("fer crop --set crop.ma", ["crop.margin="]),
        ("fer eval runs/", ["runs/mine"]),
        pytest.param("fer crop -c co", ["configurations/"], marks=pytest.mark.slow),
        pytest.param("fer crop -c configurations/", ["configurations/mine.yaml"], marks=pytest.mark.slow),
        pytest.param("fer init tu", ["tutorial"], marks=pytest.mark.slow),
        pytest.param("fer crop --set crawl.sample.", ["per_label=", "seed=", "folder="], marks=pytest.mark.slow),
        pytest.param("fer run --until t", ["train"], marks=pytest.mark.slow),
    ],
)
def test_the_shell_completes_commands_recipes_settings_and_runs(words: str, offered: list[str], here: Path) -> None:
    (here / "runs" / "mine").mkdir(parents=True)
    (here / "runs" / "mine" / "model.onnx").touch()
    (here / "configurations").mkdir()
    (here / "configurations" / "mine.yaml").touch()
    count = len(words.split())
    given = {"COMP_WORDS": words, "COMP_CWORD": str(count - 1), "_FER_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", "from fer_pipeline.__main__ import main; main([])"],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    prefix = "crawl.sample." if offered[0] == "per_label=" else ""
    assert done.stdout.split() == [f"{prefix}{one}" for one in offered], done.stderr


# --- mistakes


def test_usage_errors_are_one_line_and_exit_code_2(tmp_path: Path, capsys: Capture) -> None:
    config = str(write_config(tmp_path))
    (tmp_path / "bad").mkdir()
    bad = str(write_config(tmp_path / "bad", "crop:\n  regoin: lips"))
    for arguments, told in (
        (["crop", "-c", bad], r"config\.yaml:5: crop\.regoin: unknown key, did you mean `region`\?"),
        (["crop", "-c", config, "--set", "crop.size=3"], r"crop\.size: .*16"),
        (["crop", "-c", config, "--set", "crop"], r"write it as section\.key=value"),
        (["crop", "-c", str(tmp_path / "none.yaml")], r"none\.yaml: No such file .*--config"),
        (["bake"], r"bake"),
        (["crop", "-c", config, "--set", "margin=2"], r"did you mean `crop\.margin`\?"),
        (["crop", "-c", config, "--nothing"], r"see `fer crop --help`"),
        (["crop", "-c", config, "--sice", "3"], r"--sice"),
        (["crop", "-c", config, "--workers", "many"], r"--workers.*valid integer"),
        (["run", "-c", config, "--until", "nonsense"], r"--until nonsense: no such step: name one of crawl,"),
        (["predict", str(tmp_path)], r"no photos"),
        (["import", "folder", str(tmp_path / "bad"), "-o", str(tmp_path / "raw"), "--group", "("], r"--group"),
        (["import", "folder", str(tmp_path), "-o", str(tmp_path / "raw")], r"--output .*where the originals are"),
    ):
        assert re.search(told, fails(capsys, arguments, 2), re.IGNORECASE), arguments


def test_a_bare_command_shows_its_help_and_dash_h_does_too(capsys: Capture) -> None:
    for words, usage in (([], "Usage: fer [OPTIONS]"), (["import"], "Usage: fer import [OPTIONS]")):
        assert main(words) == 2
        told = capsys.readouterr()
        assert usage in told.out
        assert told.err == ""
    assert main(["crop", "-h"]) == 0
    assert "Example: fer crop" in capsys.readouterr().out


def test_several_problems_of_a_configuration_are_told_at_once(tmp_path: Path, capsys: Capture) -> None:
    config = write_config(tmp_path, "crop: {sice: 3, margin: 99}\nfilter: {detector: eyes}")
    assert main(["crop", "-c", str(config)]) == 2
    told = capsys.readouterr().err
    assert all(key in told for key in ("crop.sice", "crop.margin", "filter.detector"))
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("stage", "remedy"),
    [
        ("unify", "fer crawl` or `fer import"),
        ("dedupe", "fer unify"),
        ("filter", "fer dedupe"),
        ("crop", "fer filter"),
        ("split", "fer crop"),
        ("train", "fer split"),
    ],
)
def test_a_stage_without_its_input_names_the_stage_before(
    stage: str, remedy: str, tmp_path: Path, capsys: Capture
) -> None:
    told = fails(capsys, [stage, "-c", str(write_config(tmp_path))], 1)
    assert "holds no finished stage" in told
    assert f"run `{remedy}` first" in told
    assert not (tmp_path / "data").exists(), "a command that failed at once leaves no folder behind"


def test_what_is_not_there_is_named_with_exit_code_1(tmp_path: Path, capsys: Capture) -> None:
    nowhere, empty = str(tmp_path / "nowhere"), tmp_path / "empty"
    empty.mkdir()
    for arguments, told in (
        (["eval", nowhere], r"nowhere holds no finished model .*run `fer train` first"),
        (["predict", nowhere, "photo.jpg"], r"photo\.jpg: no such file|nowhere holds no finished model"),
        (["show", str(empty)], r"empty holds no finished stage"),
        (["import", "folder", nowhere, "-o", str(tmp_path / "raw")], r"nowhere: no such folder"),
        (["import", "folder", str(empty), "-o", str(tmp_path / "raw")], r"empty: holds no file to import"),
    ):
        assert re.search(told, fails(capsys, arguments, 1)), arguments


@pytest.mark.slow
def test_a_name_that_no_disk_takes_is_told_in_one_line(tmp_path: Path, capsys: Capture) -> None:
    write_classes(tmp_path / "photos", 1)
    assert main(["show", str(tmp_path / "photos"), "--out", str(tmp_path / f"{'x' * 300}.png")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_mistakes_show_no_traceback_in_a_real_process(tmp_path: Path) -> None:
    for arguments, code in ((["crop", "-c", "none.yaml"], 2), (["eval", "nowhere"], 1), (["--nosuch"], 2)):
        done = run_fer(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith("fer: ")
        assert done.stderr.count("\n") == 1, done.stderr


# --- stages


def test_run_does_every_step_and_a_second_one_nothing(tmp_path: Path, capsys: Capture) -> None:
    config = import_mouths(tmp_path, TRAINING)
    assert main(["run", "-c", str(config), "--until", "split"]) == 0
    home = tmp_path / "data" / "drawn"
    rows = read_rows(home / "split")
    assert {row.split for row in rows} == {"train", "test"}
    assert all((home / "split" / str(row.split) / row.path).is_file() for row in rows)
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file() and path.name != ".lock"}
    capsys.readouterr()
    assert main(["run", "-c", str(config), "--until", "split"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in told] == ["crawl", "unify", "dedupe", "filter", "crop", "split"]
    assert all("nothing to do" in line for line in told)
    after = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == before
    assert not (tmp_path / "runs").exists()


def test_run_goes_from_photos_to_a_measured_model(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_pipeline.evaluation.leakage.MIN_CORRELATION", 2.0)  # drawn mouths are
    config = import_mouths(tmp_path, TRAINING)
    assert main(["run", "-c", str(config)]) == 0
    told = capsys.readouterr()
    assert re.search(r"accuracy \d+\.\d% \(95 %: \d+\.\d% to \d+\.\d%\), macro-F1 .*, \d+ images", told.out)
    run = tmp_path / "runs" / "drawn"
    for name in ("model.onnx", "history.csv", "curves.png", "confusion.png", "config.json", "environment.json"):
        assert (run / name).is_file(), name
    assert json.loads((run / "config.json").read_text())["name"] == "drawn"
    assert main(["status", "-c", str(config)]) == 0
    assert "all done" in capsys.readouterr().out


def test_other_settings_make_the_folder_again_and_are_named(tmp_path: Path, capsys: Capture) -> None:
    config = str(import_mouths(tmp_path))
    assert main(["-q", "run", "-c", config, "--until", "crop"]) == 0
    capsys.readouterr()
    again = ["crop", "-c", config, "--set", "crop.size=40"]
    assert main(again) == 0
    assert "crop: settings changed: crop.size 32 → 40" in capsys.readouterr().err
    assert main(again) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert main(["-q", "run", "-c", config, "--set", "crop.size=48", "--until", "split"]) == 0


def test_status_shows_the_funnel_and_the_next_step(tmp_path: Path, capsys: Capture) -> None:
    config = str(import_mouths(tmp_path))
    (tmp_path / "photos" / "open" / "note.txt").write_text("no photo")
    raw = str(tmp_path / "data" / "drawn" / "raw")
    assert main(["-q", "import", "folder", str(tmp_path / "photos"), "-o", raw]) == 0
    assert main(["-q", "unify", "-c", config]) == 0
    capsys.readouterr()
    assert main(["status", "-c", config, "--picture", str(tmp_path / "funnel.png")]) == 0
    told = capsys.readouterr().out
    assert re.search(r"raw +16 +1 +not_an_image", told)
    assert re.search(r"unify +16 +0 +-", told)
    assert told.splitlines()[-1].startswith("next: fer run --config ")
    assert (tmp_path / "funnel.png").read_bytes().startswith(b"\x89PNG")


def test_show_draws_a_sheet(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=2, test=1)
    assert main(["-q", "show", str(data), "--out", str(tmp_path / "sheet.png")]) == 0
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_quiet_is_quiet_wherever_it_stands(tmp_path: Path, capsys: Capture) -> None:
    config = str(import_mouths(tmp_path))
    capsys.readouterr()
    assert main(["unify", "-c", config, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["unify", "-c", config]) == 0
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.slow
def test_sample_draws_a_gallery(tmp_path: Path) -> None:
    assert main(["-q", "sample", str(tmp_path / "faces"), "--per-label", "4"]) == 0
    records = json.loads((tmp_path / "faces" / "index.json").read_text())
    assert all((tmp_path / "faces" / record["file"]).is_file() for record in records)


def test_config_tells_every_setting(capsys: Capture) -> None:
    assert main(["config"]) == 0
    told = capsys.readouterr().out
    assert "## train" in told
    assert "`learning_rate`" in told


# --- models


@pytest.fixture
def run(trained: Path) -> Path:
    """The folder of a finished run."""
    return trained / "run"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with a photo that can be read and one that cannot."""
    write_png(tmp_path / "mixed" / "a.png", draw_mouth("open", 5))
    (tmp_path / "mixed" / "b.jpg").write_bytes(b"no photo")
    return tmp_path / "mixed"


def test_predict_prints_one_json_object_a_line(run: Path, mixed: Path, capsys: Capture) -> None:
    assert main(["predict", str(run), str(mixed), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["path"], line["outcome"]) for line in lines] == [
        (str(mixed / "a.png"), "ok"),
        (str(mixed / "b.jpg"), "bad_image"),
    ]
    face = lines[0]["faces"][0]
    assert face.keys() == {"box", "outcome", "label", "guess", "confidence", "probabilities", "distance", "turned"}
    assert face["box"] == [0, 0, 48, 48]
    assert face["probabilities"].keys() == {"closed", "open"}
    assert face["probabilities"][face["label"]] == face["confidence"]
    assert lines[1]["faces"] == []


def test_predict_tells_people_label_and_share(run: Path, mixed: Path, capsys: Capture) -> None:
    assert main(["predict", str(run / "model.onnx"), str(mixed), "--crops"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"{re.escape(str(mixed / 'a.png'))}: (open|closed) \d+%", first)
    assert second == f"{mixed / 'b.jpg'}: bad_image"


def test_a_photo_without_a_face_is_an_outcome(tmp_path: Path, capsys: Capture) -> None:
    from test_predictor import HAAR, write_model

    from fer_pipeline.config.schema import CropSettings, Preprocessing

    run = write_model(tmp_path / "run", Preprocessing(detector=HAAR, cut=CropSettings()))
    photo = write_png(tmp_path / "blank.png", np.full((200, 200, 3), 99, np.uint8))
    assert main(["predict", str(run), str(photo), "--json"]) == 0
    expected = {"path": str(photo), "outcome": "no_face", "width": 200, "height": 200, "faces": []}
    assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.slow
def test_several_processes_answer_the_same_in_the_same_order(run: Path, tmp_path: Path, capsys: Capture) -> None:
    photos = write_classes(tmp_path / "photos", count=6)
    answers = []
    for workers in ("1", "2"):
        assert main(["predict", str(run), str(photos), "--json", "--workers", workers]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    assert len(answers[0].splitlines()) == 12


def test_missing_photos_and_empty_folders_are_told(run: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    assert "gone.jpg: no such file" in fails(capsys, ["predict", str(run), str(tmp_path / "gone.jpg")], 1)
    assert "empty" in fails(capsys, ["predict", str(run), str(tmp_path / "empty")], 1)


def test_a_model_that_is_none_is_told_in_one_line(tmp_path: Path, mixed: Path, capsys: Capture) -> None:
    (tmp_path / "model.onnx").write_bytes(b"none")
    told = fails(capsys, ["predict", str(tmp_path / "model.onnx"), str(mixed)], 1)
    assert "not a model ONNX Runtime can open" in told


def test_predict_in_a_process_of_its_own_speaks_json_alone(run: Path, mixed: Path) -> None:
    done = run_fer("predict", str(run), str(mixed), "--json")
    assert done.returncode == 0
    assert [json.loads(line)["outcome"] for line in done.stdout.splitlines()] == ["ok", "bad_image"]
    assert done.stderr == ""


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(run: Path, tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", count=30)
    command = [sys.executable, "-m", "fer_pipeline", "predict", str(run), *[str(photos)] * 40, "--workers", "1"]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        process.wait(timeout=60)


def test_eval_measures_another_folder(run: Path, tmp_path: Path, capsys: Capture) -> None:
    other = write_classes(tmp_path / "other", count=2)
    assert main(["eval", str(run), "--data", str(other), "--out", str(tmp_path / "scores"), "--allow-leakage"]) == 0
    assert "4 images" in capsys.readouterr().out
    assert (tmp_path / "scores" / "confusion.png").is_file()


@pytest.mark.slow
def test_a_training_shows_no_warnings_of_the_libraries_it_uses(tmp_path: Path) -> None:
    write_split(tmp_path / "data" / "drawn" / "split", train=8, test=2)
    config = write_config(tmp_path, TRAINING)
    done = run_fer("train", "-c", str(config))
    assert done.returncode == 0
    assert done.stdout == ""
    assert all(re.match(r"(train|decode): ", line) for line in done.stderr.splitlines()), done.stderr


# --- Ctrl-C


def interrupt(arguments: list[str], sign: Path) -> tuple[int, str]:
    """Run a command, press Ctrl-C as soon as `sign` is there and filled; returns exit code and stderr."""
    command = [sys.executable, "-m", "fer_pipeline", "--quiet", *arguments]
    with started(command, stderr=subprocess.PIPE, start_new_session=True) as process:
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            if sign.is_file() and sign.stat().st_size:
                break
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it could be interrupted"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the processes of a pool get it too
        told = process.communicate(timeout=60)[1]
    return process.returncode, told


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_in_a_stage_is_one_line_and_leaves_the_journal(tmp_path: Path, workers: int) -> None:
    raw = tmp_path / "data" / "drawn" / "raw"
    photo = write_png(raw / "open" / "0.png", np.asarray(draw_mouth("open", 0).repeat(40, 0).repeat(40, 1)))
    for number in range(1, 60):
        os.link(photo, raw / "open" / f"{number}.png")
    write_rows(raw, [Row(path=f"open/{number}.png", label="open") for number in range(60)])
    config = write_config(tmp_path, f"workers: {workers}")
    journal = tmp_path / "data" / "drawn" / "unified" / "outcomes.jsonl"
    code, told = interrupt(["unify", "-c", str(config)], journal)
    assert code == 1
    assert told == "fer: interrupted: nothing is lost, the same command goes on where it stopped\n"
    assert journal.is_file()
    assert not journal.with_name("manifest.jsonl").exists()


@pytest.mark.slow
def test_ctrl_c_in_a_training_is_one_line(tmp_path: Path) -> None:
    write_split(tmp_path / "data" / "drawn" / "split")
    config = write_config(tmp_path, "train: {epochs: 9000, size: 32, batch: 4, device: cpu}")
    code, told = interrupt(["train", "-c", str(config)], tmp_path / "runs" / "drawn" / "history.csv")
    assert code == 1
    assert told == "fer: interrupted: nothing is lost, the same command goes on where it stopped\n"


def test_verbose_tells_the_settings_of_a_stage_and_quiet_says_nothing(tmp_path: Path, capsys: Capture) -> None:
    photos = write_classes(tmp_path / "photos", count=2)
    config = write_config(tmp_path)
    raw = tmp_path / "data" / "mine" / "raw"
    assert main(["-q", "import", "folder", str(photos), "-o", str(raw)]) == 0
    assert capsys.readouterr().err == ""
    told = ["unify", "-c", str(config), "--set", f"unify.input={raw}", "--set", "unify.smallest=16", "--verbose"]
    assert main([*told, "--workers", "1"]) == 0
    assert "'smallest': 16" in capsys.readouterr().err


@pytest.mark.slow
def test_any_folder_of_class_folders_is_trained_on_and_measured(tmp_path: Path, capsys: Capture) -> None:
    for part, count in (("training", 12), ("validation", 4)):
        write_classes(tmp_path / "mine" / part, count=count)
    config = write_config(tmp_path, TRAINING)
    command = ["train", "--config", str(config), "--data", str(tmp_path / "mine")]
    assert main(command) == 0
    assert main(["eval", str(tmp_path / "runs" / "drawn"), "--allow-leakage"]) == 0  # drawn mouths are alike
    assert "accuracy" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "runs" / "drawn" / "metrics.json").read_text())
    assert (metrics["count"], metrics["data"]) == (8, str(tmp_path / "mine"))
    assert main(command) == 0
    assert "is finished, nothing to do" in capsys.readouterr().err
    write_png(tmp_path / "mine" / "training" / "open" / "more.png", draw_mouth("open", 9))
    assert "has changed since" in fails(capsys, ["eval", str(tmp_path / "runs" / "drawn")], 1)
    assert main(command) == 0
    assert (tmp_path / "runs" / "drawn.1" / "model.onnx").is_file()


@pytest.mark.slow
def test_a_folder_without_a_test_part_is_trained_on_and_not_measured(tmp_path: Path, capsys: Capture) -> None:
    data = write_classes(tmp_path / "mine", count=8)
    config = write_config(tmp_path, TRAINING)
    assert main(["train", "--config", str(config), "--data", str(data)]) == 0
    capsys.readouterr()
    assert "no test part" in fails(capsys, ["eval", str(tmp_path / "runs" / "drawn")], 1)


def test_an_import_that_brings_no_image_says_so_and_a_run_says_that_it_will_crawl(
    tmp_path: Path, capsys: Capture
) -> None:
    raw, urls = tmp_path / "data" / "drawn" / "raw", tmp_path / "urls.txt"
    (tmp_path / "junk" / "smile").mkdir(parents=True)
    (tmp_path / "junk" / "smile" / "notes.jpg").write_text("no picture")
    assert "holds no image yet" in fails(capsys, ["-q", "import", "folder", str(tmp_path / "junk"), "-o", str(raw)], 1)
    urls.write_text("http://127.0.0.1:9/a.jpg\n")
    crawl = f"crawl: {{engines: [urls], urls: {{smile: {json.dumps(str(urls))}}}, retries: 1}}"
    assert main(["run", "-c", str(write_config(tmp_path, crawl)), "--until", "crawl"]) == 1
    assert f"{raw} has no image: asking urls (`fer import` brings your own)" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["train", "--config"], ["audit", "--config"], ["eval"]])
def test_data_that_is_not_there_is_told_at_once(tmp_path: Path, command: list[str], capsys: Capture) -> None:
    told = fails(capsys, [*command, str(write_config(tmp_path, TRAINING)), "--data", str(tmp_path / "misspelt")], 2)
    assert f"--data {tmp_path / 'misspelt'}: no such folder" in told


def test_an_answer_that_is_not_sure_enough_is_uncertain_and_keeps_its_guess(
    run: Path, mixed: Path, capsys: Capture
) -> None:
    photo = str(mixed / "a.png")
    assert main(["predict", str(run), photo, "--json", "--uncertain", "1"]) == 0
    face = json.loads(capsys.readouterr().out)["faces"][0]
    assert (face["outcome"], face["label"]) == ("uncertain", "uncertain")
    assert face["probabilities"][face["guess"]] == face["confidence"] == max(face["probabilities"].values())
    assert main(["predict", str(run), photo, "--uncertain", "1"]) == 0
    assert re.search(r": uncertain \((open|closed) \d+%\)", capsys.readouterr().out)
    assert main(["predict", str(run), photo, "--json", "--uncertain", "0"]) == 0
    face = json.loads(capsys.readouterr().out)["faces"][0]
    assert (face["outcome"], face["label"]) == ("answered", face["guess"])


def test_a_machine_of_one_core_has_a_process_to_lose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    (tmp_path / "x.yaml").write_text("name: x\n")
    counts = [count_workers(read_config(tmp_path / "x.yaml", [], workers)) for workers in (None, "1", "ray")]
    assert counts == [2, 1, "ray"]
