"""Whether pictures can measure a model at all: of the kind it reads, and of more classes than one.

A class folder does not say whether it holds photos or crops. A face detector does: on 150 pictures of each kind it saw
a face in 99 % of photos and of crops of faces, in 2 to 42 % of crops of lips. The longer side of the face's box was .23
to .73 of the photo's, and .81 to .99 of a crop of the face.
"""

from collections.abc import Sequence
from pathlib import Path

from fer_pipeline.config.schema import Detector
from fer_pipeline.dataset.rows import MANIFEST, Row
from fer_pipeline.models.model_file import Card
from fer_pipeline.vision.image_io import BadImage, read_photo
from fer_pipeline.vision.landmarks import detect_faces

SAMPLED = 40  # pictures that are looked at
MANY, FEW = 0.8, 0.1  # shares of them that show a face
WHOLE = 0.77  # of a picture's side: the face in a crop of the face is larger
FINDER = Detector(detector="yunet", sides=(160,), second="none")


def find_doubts(card: Card, folder: Path, rows: Sequence[Row]) -> list[str]:
    """Say in a sentence each why a score on these rows of a folder would not be what it seems; empty if it is."""
    doubts = []
    if not (folder / MANIFEST).is_file() and card.preprocessing.cut.region != "whole":
        doubts += _doubt_kind(card.preprocessing.cut.region, folder, rows)
    labels = {row.label for row in rows}
    if len(labels) == 1 and len(card.labels) > 1:
        doubts.append(
            f"{folder} holds {labels.pop()} alone: the score is the recall of that class, and says nothing of what "
            "the others are taken for: add images of the other classes"
        )
    return doubts


def _doubt_kind(region: str, folder: Path, rows: Sequence[Row]) -> list[str]:
    """Photos where crops are read, or crops of lips where faces are."""
    chosen = rows[:: max(1, len(rows) // SAMPLED)][:SAMPLED]
    sizes = [size for size in (_size_of_face(folder / row.path) for row in chosen) if size is not None]
    seen = sorted(size for size in sizes if size > 0)
    share = len(seen) / max(1, len(sizes))
    cut = "cut them first, by `fer import folder` and `fer run --until crop`"
    if share >= MANY and (region == "lips" or seen[len(seen) // 2] < WHOLE):
        return [
            f"{folder} holds photos, it seems ({share:.0%} show a face): this model reads crops of the {region}: {cut}"
        ]
    if region == "face" and share < FEW:
        return [
            f"{folder} shows no faces ({share:.0%} of its images do), and this model reads crops of the face: {cut}"
        ]
    return []


def _size_of_face(path: Path) -> float | None:
    """The longer side of the largest face's box over that of the picture: 0 without a face, None if unreadable."""
    try:
        image, _ = read_photo(path)
    except (BadImage, OSError):
        return None
    faces = detect_faces(image, FINDER)
    return max(faces[0].box.width, faces[0].box.height) / max(image.shape[:2]) if faces else 0.0
