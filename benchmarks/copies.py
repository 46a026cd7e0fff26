"""Share of planted copies that `dedupe` ties and the leakage gate tells.  `python -m benchmarks.copies PHOTOS`

PHOTOS is a folder of portraits. Of some of them changed copies are planted: *tied* is the share that `fer dedupe` drops
as copies or ties to their original, *told* the share that the gate of `fer eval` finds where all copies were tested on
and all originals trained on. Pairs of different photos that are tied, and photos of others that are told, are false.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from fer_pipeline.config.schema import CropSettings, DedupeConfig, Detector, Preprocessing, UnifyConfig
from fer_pipeline.dataset.class_folders import list_pictures
from fer_pipeline.dataset.rows import Row, Status, read_rows
from fer_pipeline.evaluation.leakage import find_leaks
from fer_pipeline.models.data import Crops
from fer_pipeline.sources.folders import find_in_folder
from fer_pipeline.sources.importers import import_images
from fer_pipeline.stages.dedupe import DEDUPE, measure_photo
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.stage import Keep
from fer_pipeline.stages.unify import UNIFY
from fer_pipeline.vision.crop import prepare
from fer_pipeline.vision.image_io import Image, read_image, resize, write_image

DEDUPE_SETTINGS = DedupeConfig(input=Path("unified"), output=Path("unique"))
LEVEL_EYES = Preprocessing(detector=Detector(), cut=CropSettings(scale="eyes", align=True))


def cut(image: Image, share: float) -> Image:
    """Cut a share of the sides off every edge."""
    height, width = round(share * image.shape[0]), round(share * image.shape[1])
    return np.array(image[height:-height, width:-width], np.uint8)


def watermark(image: Image) -> Image:
    """Write a line of text over the lower edge."""
    height, width = image.shape[:2]
    place = (width // 10, int(height * 0.95))
    return np.asarray(
        cv2.putText(image.copy(), "stock photo", place, cv2.FONT_HERSHEY_SIMPLEX, width / 400, (255, 255, 255), 2),
        np.uint8,
    )


def recolour(image: Image) -> Image:
    """Warm the colours up."""
    warm = np.clip(image * np.array([1.1, 0.9, 0.75]) + [10, 0, -10], 0, 255)
    return np.asarray(warm, np.uint8)


KINDS: dict[str, Callable[[Image], Image]] = {
    "mirrored": lambda image: image[:, ::-1],
    "in a wide black frame": lambda image: np.pad(image, ((60, 80), (40, 40), (0, 0))),
    "framed and mirrored": lambda image: np.pad(image[:, ::-1], ((20, 30), (20, 20), (0, 0)), constant_values=255),
    "colours changed": recolour,
    "with a line of text": watermark,
    "turned by a quarter": np.rot90,
    "a third of the size": lambda image: resize(image, image.shape[1] // 3, image.shape[0] // 3),
    "cut by 4 % on every side": lambda image: cut(image, 0.04),
    "cut by 8 % on every side": lambda image: cut(image, 0.08),
    "a tenth cut off at the top": lambda image: image[image.shape[0] // 10 :],
}


def main() -> None:
    """Print a line of the table for each kind of copy."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=200)
    given = parser.parse_args()
    files = list_pictures([given.photos])
    np.random.default_rng(1).shuffle(files)
    photos = [read_image(file) for file in files[: 2 * given.count]]
    planted, others = photos[: given.count], photos[given.count :]
    print("| copies | tied | told | pairs of different photos tied |\n|---|---|---|---|")
    for kind, change in KINDS.items():
        copies = [np.ascontiguousarray(change(photo)) for photo in planted]
        tied, false = count_tied(planted, copies)
        print(f"| {kind} | {tied:.3f} | {count_told(planted, copies)[0]:.3f} | {false:.5f} |", flush=True)
    print(f"\nphotos of others told: {count_told(planted, others)[1]} of {len(others)}")


def count_tied(planted: Sequence[Image], copies: Sequence[Image]) -> tuple[float, float]:
    """The share of copies dropped or tied to their original, and of pairs of originals that are tied."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for number, (photo, copy) in enumerate(zip(planted, copies, strict=True)):
            write_image(home / "in" / "a" / f"{number}.jpg", photo, 95)
            write_image(home / "in" / "a" / f"{number}-copy.jpg", copy, 90)
        import_images(find_in_folder(home / "in"), home / "raw", "planted")
        run_stage(UNIFY, UnifyConfig(input=home / "raw", output=home / "unified"))
        run_stage(DEDUPE, DedupeConfig(input=home / "unified", output=home / "unique"))
        rows = {Path(str(row.source["file"])).stem: row for row in read_rows(home / "unique")}
    pairs = [(rows[str(number)], rows[f"{number}-copy"]) for number in range(len(planted))]
    groups = [one.group for one, _ in pairs if one.group is not None]
    together = sum(groups.count(name) - 1 for name in groups) / 2
    tied = sum(
        Status.DROPPED in {one.status, copy.status} or one.group == copy.group is not None for one, copy in pairs
    )
    return tied / len(pairs), together / max(1, len(pairs) * (len(pairs) - 1) / 2)


def count_told(planted: Sequence[Image], tested: Sequence[Image]) -> tuple[float, int]:
    """The share of tested photos that the gate calls a copy of the planted one of their place, and how many in all."""
    train, test = crop_all(planted), crop_all(tested)
    leaks = find_leaks(test, train, DEDUPE_SETTINGS.distance)
    right = sum(test.rows[leak.test].path == train.rows[leak.train].path for leak in leaks)
    return right / max(1, len(test.rows)), len(leaks)


def crop_all(photos: Sequence[Image]) -> Crops:
    """The crops of the lips of all photos with a face, named by their places."""
    crops, rows = [], []
    for number, photo in enumerate(photos):
        for crop in prepare(photo, LEVEL_EYES)[:1]:
            crops.append(crop.image)
            row = Row(path=str(number), label="a")
            hashes = measure_photo(photo, row, DEDUPE_SETTINGS)
            assert isinstance(hashes, Keep)
            rows.append(row.replace(attributes=hashes.attributes))
    return Crops(np.stack(crops), np.zeros(len(crops), np.int64), rows, ["a"])


if __name__ == "__main__":
    main()
