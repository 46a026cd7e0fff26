"""Drop photos without a face; note where the faces are, so that cropping need not look again."""

from fer_pipeline.config.schema import FilterConfig
from fer_pipeline.dataset.rows import Row
from fer_pipeline.stages.stage import Drop, Keep, Stage, Verdict
from fer_pipeline.vision.image_io import Image
from fer_pipeline.vision.landmarks import detect_faces, load_detector


def find_photo_faces(image: Image, _: Row, config: FilterConfig) -> Verdict:
    """Keep the photo if the detector finds a face; `attributes.faces` holds left, top, right, bottom, score of each."""
    faces = detect_faces(image, config)
    if not faces:
        return Drop("no_face")
    return Keep(box=faces[0].box, attributes={"faces": [[*face.box, face.score] for face in faces]})


FILTER = Stage("filter", process_image=find_photo_faces, get_ready=load_detector)
