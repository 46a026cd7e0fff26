"""The example picture of the page."""

from functools import lru_cache


@lru_cache(maxsize=1)
def draw_example(width: int = 960, height: int = 540) -> bytes:
    """Draw a neutral, a smiling and a pouting person side by side, as JPEG."""
    import numpy as np

    from fer_pipeline.sources.sample import LABELS, draw_photo, random_face
    from fer_pipeline.sources.sample.junk import to_jpeg

    rng = np.random.default_rng(8)
    faces = [
        random_face(rng, label, width, height, (width * (0.2 + 0.3 * place), height * 0.44), height * 0.36)
        for place, label in enumerate(LABELS[:3])
    ]
    return to_jpeg(draw_photo(faces, width, height, rng)[0], 90)
