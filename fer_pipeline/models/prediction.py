"""The prediction for one photo: the same shape from the predictor, the server, its client and `fer predict --json`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fer_pipeline.vision.boxes import Box

Outcome = Literal["ok", "uncertain", "no_face", "bad_image", "too_large", "unanswered"]
Confidence = Annotated[float, Field(ge=0, le=1)]

EXAMPLE_FACE: dict[str, Any] = {
    "box": [120.0, 80.0, 260.0, 220.0],
    "outcome": "answered",
    "label": "smile",
    "guess": "smile",
    "confidence": 0.95,
    "probabilities": {"neutral": 0.03, "pout": 0.02, "smile": 0.95},
}
EXAMPLE: dict[str, Any] = {"path": "ann.jpg", "outcome": "ok", "width": 640, "height": 480, "faces": [EXAMPLE_FACE]}


class FacePrediction(BaseModel):
    """One face and its class."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": EXAMPLE_FACE})

    box: Box = Field(description="left, top, right, bottom in pixels of the upright photo")
    outcome: Literal["answered", "uncertain"]
    label: str = Field(description="the most probable class, or `uncertain` below the model's threshold")
    guess: str = Field(description="the most probable class")
    confidence: Confidence = Field(description="probability of the most probable class")
    probabilities: dict[str, Confidence]


class Prediction(BaseModel):
    """One photo and its faces, the largest first; `outcome` says why there are none, or that all are uncertain.

    `ok`, `uncertain` (every face below the threshold), `no_face`, `bad_image` (cannot be decoded), `too_large` (more
    pixels than allowed), `unanswered` (a server failed).
    """

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": EXAMPLE})

    path: str = Field("", description="the file, or the name that a client gave it; empty for pixels")
    outcome: Outcome
    width: int = Field(0, description="pixels of the upright photo; 0 if it was not decoded")
    height: int = 0
    faces: list[FacePrediction] = []


def summarize_outcome(faces: list[FacePrediction]) -> Outcome:
    """Outcome of a photo that was decoded, from its faces."""
    if not faces:
        return "no_face"
    return "uncertain" if all(face.outcome == "uncertain" for face in faces) else "ok"
