"""The prediction for one photo: the same shape from the predictor, the server, its client and `fer predict --json`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fer_pipeline.vision.boxes import Box

Outcome = Literal[
    "ok",
    "uncertain",
    "unknown",
    "mouth_outside",
    "mouth_hidden",
    "no_face",
    "bad_image",
    "too_large",
    "unanswered",
]
Confidence = Annotated[float, Field(ge=0, le=1)]

EXAMPLE_FACE: dict[str, Any] = {
    "box": [120.0, 80.0, 260.0, 220.0],
    "outcome": "answered",
    "label": "smile",
    "guess": "smile",
    "confidence": 0.95,
    "probabilities": {"neutral": 0.03, "pout": 0.02, "smile": 0.95},
    "distance": 0.64,
    "turned": 0,
}
EXAMPLE: dict[str, Any] = {"path": "ann.jpg", "outcome": "ok", "width": 640, "height": 480, "faces": [EXAMPLE_FACE]}


class FacePrediction(BaseModel):
    """One face and its class; none is given where there is no mouth to tell it from."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": EXAMPLE_FACE})

    box: Box = Field(description="left, top, right, bottom in pixels of the upright photo")
    outcome: Literal["answered", "uncertain", "unknown", "mouth_outside", "mouth_hidden"] = Field(
        description="unknown: unlike all that was trained on; mouth_outside: the mouth lies beyond the photo's border; "
        "mouth_hidden: it is covered, or was not found"
    )
    label: str | None = Field(
        description="the most probable class; `uncertain` below the model's threshold; `unknown` if it is none of them"
    )
    guess: str | None = Field(description="the most probable class")
    confidence: Confidence | None = Field(description="probability of the most probable class")
    probabilities: dict[str, Confidence] = Field(description="of every class; empty without a mouth")
    distance: float | None = Field(
        None,
        ge=0,
        description="of its features from those of training; above 1 the face is unknown; null: not measured",
    )
    turned: Literal[0, 90, 180, 270] = Field(
        0, description="degrees by which the photo must be turned clockwise for the face to be upright"
    )


class Prediction(BaseModel):
    """One photo and its faces, the largest first; `outcome` says why there are none, or that none has a class.

    `ok`, `uncertain` and `unknown` (of the largest face with a mouth, if no face has a class), `mouth_outside` and
    `mouth_hidden` (of the largest face, if none shows a mouth), `no_face`, `bad_image` (cannot be decoded), `too_large`
    (more pixels than allowed), `unanswered` (a server failed).
    """

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": EXAMPLE})

    path: str = Field("", description="the file, or the name that a client gave it; empty for pixels")
    outcome: Outcome
    width: int = Field(0, description="pixels of the upright photo; 0 if it was not decoded")
    height: int = 0
    faces: list[FacePrediction] = []


def summarize_outcome(faces: list[FacePrediction]) -> Outcome:
    """Outcome of a photo that was decoded, from its faces."""
    if any(face.outcome == "answered" for face in faces):
        return "ok"
    shown = [face for face in faces if face.guess is not None] or faces
    return next((face.outcome for face in shown if face.outcome != "answered"), "no_face")
