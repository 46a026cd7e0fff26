"""Pictures and folders the tests draw for themselves."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.dataset.rows import Row, write_rows
from fer_pipeline.sources.sample import Face, draw_photo, random_face
from fer_pipeline.sources.sample.junk import draw_scene, to_jpeg
from fer_pipeline.vision.image_io import Image, write_image

Points = NDArray[np.float32]


def facing(face: Face) -> Face:
    """The face turned to the camera, with nothing on it: any detector sees it."""
    return replace(face, yaw=0.0, pitch=0.0, glasses=False, beard=0.0, moustache=0.0)


def draw_portrait(
    seed: int, label: str = "neutral", side: int = 320, tilt: float | None = None
) -> tuple[Image, Points]:
    """One drawn person and the 68 true landmarks; `tilt` in degrees replaces the random one."""
    rng = np.random.default_rng(seed)
    face = random_face(rng, label, side, side, (side / 2, side * 0.42), side * 0.45)
    if tilt is not None:
        face = replace(face, tilt=tilt)
    photo, landmarks = draw_photo([facing(face)], side, side, rng)
    return photo, landmarks[0]


def draw_pair(seed: int, width: int = 480, height: int = 320) -> Image:
    """Two drawn people side by side, the one on the left larger."""
    rng = np.random.default_rng(seed)
    left = random_face(rng, "smile", width, height, (width * 0.28, height * 0.42), 150)
    right = random_face(rng, "smile", width, height, (width * 0.76, height * 0.42), 115)
    faces = [replace(facing(face), tilt=0.0) for face in (left, right)]
    return draw_photo(faces, width, height, rng)[0]


def draw_view(seed: int, side: int = 240) -> Image:
    """A picture without a face."""
    return draw_scene(np.random.default_rng(seed), side, side)


def draw_noise(seed: int, width: int = 40, height: int = 40) -> Image:
    """A small coarse pattern of its own: cheap, and no near-copy of another seed's."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(np.kron(blocks, np.ones((-(-height // 8), -(-width // 8), 1), np.uint8))[:height, :width])


def make_folder(folder: Path, pictures: Mapping[str, Image | bytes], **fields: Any) -> Path:
    """A finished stage's folder: the pictures under their paths, and a row for each."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for path, picture in pictures.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, bytes):
            target.write_bytes(picture)
        elif target.suffix == ".png":
            write_image(target, picture)
        else:
            target.write_bytes(to_jpeg(picture, 95))
        rows.append(Row(path=path, label=path.partition("/")[0] if "/" in path else None, **fields))
    write_rows(folder, rows)
    return folder


def make_noise_folder(folder: Path, count: int) -> Path:
    """A finished folder of `count` small patterns of one class, `a/00.jpg` and so on."""
    return make_folder(folder, {f"a/{number:02d}.jpg": draw_noise(number) for number in range(count)})


def list_files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock, with its bytes."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def read_index(gallery: Path) -> list[dict[str, Any]]:
    """What the gallery knows of its files."""
    index: list[dict[str, Any]] = json.loads((gallery / "index.json").read_text(encoding="utf-8"))
    return index
