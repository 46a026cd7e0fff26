"""Train and measure the check whether a crop shows a mouth.

`python -m benchmarks.mouth_check train` learns fer_pipeline/vision/mouth_check.npz from drawn faces alone; `python -m
benchmarks.mouth_check measure PHOTOS` cuts, covers and turns photos (a folder; a `.pts` of 68 landmarks beside a photo
is used, else they are found) and tells how many of each kind go on as mouths.
"""

import argparse
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import CropSettings, Detector
from fer_pipeline.sources.sample import draw_photo, random_face
from fer_pipeline.sources.sample.covers import COVERS, hide_mouth
from fer_pipeline.sources.sample.faces import LABELS
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.crop import cut_crops
from fer_pipeline.vision.cutting import cut_square
from fer_pipeline.vision.image_io import Image, read_image
from fer_pipeline.vision.landmarks import detect_faces, find_landmarks
from fer_pipeline.vision.mouth_check import SIDE, WEIGHTS, compute_features, place_check
from fer_pipeline.vision.turned import TURNS, turn, turn_points

PENALTY = 3e-5  # inverse strength of the penalty
Points = NDArray[np.float64]
Sample = tuple[str, Image, Points]  # what it shows, the photo, the landmarks fitted


def draw_face(rng: np.random.Generator) -> tuple[Image, Points]:
    """A drawn face that turns and nods, and its 68 landmarks."""
    width = int(rng.uniform(150, 420))
    height = int(width * rng.uniform(0.9, 1.3))
    face = random_face(rng, LABELS[rng.integers(len(LABELS))], width, height)
    if rng.random() < 0.25:
        face = dataclasses.replace(face, beard=float(rng.uniform(0.2, 0.8)))
    photo, (points,) = draw_photo([face], width, height, rng)
    photo, turned = turn_head(photo, points.astype(np.float64), *np.deg2rad(rng.normal(0, (18, 8))))
    corners = np.array(((0, 0), (width, 0), (width, height), (0, height)), np.float32)
    moved = (corners + rng.normal(0, 0.04, (4, 2)) * (width, height)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, moved)
    photo = np.asarray(cv2.warpPerspective(photo, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    flat = np.column_stack((turned, np.ones(68))) @ matrix.T
    return photo, flat[:, :2] / flat[:, 2:]


def turn_head(photo: Image, points: Points, yaw: float, pitch: float) -> tuple[Image, Points]:
    """Turn a drawn head as if it were painted on a barrel, by two angles in radians."""
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float32)
    moved = points.copy()
    maps: list[Any] = [columns, rows]
    radius = 0.57 * np.ptp(points[:17, 0])
    for axis, angle in ((0, yaw), (1, pitch)):
        centre, reach = points[27:31, axis].mean() if axis == 0 else points[29, 1], radius * (1 if axis == 0 else 1.3)
        off = np.clip((maps[axis] - centre) / reach, -1, 1)
        inside = (np.abs(off) < 1) & (np.abs(np.arcsin(off) - angle) < np.pi / 2)
        maps[axis] = np.where(inside, centre + reach * np.sin(np.arcsin(off) - angle), maps[axis]).astype(np.float32)
        own = np.arcsin(np.clip((points[:, axis] - centre) / reach, -1, 1)) + angle
        moved[:, axis] = centre + reach * np.sin(np.clip(own, -np.pi / 2, np.pi / 2))
    return np.asarray(
        cv2.remap(photo, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    ), moved


def spoil(photo: Image, rng: np.random.Generator) -> Image:
    """Grey, contrast, blur, noise and compression, at random."""
    image: Any = photo.astype(np.float32)
    if rng.random() < 0.4:
        image = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    image = 255 * (image / 255) ** rng.uniform(0.5, 1.8)
    image = (image - image.mean()) * rng.uniform(0.5, 1.4) + image.mean() + rng.uniform(-25, 25)
    image = cv2.GaussianBlur(np.clip(image, 0, 255), (0, 0), rng.uniform(0.3, 1.8))
    image = np.clip(image + rng.normal(0, rng.uniform(0, 7), (*image.shape[:2], 1)), 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(30, 95))])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def fit(photo: Image, points: Points, rng: np.random.Generator) -> Points:
    """The landmarks that are found in a box around some points, as a detector might give it."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2 + rng.normal(0, 0.04, 2) * (high - low)
    half = (high - low) * rng.uniform(0.9, 1.15) / 2
    return find_landmarks(photo, Box(*map(float, (*(middle - half), *(middle + half))))).astype(np.float64)


def draw_samples(seed: int, number: int) -> Iterator[Sample]:
    """One drawn face: whole, twice covered, and once turned, cut or missed by the fit."""
    rng = np.random.default_rng([seed, number])
    drawn, points = draw_face(rng)
    unit = float(np.linalg.norm(points[36] - points[45]))
    photo = spoil(drawn, rng)
    found = fit(photo, points, rng)
    if np.linalg.norm(found[48:68] - points[48:68], axis=1).mean() < 0.12 * unit:
        yield "whole", photo, found
    for _ in range(2):
        covered = spoil(hide_mouth(drawn, points, rng), rng)
        yield "covered", covered, fit(covered, points, rng)
    yield _misplace(rng, photo, points, found)


def _misplace(rng: np.random.Generator, photo: Image, points: Points, found: Points) -> Sample:
    unit, kind = float(np.linalg.norm(points[36] - points[45])), rng.integers(4)
    if kind == 0:
        turned = np.ascontiguousarray(photo[::-1, ::-1])
        return "turned", turned, fit(turned, np.array(photo.shape[1::-1]) - points, rng)
    if kind == 1:
        off = rng.choice((-1, 1), 2) * rng.uniform(0.25, 0.7, 2) * unit
        return "missed", photo, found + off
    under = points[33, 1] + rng.uniform(0.02, 0.12) * unit if rng.random() < 0.5 else points[48:68, 1].mean()
    cut = np.ascontiguousarray(photo[: max(int(under), 20)])
    top, squeezed = points[:, 1].min(), points.copy()
    squeezed[:, 1] = top + (points[:, 1] - top) * (under - top) / np.ptp(points[:, 1]) * rng.uniform(1, 1.4)
    return "cut", cut, fit(cut, squeezed, rng)


def collect(faces: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The features of squares around the mouths of drawn faces, and whether they show one."""
    features, shows, counts = [], [], Counter[str]()
    for number in range(faces):
        for kind, photo, points in draw_samples(seed, number):
            square = cut_square(photo, place_check(points.astype(np.float32)), SIDE)
            features.append(compute_features(square))
            shows.append(kind == "whole")
            counts[kind] += 1
    print(f"drawn: {dict(counts)}")
    return np.array(features), np.array(shows)


