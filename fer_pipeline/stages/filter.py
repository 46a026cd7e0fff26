"""Drop photos without a face; note where the faces are, so that cropping need not look again."""

from fer_pipeline.config import FilterConfig
from fer_pipeline.faces import detect_faces, load_detector
from fer_pipeline.images import Image
from fer_pipeline.manifest import Row
from fer_pipeline.stages.stage import Drop, Keep, Stage, Verdict


def judge_faces(image: Image, _: Row, config: FilterConfig) -> Verdict:
    """Keep the photo if the detector finds a face; `facts.faces` holds left, top, right, bottom, score of each."""
    faces = detect_faces(image, config)
    if not faces:
        return Drop("no_face")
    return Keep(box=faces[0].box, facts={"faces": [[*face.box, face.score] for face in faces]})


FILTER = Stage("filter", judge=judge_faces, get_ready=load_detector)
