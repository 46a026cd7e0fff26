"""Drop photos without a face; note where the faces are, so that cropping need not look again."""

from typing import Any

from fer_pipeline.config.schema import FilterConfig
from fer_pipeline.dataset.rows import Row
from fer_pipeline.stages.stage import Drop, Keep, Stage, Verdict
from fer_pipeline.vision.detectors import to_list
from fer_pipeline.vision.image_io import Image
from fer_pipeline.vision.landmarks import detect_faces, for_groups, load_detector


def find_photo_faces(image: Image, _: Row, config: FilterConfig) -> Verdict:
    """Keep the photo if a face is found; `attributes.faces` holds left, top, right, bottom, score of each.

    `attributes.second_look` names the second detector, where that one found it; `attributes.turned` is by how many
    degrees the photo must be turned clockwise for the largest face to be upright, and where faces are turned, `faces`
    holds that of each too.
    """
    faces = detect_faces(image, for_groups(config) if config.every else config, every=config.every)
    if not faces:
        return Drop("no_face")
    attributes: dict[str, Any] = {"faces": [to_list(face) for face in faces]}
    if faces[0].turned:
        attributes["turned"] = faces[0].turned
    if faces[0].second and config.asked_next is not None:
        attributes["second_look"] = config.asked_next.detector
    return Keep(box=faces[0].box, attributes=attributes)


FILTER = Stage("filter", process_image=find_photo_faces, get_ready=load_detector)
