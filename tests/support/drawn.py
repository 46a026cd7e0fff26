"""Drawn mouths for the tests of the model: an open one is a dark ellipse, a closed one a thin line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.dataset.rows import Row, write_rows
from fer_pipeline.files import hash_file
from fer_pipeline.vision.image_io import Image

LABELS = ("closed", "open")


def draw_mouth(label: str, number: int, side: int = 48) -> Image:
    """One mouth, a little different for every number."""
    rng = np.random.default_rng([LABELS.index(label) if label in LABELS else len(label), number])
    skin = tuple(int(value) for value in rng.integers(150, 220, 3))
    picture = PIL.Image.new("RGB", (side, side), skin)
    pen = PIL.ImageDraw.Draw(picture)
    x, y = (side / 2 + float(value) * side for value in rng.uniform(-0.06, 0.06, 2))
    half = side * float(rng.uniform(0.28, 0.36))
    tall = half * (0.8 if label == "open" else 0.12)
    pen.ellipse((x - half, y - tall, x + half, y + tall), fill=(60, 10, 20), outline=(170, 60, 70))
    noise = rng.integers(-8, 9, (side, side, 3))
    return np.asarray(np.clip(np.asarray(picture).astype(np.int64) + noise, 0, 255), dtype=np.uint8)


def write_png(path: Path, image: Image) -> Path:
    """Save a picture without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).save(path)
    return path


def write_split(folder: Path, train: int = 24, test: int = 8, labels: tuple[str, ...] = LABELS, side: int = 48) -> Path:
    """A finished split folder with so many mouths a class in each part."""
    rows = []
    for label in labels:
        for number in range(train + test):
            part: Any = "train" if number < train else "test"
            path = f"{label}/{number:03}.png"
            file = write_png(folder / part / path, draw_mouth(label, number, side))
            source = {"name": "even" if number % 2 == 0 else "odd"}
            rows.append(Row(path=path, label=label, split=part, sha256=hash_file(file), source=source))
    write_rows(folder, rows)
    return folder


def write_classes(folder: Path, count: int = 4, labels: tuple[str, ...] = LABELS) -> Path:
    """A plain folder with a folder per class, of mouths that no split holds."""
    for label in labels:
        for number in range(count):
            write_png(folder / label / f"{number}.png", draw_mouth(label, 1000 + number))
    return folder


def tiny_training(data: Path, run: Path, **changes: Any) -> TrainConfig:
    """Settings for a training of seconds, which learns the drawn mouths."""
    settings: dict[str, Any] = {
        "size": 32,
        "epochs": 3,
        "batch": 8,
        "augment": "none",
        "device": "cpu",
        "validation_share": 0.2,
        "ema": 0,
    }
    return TrainConfig(input=data, output=run, **(settings | changes))


def write_config(folder: Path, text: str = "", name: str = "drawn") -> Path:
    """A configuration whose folders lie below `folder`, with more lines of YAML if wanted."""
    path = folder / "config.yaml"
    home = f"name: {name}\ndata: {json.dumps(str(folder / 'data'))}\nruns: {json.dumps(str(folder / 'runs'))}\n"
    path.write_text(f"{home}{text}\n", encoding="utf-8")
    return path
