"""Promises of `fer_pipeline.report.status` and `fer_pipeline.report.funnel`: what `fer status` tells."""

from pathlib import Path

import pytest
from support.drawn import write_classes, write_config
from support.scored import make_metrics

from fer_pipeline.__main__ import main
from fer_pipeline.config.loader import load_config
from fer_pipeline.dataset.rows import read_rows, write_rows
from fer_pipeline.evaluation.scores import write_record
from fer_pipeline.report.status import read_curves, read_status

Capture = pytest.CaptureFixture[str]
WHOLE = "filter: {detector: none}\ncrop: {region: whole, size: 32}\nsplit: {test_share: 0.25}\n"
STEPS = "workers: 1\ndedupe: {distance: 0, group_distance: 0}\ntrain: {network: simpleconv3, epochs: 2}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An experiment done up to the split."""
    write_classes(tmp_path / "photos", 6)
    raw = tmp_path / "data" / "drawn" / "raw"
    assert main(["-q", "import", "folder", str(tmp_path / "photos"), "-o", str(raw)]) == 0
    config = write_config(tmp_path, STEPS + WHOLE)
    assert main(["-q", "run", "-c", str(config), "--until", "split"]) == 0
    return config


def told(config: Path, capsys: Capture, *extra: str) -> list[str]:
    capsys.readouterr()
    assert main(["status", "-c", str(config), *extra]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_finished_experiment_up_to_the_split_lacks_the_training(config: Path, capsys: Capture) -> None:
    lines = told(config, capsys)
    assert lines[-1] == f"next: fer run --config {config}"
    assert not [line for line in lines if line.startswith("stale")]


def test_a_folder_made_from_another_state_of_its_input_is_stale(config: Path, capsys: Capture) -> None:
    faces = config.parent / "data" / "drawn" / "faces"
    write_rows(faces, read_rows(faces)[1:])
    lines = told(config, capsys)
    stale = [line for line in lines if line.startswith("stale")]
    assert len(stale) == 1
    assert "crops was made from another state of its input folder" in stale[0]
    assert lines[-1].startswith("next: fer run --config ")


def test_a_folder_made_with_other_settings_is_stale(config: Path, capsys: Capture) -> None:
    lines = told(config, capsys, "--set", "crop.size=48")
    assert any("crops was made with other settings (crop.size 32 → 48)" in line for line in lines)
    assert lines[-1].startswith("next: fer run --config ")


def test_a_begun_training_has_a_row_and_is_not_done(config: Path, capsys: Capture) -> None:
    run = load_config(config).train.output
    run.mkdir(parents=True)
    (run / "history.csv").write_text("epoch,train_loss,val_loss,train_accuracy,val_accuracy\n1,1,1,.5,.75\n")
    lines = told(config, capsys)
    assert read_status(load_config(config))[-1].told == "begun: epoch 1, validation 75.0%"
    assert lines[-1] == f"next: fer run --config {config}"


def test_training_and_measurement_have_rows_and_age(config: Path, capsys: Capture) -> None:
    settings = load_config(config).train
    settings.output.mkdir(parents=True)
    (settings.output / "model.onnx").write_bytes(b"a model")
    metrics = make_metrics([0, 1] * 25, [0, 1] * 22 + [1, 0] * 3, data=str(settings.input), model="old")
    write_record(settings.output / "metrics.json", metrics)
    lines = told(config, capsys)
    assert any(line.split()[0] == "train" for line in lines)
    assert read_status(load_config(config))[-1].told == "accuracy 88.0% (76.2% to 94.4%), 50 images"
    assert lines[-2].endswith("was measured with another model or on other data")
    assert lines[-1] == f"next: fer eval {settings.output}"


@pytest.mark.parametrize(
    "rubbish", [b'{"accuracy": 1}', *(pytest.param(one, marks=pytest.mark.slow) for one in (b"", b"\xff\xfe", b"[1]"))]
)
def test_rubbish_in_place_of_figures_is_no_crash(config: Path, rubbish: bytes) -> None:
    run = load_config(config).train.output
    run.mkdir(parents=True)
    (run / "metrics.json").write_bytes(rubbish)
    (run / "history.csv").write_bytes(rubbish)
    assert read_status(load_config(config))
    assert read_curves(run) == []
