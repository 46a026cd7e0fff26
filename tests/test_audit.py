"""Promises of `fer_pipeline.evaluation.audit`, `bias`, `image_attributes`, `label_models` and `fer audit`."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from support.drawn import LABELS, draw_mouth, write_config, write_png

from fer_pipeline.__main__ import main
from fer_pipeline.config.schema import AuditConfig, TrainConfig
from fer_pipeline.dataset.rows import Row
from fer_pipeline.evaluation.audit import Audit, audit
from fer_pipeline.evaluation.bias import Bias, balanced_accuracy, check_bias
from fer_pipeline.evaluation.bias_text import format_bias
from fer_pipeline.evaluation.image_attributes import measure_attributes
from fer_pipeline.report.audit_page import write_audit_page
from fer_pipeline.vision.image_io import read_header

COUNT = 60
FLIPS = 12


def fold(count: int) -> Any:
    return np.arange(count) % 5


def label_rows(count: int, labels: tuple[str, ...] = LABELS, **changes: Any) -> list[Row]:
    """Rows of no files, the classes in turn."""
    return [Row(path=f"{number}.png", label=labels[number // 5 % len(labels)], **changes) for number in range(count)]


def check(attributes: dict[str, Any], rows: list[Row], limit: float = 0.6) -> Bias:
    return check_bias(attributes, rows, fold(len(rows)), limit)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Audit, set[str]]:
    """The audit of drawn mouths of which one in ten stands in the wrong class folder, and which those are."""
    home = tmp_path_factory.mktemp("noisy")
    wrong = set()
    for label, other in zip(LABELS, LABELS[::-1], strict=True):
        for number in range(COUNT):
            flipped = number < FLIPS // 2
            name = f"{other if flipped else label}/{label}{number}.png"
            write_png(home / "data" / name, draw_mouth(label, number))
            wrong |= {name} if flipped else set()
    config = TrainConfig(input=home / "data", output=home / "runs" / "drawn")
    return audit(config, AuditConfig(), home / "out"), wrong


# --- label noise


def test_planted_flips_stand_first(noisy: tuple[Audit, set[str]]) -> None:
    result, wrong = noisy
    first = {one.row.path for one in result.suspects[: round(0.15 * 2 * COUNT)]}
    assert len(first & wrong) >= 0.7 * len(wrong)
    assert all(one.suggested != one.row.label for one in result.suspects if one.row.path in first & wrong)


def test_the_table_has_every_image_in_the_order_of_suspicion(noisy: tuple[Audit, set[str]]) -> None:
    result, _ = noisy
    with (result.folder / "audit.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["path", "label", "suggested", "quality", "rank", "is_issue", "source", "photo"]
    assert len({line["path"] for line in lines}) == 2 * COUNT
    assert [int(line["rank"]) for line in lines] == list(range(1, 2 * COUNT + 1))
    qualities = [float(line["quality"]) for line in lines]
    assert qualities == sorted(qualities)
    assert (
        sum(int(line["is_issue"]) for line in lines) == json.loads((result.folder / "audit.json").read_text())["issues"]
    )


# --- source bias


def test_drawn_mouths_of_one_hand_raise_no_alarm(noisy: tuple[Audit, set[str]]) -> None:
    result, _ = noisy
    assert not result.bias.is_alarming
    assert "nothing" in result.sentences[0]


def test_a_class_of_another_size_is_named_with_the_fact_and_the_figure(tmp_path: Path) -> None:
    for label, side in (("pout", 64), ("smile", 48), ("neutral", 48)):
        for number in range(30):
            write_png(tmp_path / label / f"{number}.png", draw_mouth(label, number, side + number % 3))
    rows = [Row(path=path.relative_to(tmp_path).as_posix(), label=path.parent.name) for path in tmp_path.glob("*/*")]
    rows.sort(key=lambda row: (row.label, row.path))
    bias = check(measure_attributes(tmp_path, rows), rows)
    assert bias.is_alarming
    assert format_bias(bias)[0].startswith("pout is predicted by image width alone: right for 100.0% of the images")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_chance_raises_no_alarm(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attributes = {name: rng.normal(size=80).tolist() for name in ("width", "aspect", "quality", "sharpness", "face")}
    bias = check(attributes, label_rows(80))
    assert not bias.is_alarming
    assert format_bias(bias)[0].startswith("Nothing in the files predicts the label")


def test_light_is_a_hint_and_no_alarm() -> None:
    rows = label_rows(80)
    bias = check({"brightness": [float(row.label == "open") for row in rows]}, rows)
    assert not bias.is_alarming
    assert any(said.startswith("Hint") and "brightness" in said for said in format_bias(bias))


@pytest.mark.slow
def test_unknown_values_and_names_are_facts_too() -> None:
    rows = label_rows(80)
    known = {"quality": [90.0 if row.label == "open" else None for row in rows]}
    named = {"format": ["PNG" if row.label == "open" else "JPEG" for row in rows]}
    assert check(known, rows).attributes[0].balanced == 1
    assert check(named, rows).attributes[0].balanced == 1


@pytest.mark.slow
def test_the_limit_decides() -> None:
    rows = label_rows(400)
    widths = [float((row.label == "open") ^ (number % 10 in {0, 6})) for number, row in enumerate(rows)]
    assert check({"width": widths}, rows, limit=0.7).is_alarming
    assert not check({"width": widths}, rows, limit=0.9).is_alarming


def test_a_class_from_one_source_only_is_named() -> None:
    rows = [
        row.replace(source={"name": "web" if row.label == "open" or number % 2 else "studio"})
        for number, row in enumerate(label_rows(80))
    ]
    bias = check({}, rows)
    assert bias.is_alarming
    assert format_bias(bias)[0].startswith("Class open comes from one source only (web): a model may learn the source")
    assert "bring photos of open from the other classes' sources, or record every class" in format_bias(bias)[1]


def test_images_of_one_group_count_once() -> None:
    targets, guesses = np.array([0] * 50 + [1] * 50), np.array([0] * 50 + [1] * 50)
    alone = balanced_accuracy(targets, guesses, np.arange(100).astype(str))
    few = balanced_accuracy(targets, guesses, np.repeat(np.arange(10), 10).astype(str))
    assert alone[0] == few[0] == 1
    assert few[1][0] < alone[1][0] < 1 == alone[1][1]


def test_the_file_as_found_is_measured_and_not_the_crop(tmp_path: Path) -> None:
    rows = []
    for number in range(2):
        image = PIL.Image.fromarray(draw_mouth("open", number))
        (tmp_path / "raw" / "open").mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "raw" / "open" / f"{number}.jpg", quality=50 + 40 * number)
        write_png(tmp_path / "crops" / "train" / "open" / f"{number}-2.png", draw_mouth("open", number))
        attributes = {"width": 100 + number, "height": 200}
        rows.append(Row(path=f"train/open/{number}-2.png", label="open", attributes=attributes))
    table = measure_attributes(tmp_path / "crops", rows, tmp_path / "raw")
    assert table["width"] == [100, 101]
    assert table["quality"] == pytest.approx([50, 90], abs=1)
    assert "format" not in table, "both are JPEG"


@pytest.mark.parametrize("quality", [20, 50, 75, 95])
def test_jpeg_quality_is_read_from_its_tables(quality: int, tmp_path: Path) -> None:
    PIL.Image.fromarray(draw_mouth("open", 0)).save(tmp_path / "a.jpg", quality=quality)
    header = read_header((tmp_path / "a.jpg").read_bytes())
    assert header is not None
    assert header.quality == pytest.approx(quality, abs=1)


# --- the page and the command


def test_the_page_stands_alone_and_escapes_what_it_shows(noisy: tuple[Audit, set[str]], tmp_path: Path) -> None:
    result, wrong = noisy
    hostile = result.suspects[0].row.replace(source={"url": "<script>alert(1)</script>"})
    text = page_of(result, hostile, tmp_path)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert text.count("data:image/jpeg") >= len(wrong) / 2
    assert all(sentence.split(":")[0] in text for sentence in result.sentences)


def page_of(result: Audit, row: Row, folder: Path) -> str:
    """The page of the same audit with another row first."""
    from dataclasses import replace

    first = replace(result.suspects[0], row=row)
    changed = replace(result, suspects=[first, *result.suspects[1:]], folder=folder)
    return write_audit_page(changed, 24).read_text(encoding="utf-8")


def test_the_command_tells_and_fails_if_asked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label, side in zip(LABELS, (48, 60), strict=True):
        for number in range(25):
            write_png(tmp_path / "mouths" / label / f"{number}.png", draw_mouth(label, number, side))
    config = write_config(tmp_path)
    line = ["-q", "audit", "-c", str(config), "--data", str(tmp_path / "mouths")]
    assert main(line) == 0
    assert "closed is predicted by image width alone: right for 100.0%" in capsys.readouterr().out
    out = tmp_path / "runs" / "drawn-audit"
    assert {"audit.csv", "audit.json", "audit.html"} <= {path.name for path in out.iterdir()}
    assert main([*line, "--fail-on-bias"]) == 1
    assert main([*line, "--fail-on-bias", "--limit", "0.99"]) == 0
