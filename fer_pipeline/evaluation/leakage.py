"""The leakage gate: test images that a model has seen in training, as the same picture or a near copy.

Exact copies are found by the SHA-256 of the file or of the crop's pixels, near copies by the perceptual hash of the
photos, where crops were cut out of hashed photos on both sides, and always by the crops, also mirrored. With hashes
the nearest crop by the correlation of the middles must also agree window by window (`vision.same_picture`): so copies
of a photo that was cut otherwise are found too, and drawn faces and crops of one sitter, which correlate, are none.
Without, the correlation of whole crops, shrunk, grey and standardised, decides. Measured at 24 px and 0.955
(docs/results.md): 51 pairs in 2,484 mouths, none of them strangers, who reach 0.953; and none in 786 level crops of
other photos. A hash of crops calls strangers copies.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.dataset.provenance import settings_of
from fer_pipeline.dataset.rows import Row, session_of
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.metrics import score
from fer_pipeline.evaluation.scores import Leakage, Metrics, Score
from fer_pipeline.models.data import Crops, hash_data, list_crops, load_crops
from fer_pipeline.models.model_file import Card
from fer_pipeline.vision.crop import as_crop
from fer_pipeline.vision.image_io import to_grey
from fer_pipeline.vision.same_picture import are_one_crop, middle_of

LEAKS = "leaks.csv"
SIDE = 24  # 16 px calls strangers copies, 32 px takes four times as long
MIN_CORRELATION = 0.955
MIN_MIDDLE = 0.6  # of the middles of crops that are then compared window by window
AT_ONCE = 4096  # training crops compared at a time: 60 MB beside FER2013's test part
LIMIT = 0.01  # share of the test images


@dataclass(frozen=True)
class Leak:
    """A test image and the training image it copies, by index; the distance is in bits or 1 - correlation."""

    test: int
    train: int
    kind: str  # exact, photo, crop, mirrored
    distance: float


@dataclass(frozen=True)
class Gate:
    """The largest share of test images that may be copies of training images, and whether more is allowed."""

    limit: float = LIMIT
    allow: bool = False


@dataclass(frozen=True)
class LeakageCheck:
    """The lines of `leaks.csv`, and their summary in `metrics.json`."""

    lines: list[tuple[str, str, str, str]]
    leakage: Leakage


def check_leakage(
    card: Card, folder: Path, crops: Crops, probabilities: NDArray[np.float32], cache: Path, gate: Gate
) -> LeakageCheck:
    """Search a folder's crops for copies of training images, if the training folder is unchanged."""
    source = card.training_folder
    try:
        if hash_data(source) != card.data:
            return _not_checked(f"{source} has changed since the training", gate)
        rows = list_crops(source, "train")
        training = load_crops(source, rows, card.labels, card.size, cache)
    except InputError:
        return _not_checked(f"the training images are no longer in {source}", gate)
    leaks = find_leaks(crops, training, _photo_distance(source, folder))
    lines = [
        (crops.rows[leak.test].path, training.rows[leak.train].path, leak.kind, f"{leak.distance:.4g}")
        for leak in leaks
    ]
    share = round(len(leaks) / len(crops.targets), 4)
    leakage = Leakage(
        checked=True,
        images=len(leaks),
        share=share,
        kinds={kind: sum(leak.kind == kind for leak in leaks) for kind in sorted({leak.kind for leak in leaks})},
        without=_score_without(leaks, crops, probabilities),
        limit=gate.limit,
        allowed=gate.allow,
        passed=gate.allow or share <= gate.limit,
    )
    return LeakageCheck(lines, leakage)


def _not_checked(reason: str, gate: Gate) -> LeakageCheck:
    leakage = Leakage(checked=False, reason=reason, limit=gate.limit, allowed=gate.allow, passed=True)
    return LeakageCheck([], leakage)


def refuse_leaks(metrics: Metrics, folder: Path) -> None:
    """Raise InputError for a score with more leakage than its limit; the figures are on disk by then."""
    leakage = metrics.leakage
    if leakage is None or leakage.passed:
        return
    share = f"{leakage.images:,} of {metrics.count:,} test images ({leakage.share:.1%})"
    remedy = "remove them (`fer dedupe` and `fer split` keep copies together), or pass --allow-leakage if they are none"
    where = f"{folder / LEAKS} lists them"
    raise InputError(f"{share} are copies of training images, more than {leakage.limit:.1%}: {where}: {remedy}")


def _score_without(leaks: list[Leak], crops: Crops, probabilities: NDArray[np.float32]) -> Score | None:
    """The score on the test images that are no copies; None if there are none."""
    clean = np.setdiff1d(np.arange(len(crops.targets)), [leak.test for leak in leaks])
    return score(crops.targets[clean], probabilities[clean], crops.labels).summary() if len(clean) else None


