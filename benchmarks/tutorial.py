"""The usual way, written out plainly: what a reader of the tutorial runs. Only here to be measured against."""

from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np

from fer_pipeline.vision.weights import LANDMARKS, find_weights


def clean_and_crop(photos: list[Path], out: Path) -> int:
    """Convert to JPEG, drop exact copies by hash, detect with Haar 1.3/5 on the full photo, detect again and crop.

    One photo after another in one process; returns how many crops were written.
    """
    import imagehash
    from PIL import Image

    folder = getattr(cv2, "data").haarcascades  # noqa: B009  the stubs do not know it
    cascade = cv2.CascadeClassifier(str(Path(folder) / "haarcascade_frontalface_default.xml"))
    predictor = dlib.shape_predictor(str(find_weights(LANDMARKS)))
    for folder in ("jpeg", "faces", "crops"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    for number, path in enumerate(photos):
        with Image.open(path) as photo:
            rgb = photo.convert("RGB")
        fingerprint = str(imagehash.phash(rgb))
        if fingerprint not in seen:
            seen.add(fingerprint)
            rgb.save(out / "jpeg" / f"{number}.jpg", quality=95)
    for path in sorted((out / "jpeg").iterdir()):
        image: Any = cv2.imread(str(path))
        if len(cascade.detectMultiScale(image, 1.3, 5)):
            cv2.imwrite(str(out / "faces" / path.name), image)
    return sum(_crop(path, cascade, predictor, out / "crops" / path.name) for path in sorted((out / "faces").iterdir()))


def _crop(path: Path, cascade: Any, predictor: Any, target: Path) -> bool:
    image: Any = cv2.imread(str(path))
    faces = cascade.detectMultiScale(image, 1.3, 5)
    if len(faces) == 0:
        return False
    x, y, width, height = (int(value) for value in faces[0])
    shape = predictor(image, dlib.rectangle(x, y, x + width, y + height))
    points = np.array([(point.x, point.y) for point in shape.parts()])[48:68]
    low, high = points.min(axis=0), points.max(axis=0)
    half = int(max(high - low) * 0.75)
    centre_x, centre_y = ((low + high) // 2).tolist()
    top, left = max(0, centre_y - half), max(0, centre_x - half)
    return bool(cv2.imwrite(str(target), image[top : centre_y + half, left : centre_x + half]))


def answer_photo(data: bytes) -> float:
    """The tutorial's server script for one request: models loaded again, Haar on the full photo, landmarks, network.

    PyTorch is imported already, which the script has done too by then; the network's weights are drawn, not read.
    """
    import torch
    from torch import nn

    from fer_pipeline.models.tutorial_networks import simpleconv3

    folder = getattr(cv2, "data").haarcascades  # noqa: B009
    cascade = cv2.CascadeClassifier(str(Path(folder) / "haarcascade_frontalface_default.xml"))
    predictor = dlib.shape_predictor(str(find_weights(LANDMARKS)))
    network: nn.Module = simpleconv3(3, 48).eval()
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    best = 0.0
    for x, y, width, height in cascade.detectMultiScale(image, 1.3, 5):
        shape = predictor(image, dlib.rectangle(int(x), int(y), int(x + width), int(y + height)))
        points = np.array([(point.x, point.y) for point in shape.parts()])[48:68]
        low, high = points.min(axis=0), points.max(axis=0)
        mouth = image[max(0, low[1]) : high[1] + 1, max(0, low[0]) : high[0] + 1]
        small = torch.from_numpy(cv2.resize(mouth, (48, 48))).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.inference_mode():
            best = float(network(small).softmax(dim=1).max())
    return best


def train_epochs(folder: Path, epochs: int, network: str = "simpleconv3", size: int = 48, batch: int = 16) -> int:
    """ImageFolder, PIL transforms, a DataLoader with a worker, a network with Adam; returns the images seen."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from fer_pipeline.models.networks import build_network

    steps = [
        transforms.RandomResizedCrop(size),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ]
    images = datasets.ImageFolder(str(folder), transforms.Compose(steps))
    loader: Any = DataLoader(images, batch_size=batch, shuffle=True, num_workers=1)
    model = build_network(network, len(images.classes), size)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    seen = 0
    for _ in range(epochs):
        for pictures, targets in loader:
            optimizer.zero_grad()
            loss: Any = nn.functional.cross_entropy(model(pictures), targets)
            loss.backward()
            optimizer.step()
            seen += len(targets)
    return seen
