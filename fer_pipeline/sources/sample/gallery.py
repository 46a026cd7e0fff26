"""A folder of drawn photos as a crawl would leave it: label folders with photos and junk, and an index of the truth."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fer_pipeline.dataset.provenance import locked_output, read_provenance, write_provenance
from fer_pipeline.dataset.rows import is_inside
from fer_pipeline.files import remove_files, write_aside

from .drawing import draw_photo
from .faces import LABELS, Face, random_face
from .junk import ENCODINGS, HTML, Pixels, copy_photo, draw_scene, encode, to_jpeg
from .landmarks import Points

STRAY_LABELS = {"smile": "neutral", "open": "pout"}  # the last copy under the first shows a photo of the second
INDEX = "index.json"
STAGE = "sample"
BROKEN = ("truncated", "html", "empty")


@dataclass(frozen=True)
class Entry:
    """One file to write: its path in the folder, what it is, and the numbers that seed its drawing."""

    file: str
    label: str
    kind: str
    seeds: tuple[int, int]
    encoding: str = ""
    of: str | None = None


def draw_gallery(
    folder: Path, per_label: int = 48, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> bool:
    """Draw `per_label` photos a label, junk besides, and last `index.json`; returns whether there was anything to do.

    Each record of the index holds file, label, kind, of (the file it copies) and landmarks: per face 68 points
    [x, y] in pixels of the upright picture. The same arguments give the same bytes. `progress` gets (files done, all
    files). InputError for a folder that holds something else.
    """
    wanted = {"stage": STAGE, "settings": {"per_label": per_label, "seed": seed}}
    with locked_output(folder, STAGE):
        made = read_provenance(folder)
        if made == wanted and (folder / INDEX).is_file():
            return False
        before = _known_files(folder, made)
        write_provenance(folder, wanted)
        _draw_all(folder, plan_gallery(per_label, seed), before, progress)
    return True


def _known_files(folder: Path, made: dict[str, Any] | None) -> set[str]:
    """The files that a finished gallery lists, and those that one which was broken off would have."""
    known: set[str] = set()
    if (folder / INDEX).is_file():
        known |= {str(record["file"]) for record in json.loads((folder / INDEX).read_bytes())}
    if made is not None:
        settings = made["settings"]
        known |= {entry.file for entry in plan_gallery(settings["per_label"], settings["seed"])}
    return {file for file in known if is_inside(file)}


def _draw_all(
    folder: Path, entries: list[Entry], before: set[str], progress: Callable[[int, int], None] | None
) -> None:
    truths: dict[str, list[Points]] = {}
    for label in LABELS:
        (folder / label).mkdir(parents=True, exist_ok=True)
    for done, entry in enumerate(sorted(entries, key=lambda entry: (entry.of is not None, entry.file)), start=1):
        content, truths[entry.file] = _make_copy(folder, entry, truths) if entry.of else _make(entry)
        write_aside(folder / entry.file, [content], sync=False)
        if progress:
            progress(done, len(entries))
    remove_files(folder, sorted(before - {entry.file for entry in entries}))
    records = [_to_record(entry, truths[entry.file]) for entry in entries]
    text = "[\n" + ",\n".join(json.dumps(record) for record in records) + "\n]\n"
    write_aside(folder / INDEX, [text.encode()])


def plan_gallery(per_label: int, seed: int) -> list[Entry]:
    """Every file of the gallery, in the order of its name; the amount of junk follows `per_label`."""
    entries = [entry for label in LABELS for entry in _plan_label(label, per_label, seed)]
    photos = {label: [e.file for e in entries if e.label == label and e.kind == "photo"] for label in LABELS}
    originals: dict[str, str] = {}
    for number, label in enumerate(LABELS):
        rng = np.random.default_rng([seed, number, 1])
        copies = [entry.file for entry in entries if entry.label == label and entry.kind == "copy"]
        chosen = [str(file) for file in rng.permutation(photos[label])[: len(copies)]]
        if label in STRAY_LABELS:
            chosen[-1] = str(rng.choice(photos[STRAY_LABELS[label]]))
        originals |= dict(zip(copies, chosen, strict=True))
    return [replace(entry, of=originals.get(entry.file)) for entry in entries]


def _plan_label(label: str, per_label: int, seed: int) -> list[Entry]:
    """The files under one label, photos and junk shuffled."""
    number = LABELS.index(label)
    amounts = {"photo": per_label, "scene": -(-per_label // 12), "several": -(-per_label // 20), "copy": per_label // 8}
    kinds = [(kind, "") for kind, amount in amounts.items() for _ in range(max(1, amount))]
    odd = [("encoding", name) for name in ENCODINGS] + [(kind, "") for kind in BROKEN]
    kinds += odd[number :: len(LABELS)]
    order = np.random.default_rng([seed, number]).permutation(len(kinds))
    entries = []
    for place, index in enumerate(order, start=1):
        kind, encoding = kinds[index]
        file = f"{label}/{place:04d}.{ENCODINGS.get(encoding, 'jpg')}"
        entries.append(Entry(file, label, kind, (seed, 100_000 * (number + 1) + place), encoding))
    return entries


def _make(entry: Entry) -> tuple[bytes, list[Points]]:
    """The bytes of a file that copies no other, and the landmarks (68, 2) of each face in it."""
    rng = np.random.default_rng(entry.seeds)
    if entry.kind in ("html", "empty"):
        return (HTML if entry.kind == "html" else b""), []
    width, height = random_size(rng, wide=entry.kind == "several")
    if entry.kind == "scene":
        return to_jpeg(draw_scene(rng, width, height), 85), []
    group = _random_group if entry.kind == "several" else _random_single
    faces = group(rng, entry.label, width, height)
    photo, landmarks = draw_photo(faces, width, height, rng)
    content = encode(photo, entry.encoding) if entry.encoding else to_jpeg(photo, int(rng.integers(72, 95)))
    if entry.kind == "truncated":
        return content[: len(content) * 2 // 5], landmarks
    return content, landmarks


def _make_copy(folder: Path, entry: Entry, truths: dict[str, list[Points]]) -> tuple[bytes, list[Points]]:
    """A near copy of a photo written before, and its landmarks."""
    original = entry.of or ""
    with Image.open(folder / original) as image:
        photo: Pixels = np.array(image.convert("RGB"))
    content, scale = copy_photo(photo, np.random.default_rng(entry.seeds))
    return content, [np.float32(scale) * points for points in truths[original]]


def random_size(rng: np.random.Generator, wide: bool = False) -> tuple[int, int]:
    """Width and height of a photo in px: mostly 240 to 700 on the longer side, now and then 200 or up to 1600."""
    low, high = ((240, 700), (200, 260), (700, 1600))[rng.choice(3, p=(0.85, 0.07, 0.08))]
    if wide:
        low, high = 480, 900
    longer = round(rng.uniform(low, high))
    shorter = round(longer * (rng.uniform(0.55, 0.7) if wide else rng.choice((1, 0.8, 0.75, 0.67))))
    return (longer, shorter) if wide or rng.random() < 0.45 else (shorter, longer)


def _random_single(rng: np.random.Generator, label: str, width: int, height: int) -> list[Face]:
    """One person anywhere in the photo."""
    return [random_face(rng, label, width, height)]


def _random_group(rng: np.random.Generator, label: str, width: int, height: int) -> list[Face]:
    """Two or three people side by side, all with the same expression."""
    count = int(rng.integers(2, 4)) if width > 560 else 2
    size = min(0.58 * width / count, 0.45 * height)
    faces = []
    for column in range(count):
        x = (column + 0.5 + rng.uniform(-0.06, 0.06)) * width / count
        y = height * rng.uniform(0.36, 0.46)
        faces.append(random_face(rng, label, width, height, (float(x), float(y)), float(size * rng.uniform(0.88, 1))))
    return faces


def _to_record(entry: Entry, faces: list[Points]) -> dict[str, object]:
    """The entry as the index tells it."""
    landmarks = [[[round(float(x), 1), round(float(y), 1)] for x, y in face] for face in faces]
    return {"file": entry.file, "label": entry.label, "kind": entry.kind, "of": entry.of, "landmarks": landmarks}
