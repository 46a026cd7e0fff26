"""Landmarks by MediaPipe's face mesh: Apache-2.0, a model file of the user's own, run by OpenCV.

Kartynnik et al. 2019. The mesh has 468 points; those that lie where iBUG 300-W has its 68 are kept, so everything after
works as with dlib's model.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.errors import SetupError
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.image_io import Image

SUFFIX = ".tflite"
SIDE = 192  # pixels of the model's input
POINTS = 468
MARGIN = 1.5  # side of the input over that of the face: the mesh wants a quarter of background on every side
LEVEL = (33, 263)  # outer corners of the eyes
# Which point of the mesh lies at each of the 68: jaw, brows, nose, eyes, outer lips, inner lips.
AT_68 = [
    127, 234, 93, 58, 172, 136, 149, 148, 152, 400, 378, 365, 397, 288, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
]  # fmt: skip


def is_mesh(path: Path | None) -> bool:
    """Tell whether a file of the user's is to be read as a face mesh."""
    return path is not None and path.suffix.lower() == SUFFIX


def fit_mesh(image: Image, box: Box, path: Path) -> NDArray[np.float32]:
    """Fit the mesh to the face in a box; returns the 68 landmarks, shape (68, 2), in pixels of the photo.

    The second fit is done in the square around the first one's points, turned level: the mesh was trained on upright
    faces. Raises SetupError for a file that is no face mesh.
    """
    centre = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    points = _fit(image, centre, MARGIN * max(box.width, box.height), 0.0, path)
    low, high = points.min(axis=0), points.max(axis=0)
    across = points[LEVEL[1]] - points[LEVEL[0]]
    middle = (float((low[0] + high[0]) / 2), float((low[1] + high[1]) / 2))
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    return _fit(image, middle, MARGIN * float((high - low).max()), angle, path)[AT_68]


def _fit(image: Image, centre: tuple[float, float], side: float, angle: float, path: Path) -> NDArray[np.float32]:
    """All points of the mesh (468, 2) in a square of the photo, turned by `angle` degrees."""
    import cv2

    scale = SIDE / max(side, 1.0)
    matrix = cv2.getRotationMatrix2D(centre, angle, scale)
    matrix[0, 2] += SIDE / 2 - centre[0]
    matrix[1, 2] += SIDE / 2 - centre[1]
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    seen = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    model, output = load_mesh(path)
    model.setInput(cv2.dnn.blobFromImage(seen, 1 / 255))
    flat = np.asarray(model.forward(output)).reshape(POINTS, 3)[:, :2]
    back = cv2.invertAffineTransform(matrix)
    return np.asarray(flat @ back[:, :2].T + back[:, 2], dtype=np.float32)


@lru_cache(maxsize=2)
def load_mesh(path: Path) -> tuple[Any, str]:
    """Load a face mesh, and the name of the output with its points; raises SetupError for a file that is none."""
    import cv2

    try:
        model = cv2.dnn.readNetFromTFLite(str(path))
        model.setInput(np.zeros((1, 3, SIDE, SIDE), np.float32))
        names = list(model.getUnconnectedOutLayersNames())
        for name, output in zip(names, model.forward(names), strict=True):
            if output.size == POINTS * 3:
                return model, str(name)
    except cv2.error:
        pass
    raise SetupError(
        f"{path}: OpenCV cannot read this as a MediaPipe face mesh: set crop.landmarks to `face_landmark.tflite`, "
        "the one without attention"
    )
