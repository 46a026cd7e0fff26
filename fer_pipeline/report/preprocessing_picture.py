"""The crop preprocessing as a picture: a photo with the face found and the square cut out, and the crop it became."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from fer_pipeline.dataset.experiment import file_below
from fer_pipeline.dataset.rows import Row
from fer_pipeline.models.model_file import Card
from fer_pipeline.report.funnel import Place
from fer_pipeline.report.pictures import Picture, embed_file, embed_image
from fer_pipeline.vision.boxes import Square
from fer_pipeline.vision.image_io import BadImage, Image, read_image, shrink

SIDE = 320
TRIED = 20
FACE, SQUARE = (120, 200, 255), (255, 176, 0)


def show_preprocessing(card: Card, rows: Sequence[Row], places: Sequence[Place]) -> list[Picture]:
    """One photo with its boxes, and its crop; empty if pictures are not cropped, or no photo is left."""
    crop = next((place for place in places if place.stage == "crop"), None)
    if card.preprocessing.cut.region == "whole" or crop is None or crop.source is None:
        return []
    for row in rows[:TRIED]:
        drawn = _draw(crop.source, row)
        if drawn is not None:
            photo = embed_image(drawn, "A photo with the face found (blue) and the square cut out (yellow)", side=SIDE)
            name = row.path.removeprefix(f"{row.split}/") if row.split else row.path
            return [
                photo,
                embed_file(file_below(crop.folder, row.replace(path=name, split=None)), "The crop it became"),
            ]
    return []


def _draw(folder: Path, row: Row) -> Image | None:
    """The photo of a crop, shrunk, with both boxes; None if it is missing."""
    import cv2

    path = PurePosixPath(row.path.removeprefix(f"{row.split}/") if row.split else row.path)
    try:
        square = Square(*(float(value) for value in row.attributes["square"]))
        photo = read_image(folder / path.with_name(f"{path.stem.partition('-')[0]}.jpg"))
    except (KeyError, TypeError, ValueError, BadImage, OSError):
        return None
    small = np.array(shrink(photo, SIDE))  # a copy: what a decoder gives may not be written to
    scale = small.shape[1] / photo.shape[1]
    if row.box is not None:
        left, top, right, bottom = (round(value * scale) for value in row.box)
        cv2.rectangle(small, (left, top), (right, bottom), FACE, 2, cv2.LINE_AA)
    corners = (np.array(square.corners()) * scale).round().astype(np.int32)
    cv2.polylines(small, [corners], isClosed=True, color=SQUARE, thickness=2, lineType=cv2.LINE_AA)
    return small
