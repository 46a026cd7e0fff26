"""Cut the lips or the face out of every photo, and note the mouth's geometry."""

from typing import Any

from fer_pipeline.config.schema import CropConfig
from fer_pipeline.console import note
from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import UsageError
from fer_pipeline.stages.stage import Drop, Keep, Stage, Verdict
from fer_pipeline.vision.crop import Crop, cut_crops
from fer_pipeline.vision.detectors import from_list
from fer_pipeline.vision.image_io import Image, measure_sharpness
from fer_pipeline.vision.landmarks import embed_face, load_landmarks
from fer_pipeline.vision.mouth import measure_mouth, tilt
from fer_pipeline.vision.weights import EMBEDDING, LANDMARKS, LICENCE_NOTE, find_weights


def crop_faces(image: Image, row: Row, config: CropConfig) -> Verdict:
    """Cut out the faces that the filter noted; one row a face, or one for the photo where no face shows a mouth."""
    faces = [from_list(face) for face in row.attributes["faces"]]
    if config.faces == "single" and len(faces) > 1:
        return Drop("several_faces")
    crops = cut_crops(image, faces, config)
    if (missing := crops[0].missing) and all(crop.missing for crop in crops):
        return Drop(missing)
    return [Drop(crop.missing) if crop.missing else _keep(image, crop, config) for crop in crops]


def _keep(image: Image, crop: Crop, config: CropConfig) -> Keep:
    square = [round(value, 2) for value in crop.square]
    attributes: dict[str, Any] = {"square": square, "crop_sharpness": round(measure_sharpness(crop.image), 1)}
    if crop.landmarks is None:
        return Keep(image=crop.image, box=crop.face.box, attributes=attributes)
    if crop.face.turned:
        attributes["turned"] = crop.face.turned
    leaning = (tilt(crop.landmarks) + crop.face.turned + 180) % 360 - 180
    attributes |= {"tilt": round(leaning, 2), "mouth": measure_mouth(crop.landmarks)}
    if config.embedding:
        attributes["embedding"] = embed_face(image, crop.landmarks)
    points = tuple((float(x), float(y)) for x, y in crop.landmarks)
    return Keep(image=crop.image, box=crop.face.box, landmarks=points, attributes=attributes)


def find_models(config: CropConfig) -> None:
    """Say what is missing before the first photo; a user's own model is opened, ours (100 MB) only looked for."""
    if config.embedding and config.region != "whole" and not config.needs_landmarks:
        raise UsageError("crop.embedding: it takes 68 landmarks: set crop.align_by=landmarks, or no embedding")
    if not config.needs_landmarks:
        return
    if config.landmarks is None:
        find_weights(LANDMARKS)
        note(f"crop: {LICENCE_NOTE}")
    else:
        load_landmarks(config.landmarks)
    if config.embedding:
        find_weights(EMBEDDING)


# Crops are stored without loss: what a network trains on is, bit for bit, what `predict` cuts out of the photo.
CROP = Stage("crop", process_image=crop_faces, get_ready=find_models, suffix=".png")