def train(features: NDArray[np.float32], shows: NDArray[np.bool_]) -> None:
    """Learn the weights and write them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=PENALTY, max_iter=100, class_weight="balanced")
    model.fit(scaler.transform(features), shows)
    weights = model.coef_[0] / scaler.scale_
    bias = model.intercept_[0] - float(weights @ scaler.mean_)
    np.savez(WEIGHTS, weights=weights.astype(np.float16), bias=np.float32(bias))


def find_points(file: Path, photo: Image) -> Points | None:
    """The landmarks annotated beside a photo, else those of its largest face."""
    notes = file.with_suffix(".pts")
    if notes.is_file():
        inside = re.search(r"{(.*?)}", notes.read_text(), re.DOTALL)
        return np.array([line.split() for line in inside[1].strip().splitlines()], float) - 1 if inside else None
    faces = detect_faces(photo, Detector())
    return find_landmarks(photo, faces[0].box).astype(np.float64) if faces else None


def change(photo: Image, points: Points, rng: np.random.Generator) -> Iterator[tuple[str, Image, Points]]:
    """A photo whole, cut, covered and turned, with where its landmarks are then."""
    height, width = photo.shape[:2]
    under = int(points[33, 1] + 0.06 * np.linalg.norm(points[36] - points[45]))
    yield "whole", photo, points
    yield "cut under the nose", photo[: max(under, 20)], points
    yield "cut through the lips", photo[: max(int(points[[62, 66], 1].mean()), 20)], points
    for kind in COVERS:
        yield f"covered: {kind}", hide_mouth(photo, points, rng, kind), points
    for degrees in TURNS:
        yield (
            f"turned by {degrees}",
            turn(photo, degrees),
            turn_points(points, degrees, width, height).astype(np.float64),
        )


def measure(folder: Path, every: int) -> None:
    """Print which share of each kind has its face found, goes on as a mouth, and goes on upright."""
    found, through, right, total = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    files = sorted(one for one in folder.rglob("*") if one.suffix in {".jpg", ".png"})
    for number, file in enumerate(files[::every]):
        photo = read_image(file)
        points = find_points(file, photo)
        if points is None:
            continue
        for kind, changed, moved in change(photo, points, np.random.default_rng(number)):
            total[kind] += 1
            faces = detect_faces(np.ascontiguousarray(changed), Detector(), every=True)
            own = [face for face in faces if face.box.holds((moved[27:36, 0].mean(), moved[27:36, 1].mean()))][:1]
            found[kind] += len(own)
            for crop in cut_crops(changed, own, CropSettings(scale="eyes", align=True)):
                through[kind] += crop.missing is None
                turned = int(kind.split()[-1]) if kind.startswith("turned") else 0
                right[kind] += crop.missing is None and (crop.face.turned + turned) % 360 == 0
    for kind, count in total.items():
        shares = " ".join(f"{one[kind] / count:.3f}" for one in (found, through, right))
        print(f"{kind:22} {count:5} found, goes on, goes on upright: {shares}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.mouth_check", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("--faces", type=int, default=2000)
    training.add_argument("--seed", type=int, default=11)
    measuring = commands.add_parser("measure")
    measuring.add_argument("photos", type=Path)
    measuring.add_argument("--every", type=int, default=1, help="take every n-th photo")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.command == "train":
        train(*collect(given.faces, given.seed))
    else:
        measure(given.photos, given.every)


if __name__ == "__main__":
    main()
