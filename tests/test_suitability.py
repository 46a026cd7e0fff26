"""A score on pictures of another kind than the model reads, or of one class, is told to be none."""

from pathlib import Path

import pytest
from support.drawn import draw_mouth
from support.pictures import draw_portrait

from fer_pipeline import pipeline
from fer_pipeline.config.schema import CropSettings, Detector, Preprocessing
from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.suitability import find_doubts
from fer_pipeline.models.model_file import Card
from fer_pipeline.vision.crop import prepare
from fer_pipeline.vision.image_io import write_image

DETECTOR = Detector()


def card(region: str) -> Card:
    cut = CropSettings.model_validate({"region": region})
    preprocessing = Preprocessing(detector=DETECTOR, cut=cut)
    return Card(labels=["a", "b"], size=32, network="x", preprocessing=preprocessing, data="", settings={})


def pictures(folder: Path, kind: str) -> list[Row]:
    """Twelve photos, crops of the face or crops of the lips, of two classes."""
    rows = []
    for number in range(12):
        if kind == "photo":
            image = draw_portrait(number)[0]
        elif kind == "face":
            cut = CropSettings(region="face", scale="eyes")
            image = prepare(draw_portrait(number)[0], Preprocessing(detector=DETECTOR, cut=cut))[0].image
        else:
            image = draw_mouth("open", number)
        row = Row(path=f"{'ab'[number % 2]}/{number}.png", label="ab"[number % 2])
        write_image(folder / row.path, image)
        rows.append(row)
    return rows


@pytest.mark.parametrize(
    ("region", "kind", "told"),
    [
        ("lips", "photo", "holds photos, it seems"),
        ("lips", "lips", ""),
        ("face", "photo", "holds photos, it seems"),
        ("face", "face", ""),
        ("face", "lips", "shows no faces"),
        ("whole", "photo", ""),
    ],
)
def test_pictures_of_another_kind_are_told(tmp_path: Path, region: str, kind: str, told: str) -> None:
    doubts = find_doubts(card(region), tmp_path, pictures(tmp_path, kind))
    assert bool(doubts) == bool(told)
    assert told in "".join(doubts)


def test_one_class_alone_is_a_score_only_if_it_is_allowed(trained_copy: Path, tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / "in" / "open" / f"{number}.png", draw_mouth("open", 900 + number))
    with pytest.raises(InputError, match="--allow-mismatch"):
        pipeline.evaluate_run(trained_copy / "run", tmp_path / "in", tmp_path / "out", allow_leakage=True)
    assert (tmp_path / "out" / "metrics.json").is_file()
    pipeline.evaluate_run(
        trained_copy / "run", tmp_path / "in", tmp_path / "out", allow_mismatch=True, allow_leakage=True
    )
