"""Promises of `fer_pipeline.report.plots`."""

from pathlib import Path

import numpy as np
import pytest
from support.drawn import write_split
from support.scored import make_metrics

from fer_pipeline.errors import InputError
from fer_pipeline.report.plots import contact_sheet, plot_confusion, plot_curves, plot_funnel
from fer_pipeline.vision.image_io import read_image


def history(epochs: int) -> list[dict[str, float]]:
    return [
        {"epoch": n, "train_loss": 1 / n, "val_loss": 1.1 / n, "train_accuracy": 0.5, "val_accuracy": 0.5}
        for n in range(1, epochs + 1)
    ]


def is_drawn(path: Path) -> bool:
    """Whether a file is a PNG with something on it."""
    picture = read_image(path)
    return path.read_bytes().startswith(b"\x89PNG") and min(picture.shape[:2]) > 100 and int(np.ptp(picture)) > 100


@pytest.mark.parametrize("epochs", [1, 20])
def test_curves_are_a_readable_picture(tmp_path: Path, epochs: int) -> None:
    plot_curves(history(epochs), tmp_path / "new" / "curves.png")
    assert is_drawn(tmp_path / "new" / "curves.png")


@pytest.mark.parametrize("labels", [["a", "b"], ["anger", "joy", "fear", "awe", "none"]])
def test_a_confusion_matrix_is_a_readable_picture(tmp_path: Path, labels: list[str]) -> None:
    everyone = list(range(len(labels)))
    plot_confusion(make_metrics(everyone, everyone, labels), tmp_path / "confusion.png")
    assert is_drawn(tmp_path / "confusion.png")


def test_a_label_that_no_font_has_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot_confusion(make_metrics([0, 1], [0, 1], ["\U0001343a", "smile"]), tmp_path / "confusion.png")
    assert is_drawn(tmp_path / "confusion.png")
    told = capsys.readouterr().err
    assert "install Noto Sans CJK" in told.replace("\n", " ")
    assert "plots.py" not in told


def test_a_class_without_images_can_be_drawn(tmp_path: Path) -> None:
    plot_confusion(make_metrics([1] * 10, [0] + [1] * 9), tmp_path / "confusion.png")
    assert is_drawn(tmp_path / "confusion.png")


def test_a_funnel_is_a_readable_picture(tmp_path: Path) -> None:
    plot_funnel([("raw", 100, {"empty": 3}), ("unified", 0, {})], tmp_path / "funnel.png")
    assert is_drawn(tmp_path / "funnel.png")


def test_a_picture_is_never_seen_half_written(tmp_path: Path) -> None:
    plot_funnel([("raw", 1, {})], tmp_path / "funnel.png")
    assert [path.name for path in tmp_path.iterdir()] == ["funnel.png"]


def test_a_contact_sheet_has_a_row_per_class(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=3, test=2)
    assert contact_sheet(data, tmp_path / "sheet.png", columns=8, tile=20) == 2
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.shape == (40, 88 + 160, 3)
    assert int(sheet[:, 88 + 100 :].min()) == 255, "a name, five pictures a class, then blanks"


def test_a_contact_sheet_shows_a_broken_file_as_grey(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=1, test=1)
    next(data.glob("train/*/*.png")).write_bytes(b"")
    assert contact_sheet(data, tmp_path / "sheet.png", columns=2, tile=20) == 2


def test_a_contact_sheet_of_an_unfinished_stage_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished stage"):
        contact_sheet(tmp_path, tmp_path / "sheet.png")