def _photo_distance(source: Path, folder: Path) -> int | None:
    """Differing bits up to which two photos are copies; None if crops have no comparable hash of their photo."""
    dedupe = [settings_of(one, "dedupe") for one in (source, folder)]
    cut = [settings_of(one, "crop") for one in (source, folder)]
    if any(one is None or one["region"] == "whole" for one in cut):
        return None
    if dedupe[0] is None or dedupe[1] is None or dedupe[0]["hash"] != dedupe[1]["hash"]:
        return None
    return int(dedupe[0]["distance"])


def find_leaks(test: Crops, train: Crops, photo_distance: int | None = None) -> list[Leak]:
    """The nearest training image of every test image that has a copy there, at most one each, in order."""
    found = _find_exact(test, train)
    hashed = photo_distance is not None and all("hash" in row.attributes for row in (*test.rows, *train.rows))
    near = list(_find_photos(test, train, photo_distance or 0)) if hashed else []
    near += [leak for leak in _find_crops(test, train, middles=hashed) if not hashed or _agrees(leak, test, train)]
    for leak in near:
        # Two sessions of one person at one camera look alike by nature; a later one is there to measure the model.
        if not (session_of(test.rows[leak.test]) and session_of(train.rows[leak.train])):
            found.setdefault(leak.test, leak)
    return [found[index] for index in sorted(found)]


def _agrees(leak: Leak, test: Crops, train: Crops) -> bool:
    own = np.asarray(test.images[leak.test])
    if leak.kind == "mirrored":
        own = np.ascontiguousarray(own[:, ::-1])
    return are_one_crop(own, np.asarray(train.images[leak.train]))


def _find_exact(test: Crops, train: Crops) -> dict[int, Leak]:
    """The same original file, or the same pixels."""
    known: dict[str, int] = {}
    for index in range(len(train.rows) - 1, -1, -1):
        known |= dict.fromkeys(_names(train, index), index)
    leaks = {}
    for index in range(len(test.rows)):
        seen = [known[name] for name in _names(test, index) if name in known]
        if seen:
            leaks[index] = Leak(index, seen[0], "exact", 0)
    return leaks


def _names(crops: Crops, index: int) -> list[str]:
    pixels = hashlib.sha256(crops.images[index].tobytes()).hexdigest()
    return [f"pixels {pixels}", *([f"file {crops.rows[index].sha256}"] if crops.rows[index].sha256 else [])]


def _find_photos(test: Crops, train: Crops, distance: int) -> Iterator[Leak]:
    """Photos whose perceptual hashes differ by at most `distance` bits, also mirrored or turned."""
    known = _hashes(train.rows)
    for index, row in enumerate(test.rows):
        others = [int(text, 16) for text in (row.attributes["hash"], *row.attributes.get("hashes", ()))]
        bits = np.min([np.bitwise_count(known ^ np.uint64(other)) for other in others], axis=0)
        nearest = int(bits.argmin())
        if bits[nearest] <= distance:
            yield Leak(index, nearest, "photo", float(bits[nearest]))


def _hashes(rows: list[Row]) -> NDArray[np.uint64]:
    return np.array([int(str(row.attributes["hash"]), 16) for row in rows], dtype=np.uint64)


def _find_crops(test: Crops, train: Crops, *, middles: bool) -> Iterator[Leak]:
    """Crops, or their middles, that correlate, or would if they were mirrored."""
    least = MIN_MIDDLE if middles else MIN_CORRELATION
    plain = _signatures(test.images, middles=middles)
    mirrored = plain.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(len(plain), -1)
    best = {kind: (np.full(len(plain), -1.0), np.zeros(len(plain), int)) for kind in ("crop", "mirrored")}
    for start in range(0, len(train.targets), AT_ONCE):
        known = _signatures(train.images[start : start + AT_ONCE], middles=middles)
        for own, (values, places) in zip((plain, mirrored), best.values(), strict=True):
            alike = own @ known.T
            nearest, highest = alike.argmax(axis=1), alike.max(axis=1)
            places[highest > values] = start + nearest[highest > values]
            np.maximum(values, highest, out=values)
    for kind, (values, places) in best.items():
        for index in np.flatnonzero(values >= least):
            yield Leak(int(index), int(places[index]), kind, max(0.0, 1 - float(values[index])))


def _signatures(images: NDArray[np.uint8], *, middles: bool) -> NDArray[np.float32]:
    """Small grey pictures (n, SIDE²) of mean 0 and length 1, so that a product is a correlation; blank ones are 0."""
    cuts = (middle_of(np.asarray(image)) if middles else np.asarray(image) for image in images)
    small = np.array([to_grey(as_crop(cut, SIDE)) for cut in cuts], np.float32).reshape(len(images), -1)
    small -= small.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(small, axis=1, keepdims=True)
    return np.asarray(small / np.maximum(lengths, 1e-3), dtype=np.float32)
