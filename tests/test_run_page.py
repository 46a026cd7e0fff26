"""Promises of `fer_pipeline.report.run_page` and what it is made of."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support.drawn import tiny_training, write_split
from support.pagecheck import check_page, sections_of, text_of

from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.evaluate import evaluate, read_metrics
from fer_pipeline.evaluation.scores import Calibration, Leakage, ReliabilityBin, write_record
from fer_pipeline.report.run_page import write_run_page
from fer_pipeline.training.train import train

torch.set_num_threads(1)

HOSTILE = "<img src=x onerror=alert(1)>"
OPEN = "张嘴"
LABELS = (HOSTILE, OPEN)
MEASURED = ["mistakes", "classes", "sources", "reliability", "attention"]
ANOTHER = b'{"path":"z/0.png","label":"z","split":"train"}\n'
ALWAYS = ["training", "funnel", "card", "environment"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained and measured on classes with unpleasant names; not to be changed."""
    home = tmp_path_factory.mktemp("home")
    write_split(home / "split", train=16, test=6, labels=LABELS)
    train(tiny_training(home / "split", home / "run", network="simpleconv3", epochs=2))
    evaluate(home / "run")
    _call_wrong(home / "run" / "predictions.csv")
    return home / "run"


def _call_wrong(predictions: Path) -> None:
    """Make sure that one answer is wrong, and the surest."""
    lines = predictions.read_text(encoding="utf-8").splitlines()
    path = lines[1].partition(",")[0]
    lines[1] = f"{path},{HOSTILE},{OPEN},0.9876,0.0124,0.9876"
    predictions.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def run(measured: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may spoil; the data stays where it is."""
    return Path(shutil.copytree(measured, tmp_path / "run"))


def test_the_page_has_every_section_and_stands_alone(run: Path) -> None:
    page = write_run_page(run)
    assert page == run / "report.html"
    assert sections_of(check_page(page)) == MEASURED + ALWAYS
    assert page.stat().st_size < 1_000_000


def test_the_headline_has_both_figures_with_their_intervals(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    told = text_of(check_page(write_run_page(run)))
    low, high = metrics["accuracy_ci95"]
    assert f"Accuracy{metrics['accuracy']:.1%}95 %: {low:.1%} to {high:.1%}" in told
    assert f"Macro-F1{metrics['macro_f1']:.3f}" in told


def test_hostile_labels_are_text_and_chinese_ones_readable(run: Path) -> None:
    page = check_page(write_run_page(run))
    assert HOSTILE in text_of(page)
    assert OPEN in text_of(page)
    assert not page.xpath("//img[@src='x']")


def test_the_worst_mistake_comes_first_as_a_picture(run: Path) -> None:
    (mistakes,) = check_page(write_run_page(run)).xpath("//section[@id='mistakes']")
    first = mistakes.xpath(".//li")[0]
    assert " ".join(first.text_content().split()).startswith(f"{HOSTILE} → {OPEN}99% confidenttest/")
    assert first.xpath(".//img/@src")[0].startswith("data:image/jpeg;base64,")


def test_small_test_parts_are_warned_of_before_any_figure(run: Path) -> None:
    told = text_of(check_page(write_run_page(run)))
    assert 0 < told.index("Measured on 12 images: the true accuracy may lie anywhere in") < told.index("Macro-F1")
    assert f"Few test images of {HOSTILE} (6), {OPEN} (6)" in told


def test_leaks_and_calibration_are_told_where_the_measurement_knows_them(run: Path) -> None:
    metrics = read_metrics(run)
    gate: dict[str, Any] = {"limit": 0.01, "allowed": False, "passed": False}
    leakage = Leakage(checked=True, images=3, share=0.25, without=metrics.summary(), **gate)
    bins = [
        ReliabilityBin(low=0, high=0.5, count=0),
        ReliabilityBin(low=0.5, high=1, count=12, confidence=0.9, accuracy=0.5),
    ]
    calibration = Calibration(ece=0.123, temperature=1.7, bins=bins)
    changed = metrics.model_copy(update={"leakage": leakage, "calibration": calibration})
    write_record(run / "metrics.json", changed)
    page = check_page(write_run_page(run))
    assert "3 of the images measured on (25.0%) are copies of training images; without them accuracy is " in (
        text_of(page)
    )
    assert "12.3% (expected calibration error, temperature 1.7)" in text_of(page)
    assert "12 images of 90% confidence, 50% right" in page.xpath("//section[@id='reliability']//img/@alt")[0]
    assert "If less confident predictions are withheld" in text_of(page)


def test_the_alarm_of_an_audit_is_told(run: Path, measured: Path) -> None:
    audit = run.with_name("run-audit")
    audit.mkdir()
    figures = {"alarm": True, "data": str(measured.parent / "split"), "sentences": ["The width <b>tells</b> it."]}
    (audit / "audit.json").write_text(json.dumps(figures))
    assert "fer audit: The width <b>tells</b> it." in text_of(check_page(write_run_page(run)))
    (audit / "audit.json").write_text(json.dumps(figures | {"data": "elsewhere"}))
    assert "fer audit" not in text_of(check_page(write_run_page(run)))


def test_a_run_that_was_not_measured_says_so(run: Path) -> None:
    (run / "metrics.json").unlink()
    page = check_page(write_run_page(run))
    assert sections_of(page) == ALWAYS
    assert "Not measured yet: `fer eval` does." in text_of(page)


def test_figures_of_another_model_are_a_warning(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"model": "0" * 64}))
    assert "These scores are of another model file" in text_of(check_page(write_run_page(run)))


def test_data_that_is_gone_or_has_changed_costs_pictures_not_the_page(run: Path, measured: Path) -> None:
    split = measured.parent / "split"
    away = split.rename(split.with_name("away"))
    try:
        gone = text_of(check_page(write_run_page(run)))
        shutil.copytree(away, split)
        (split / "manifest.jsonl").write_bytes((away / "manifest.jsonl").read_bytes() + ANOTHER)
        changed = text_of(check_page(write_run_page(run)))
    finally:
        shutil.rmtree(split, ignore_errors=True)
        away.rename(split)
    assert "The images this model was trained on are no longer in" in gone
    assert "no such file" in gone
    assert "None of the images measured on can be opened any more." in gone
    assert "has changed since this model was trained" in changed


def test_without_checkpoints_the_model_file_alone_tells_what_was_looked_at(run: Path) -> None:
    assert "Grad-CAM" in text_of(check_page(write_run_page(run)))
    shutil.rmtree(run / "checkpoints")
    page = check_page(write_run_page(run))
    assert "Occlusion (Zeiler and Fergus 2014)" in text_of(page)
    assert len(page.xpath("//section[@id='attention']//img")) >= 4


@pytest.mark.parametrize("name", ["history.csv", "config.json", "environment.json", "predictions.csv"])
def test_rubbish_beside_the_model_costs_its_section_not_the_page(run: Path, name: str) -> None:
    (run / name).write_bytes(b"\xff\x00,\n\xfe{[")
    check_page(write_run_page(run))


@pytest.mark.parametrize("change", [{"confusion": [[1]]}, {"accuracy_ci95": "?"}, {"per_class": []}])
def test_damaged_figures_name_the_remedy(run: Path, change: dict[str, object]) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | change))
    with pytest.raises(InputError, match=r"metrics.json: damaged .* run `fer eval"):
        write_run_page(run)


def test_figures_elsewhere_get_their_page_there(run: Path, tmp_path: Path) -> None:
    evaluate(run, out=tmp_path / "scores")
    assert write_run_page(run, tmp_path / "scores") == tmp_path / "scores" / "report.html"
    assert sections_of(check_page(tmp_path / "scores" / "report.html")) == MEASURED + ALWAYS


def test_the_card_tells_the_recipe_in_words(run: Path) -> None:
    told = text_of(check_page(write_run_page(run)))
    assert "32 images" in told
    assert "none: the whole picture is taken for the face" in told
    assert "It predicts one of its 2 classes for every picture" in told
