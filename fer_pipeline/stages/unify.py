"""Turn everything readable into upright RGB JPEG of a bounded size; the rest ends as a row with its reason.

Every photo is encoded again, also a JPEG: what goes on carries no metadata (place, camera, thumbnail) and no payload.
"""

from pathlib import Path

from fer_pipeline.config.schema import UnifyConfig
from fer_pipeline.dataset.rows import Row
from fer_pipeline.stages.stage import Drop, Keep, Stage, Verdict
from fer_pipeline.vision.image_io import Image, read_image, shrink


def open_photo(path: Path, config: UnifyConfig) -> Image:
    """Decode a raw file, as large as the settings allow."""
    return read_image(path, max_pixels=config.max_pixels, shrink_to=config.longest)


def unify_photo(image: Image, _: Row, config: UnifyConfig) -> Verdict:
    """Keep the photo, shrunk to the longest side, unless it is too small to be of use."""
    height, width = image.shape[:2]
    attributes = {"width": width, "height": height}
    if min(width, height) < config.smallest:
        return Drop("too_small", attributes)
    return Keep(image=shrink(image, config.longest), attributes=attributes)


UNIFY = Stage("unify", process_image=unify_photo, open=open_photo)
