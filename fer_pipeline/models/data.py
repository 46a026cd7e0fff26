"""Read crops for training: one memory-mapped uint8 array, their labels, and the rows they were made from."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline import __version__
from fer_pipeline.config.schema import CropSettings
from fer_pipeline.console import counted, note, progress
from fer_pipeline.dataset.class_folders import UNLABELLED, read_tree
from fer_pipeline.dataset.experiment import file_below
from fer_pipeline.dataset.rows import MANIFEST, Row, kept_rows
from fer_pipeline.errors import InputError
from fer_pipeline.files import hash_file
from fer_pipeline.vision.crop import as_crop, measure_crops
from fer_pipeline.vision.image_io import BadImage, read_image

FOLDS = "folds.json"  # what a cross-validation writes
WHOLE = CropSettings(region="whole")


@dataclass(frozen=True)
class Crops:
    """n crops: `images` uint8 (n, size, size, 3) RGB, `targets` int64 (n,), a row each, and measures of the mouth."""

    images: NDArray[np.uint8]
    targets: NDArray[np.int64]
    rows: list[Row]
    labels: list[str]
    measures: NDArray[np.float32] | None = None  # (n, m), for models that take them

    def part(self, chosen: list[int]) -> "Crops":
        """Select some crops by index; the pixels are copied."""
        rows, measures = [self.rows[index] for index in chosen], self.measures
        measures = None if measures is None else measures[chosen]
        return Crops(self.images[chosen], self.targets[chosen], rows, self.labels, measures)

    def known_measures(self) -> NDArray[np.float32]:
        """Return the measures (n, m), or (n, 0) where there are none."""
        return np.zeros((len(self.targets), 0), np.float32) if self.measures is None else self.measures


def list_crops(folder: Path, part: str | None = None) -> list[Row]:
    """List the labelled crops of a stage's folder (by its manifest), or of any that has a folder per class.

    `part` selects train or test where the folder has parts. Each row's `path` is relative to the folder.
    """
    if (folder / MANIFEST).is_file():
        rows = [row.replace(path=file_below(folder, row).relative_to(folder).as_posix()) for row in kept_rows(folder)]
        rows = [row for row in rows if row.label is not None and (part is None or row.split in {part, None})]
    else:
        rows = _list_labelled(folder, part)
    if not rows:
        raise InputError(f"{folder} holds no labelled images{f' for {part}' if part else ''}: run `fer split` first")
    return rows


def hash_data(folder: Path) -> str:
    """Hash a training folder: its manifest, or else the names and sizes of its images."""
    if (folder / MANIFEST).is_file():
        return hash_file(folder / MANIFEST)
    digest = hashlib.sha256()
    for row in _list_labelled(folder):
        digest.update(f"{row.path} {(folder / row.path).stat().st_size}\n".encode())
    return digest.hexdigest()


def _list_labelled(folder: Path, part: str | None = None) -> list[Row]:
    """List the images of class folders as an import reads them: of the wanted part, if the folder has parts."""
    if not folder.is_dir():
        raise InputError(
            f"{folder} holds no finished stage and no folder per class: run `fer split` first, or name another"
        )
    tree = read_tree(folder)
    pictures = tree.pictures()
    # Beside a test part what a set calls its validation part is for choosing, and no test.
    tested = {one.name for one in pictures if one.usage.lower().startswith("test")}
    left = {one.name for one in pictures if tested and one.part == "test"} - tested
    rows = [
        Row(path=one.path.relative_to(folder).as_posix(), label=one.label, split=one.part, source={"name": folder.name})
        for one in pictures
        if one.label is not None and one.name not in left
    ]
    if part is not None:  # hashing the folder says nothing
        tree.passed["of a validation part, which training takes out of its own"] += sorted(left)
        tree.passed[UNLABELLED] += [one.name for one in pictures if one.label is None]
        for sentence in tree.format_passed():
            note(f"{folder}: passed over: {sentence}")
    has_parts = {"train", part} & {row.split for row in rows}
    return [row for row in rows if row.split == part] if part and has_parts else rows


def load_crops(
    folder: Path,
    rows: list[Row],
    labels: list[str],
    size: int,
    cache: Path,
    measures: Sequence[str] = (),
    cut: CropSettings = WHOLE,
) -> Crops:
    """Decode crops once into an array in `cache`, which later runs map into memory.

    `measures` names the measures of the mouth to compute and keep beside it, with the landmarks of `cut`. Raises
    InputError for a file that cannot be read.
    """
    unknown = sorted({str(row.label) for row in rows} - set(labels))
    if unknown:
        raise InputError(f"{folder}: class {unknown[0]!r} is unknown to the model, which knows {', '.join(labels)}")
    targets = np.array([labels.index(str(row.label)) for row in rows], dtype=np.int64)
    path = cache / f"crops-{size}-{_fingerprint(folder, rows)}.npy"
    if not path.is_file():
        _decode_all(folder, rows, size, path)
    images = np.load(path, mmap_mode="r")
    return Crops(images, targets, rows, labels, _measure_all(images, measures, cut, path) if measures else None)


def _fingerprint(folder: Path, rows: list[Row]) -> str:
    """Hash names, sizes and times of the files, so that crops rebuilt under the same names are decoded again."""
    digest = hashlib.sha256()
    for row in rows:
        try:
            found = (folder / row.path).stat()
        except OSError as error:
            raise InputError(f"{folder / row.path}: cannot be read ({error.strerror}): rebuild the folder") from None
        digest.update(f"{row.path} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _decode_all(folder: Path, rows: list[Row], size: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    array = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(len(rows), size, size, 3))
    if hasattr(os, "posix_fallocate"):  # a full disk is an error here; on a mapped page it would be a SIGBUS
        with aside.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, aside.stat().st_size)
    with progress("decode", len(rows)) as advance:
        for index, row in enumerate(rows):
            try:
                array[index] = as_crop(read_image(folder / row.path), size)
            except (BadImage, OSError) as error:
                raise InputError(f"{folder / row.path}: cannot be read ({error}): fix or remove it") from None
            advance(1)
    array.flush()
    aside.replace(path)


def _measure_all(images: NDArray[np.uint8], names: Sequence[str], cut: CropSettings, path: Path) -> NDArray[np.float32]:
    """Compute the measures (n, m) of decoded crops, once for the same crops, names and landmark model."""
    wanted = hashlib.sha256(f"{__version__} {names} {cut.region} {cut.landmarks}".encode()).hexdigest()[:8]
    kept = path.with_name(f"measures-{path.stem}-{wanted}.npy")
    if not kept.is_file():
        parts = []
        with progress("measure", len(images)) as advance:
            for start in range(0, len(images), 64):
                parts.append(measure_crops(images[start : start + 64], names, cut))
                advance(len(parts[-1]))
        write_arrays(kept, np.concatenate(parts))
    return np.asarray(np.load(kept, allow_pickle=False), np.float32)


def write_arrays(path: Path, *arrays: Any) -> None:
    """Save arrays one after another in a file, written aside and renamed."""
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        for array in arrays:
            np.save(file, array, allow_pickle=False)
    aside.replace(path)


def check_classes(rows: list[Row], folder: Path) -> list[str]:
    """List the labels of a training folder; raises InputError for fewer than two classes, or two images of one."""
    counts = Counter(str(row.label) for row in rows)
    if len(counts) < 2:
        raise InputError(f"{folder}: only the class {next(iter(counts))!r}: a classifier needs at least two")
    poor = [label for label, count in counts.items() if count < 2]
    if poor:
        raise InputError(f"{folder}: class {poor[0]!r} has one image only: add more, or leave it out by split.labels")
    return sorted(counts)


def source_of(row: Row) -> str:
    """Name the source of an image: the search engine or the data set."""
    return str(row.source.get("engine") or row.source.get("name") or "unknown")


def group_of(row: Row) -> str:
    """Name the group of an image, which no split divides: the row's, or the image alone."""
    return row.group or row.path


def assign_folds(rows: list[Row], count: int, seed: int) -> NDArray[np.int64]:
    """Assign each image a fold (n,), stratified by label, groups whole; raises InputError for too few groups."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = [str(row.label) for row in rows], [group_of(row) for row in rows]
    for label in sorted(set(labels)):
        found = len({group for group, own in zip(groups, labels, strict=True) if own == label})
        if found < count:
            raise InputError(
                f"class {label!r} has {counted(found, 'group')} of images, too few for {count} folds: ask for fewer"
            )
    folds = np.zeros(len(rows), np.int64)
    parts = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(np.zeros(len(rows)), labels, groups)
    for index, (_, held) in enumerate(parts):
        folds[held] = index
    return folds
