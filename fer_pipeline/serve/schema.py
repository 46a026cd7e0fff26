"""The shapes of what the server answers, with examples, for the OpenAPI description."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PROBABILITIES = {"neutral": 0.03, "pout": 0.02, "smile": 0.95}
FACE: dict[str, Any] = {
    "box": [120.0, 80.0, 260.0, 220.0],
    "outcome": "answered",
    "label": "smile",
    "guess": "smile",
    "confidence": 0.95,
    "probabilities": PROBABILITIES,
}
PICTURE: dict[str, Any] = {"name": "ann.jpg", "outcome": "ok", "width": 640, "height": 480, "faces": [FACE]}
Share = Annotated[float, Field(ge=0, le=1)]


class FaceAnswer(BaseModel):
    """One face and what the model says of it."""

    model_config = ConfigDict(json_schema_extra={"example": FACE})
    box: tuple[float, float, float, float] = Field(
        description="left, top, right, bottom in pixels of the upright photo"
    )
    outcome: Literal["answered", "uncertain"]
    label: str = Field(description="the best guess, or `uncertain` below the model's threshold")
    guess: str
    confidence: Share
    probabilities: dict[str, Share]


class PictureAnswer(BaseModel):
    """One picture: `ok` or `uncertain` with its faces, the largest first, else why there are none."""

    model_config = ConfigDict(json_schema_extra={"example": PICTURE})
    name: str = Field(description="as the client called it")
    outcome: Literal["ok", "uncertain", "no_face", "bad_image", "too_large"]
    width: int
    height: int
    faces: list[FaceAnswer]


class Answer(BaseModel):
    """What came of a request's pictures, in the order they came."""

    model_config = ConfigDict(json_schema_extra={"example": {"model": "lips", "results": [PICTURE]}})
    model: str
    results: list[PictureAnswer]


class Refusal(BaseModel):
    """Why there is no answer, and what to do."""

    model_config = ConfigDict(json_schema_extra={"example": {"detail": "busy: come again in a second"}})
    detail: str


class ModelCard(BaseModel):
    """A model that is served."""

    name: str
    labels: list[str]
    network: str
    size: int = Field(description="side of its input in pixels")
    region: str
    sha256: str = Field(description="of the model file")
    precision: str
    uncertain: float
    preprocessing: dict[str, Any] = Field(description="from photo to crop")


class Version(BaseModel):
    """What is running; the first model answers where none is named."""

    version: str
    models: list[ModelCard]
    limits: dict[str, int | float]


PICTURES = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["files"], "properties": {"files": PICTURES}}
            },
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The body cannot be taken apart"},
    404: {"model": Refusal, "description": "No such model"},
    408: {"model": Refusal, "description": "The body took longer to come than it may"},
    413: {"model": Refusal, "description": "More bytes or pictures than a request may have"},
    415: {"model": Refusal, "description": "Neither a form nor a picture"},
    422: {"model": Answer | Refusal, "description": "No picture could be used; the outcomes say why"},
    503: {"model": Refusal, "description": "Busy or stopping: come again after Retry-After seconds"},
    504: {"model": Refusal, "description": "Took longer than a request may"},
}
