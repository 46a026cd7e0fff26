"""Turn everything readable into upright RGB JPEG of a bounded size; the rest ends as a row with its reason.

Every photo is encoded anew, also a JPEG: what goes on carries no metadata (place, camera, thumbnail) and no payload.
"""

from pathlib import Path

from fer_pipeline.config import UnifyConfig
from fer_pipeline.images import Image, read_image, shrink
from fer_pipeline.manifest import Row
from fer_pipeline.stages.stage import Drop, Keep, Stage, Verdict


def open_photo(path: Path, config: UnifyConfig) -> Image:
    """Decode a file nobody has looked at yet."""
    return read_image(path, max_pixels=config.max_pixels, shrink_to=config.longest)


def judge_photo(image: Image, _: Row, config: UnifyConfig) -> Verdict:
    """Keep the photo, shrunk to the longest side, unless it is too small to be of use."""
    height, width = image.shape[:2]
    facts = {"width": width, "height": height}
    if min(width, height) < config.smallest:
        return Drop("too_small", facts)
    return Keep(image=shrink(image, config.longest), facts=facts)


UNIFY = Stage("unify", judge=judge_photo, open=open_photo)
