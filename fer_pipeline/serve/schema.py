"""The responses of the server as models, with examples, for the code and for the OpenAPI description."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fer_pipeline.models.prediction import EXAMPLE, Prediction


class PredictResponse(BaseModel):
    """The predictions for the pictures of a request, in their order."""

    model_config = ConfigDict(json_schema_extra={"example": {"model": "lips", "results": [EXAMPLE]}})
    model: str
    results: list[Prediction]


class UploadResponse(BaseModel):
    """The most probable class of the largest face of a picture."""

    model_config = ConfigDict(json_schema_extra={"example": {"prediction": "smile", "confidence": 0.95}})
    prediction: str
    confidence: float = Field(ge=0, le=1)


class FrameResponse(Prediction):
    """The prediction for one frame of a live connection; `ms` is the time it took here in milliseconds."""

    path: str = Field("", exclude=True)
    frame: int
    model: str
    ms: float


class ErrorResponse(BaseModel):
    """Why there is no prediction, and what to do."""

    model_config = ConfigDict(json_schema_extra={"example": {"detail": "busy: try again in a second"}})
    detail: str


class ModelInfo(BaseModel):
    """A model that is served."""

    name: str
    labels: list[str]
    network: str
    size: int = Field(description="side of its input in pixels")
    region: str
    sha256: str = Field(description="of the model file")
    precision: str
    uncertain: float = Field(description="confidence below which a face is uncertain")
    unknown: float = Field(description="distance above which a face is unknown; 0: never, it measures none")
    preprocessing: dict[str, Any] = Field(description="from photo to crop")


class ServerInfo(BaseModel):
    """The version, models and limits of a server; its first model is the default."""

    version: str
    models: list[ModelInfo]
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
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "The body cannot be parsed"},
    404: {"model": ErrorResponse, "description": "No such model"},
    408: {"model": ErrorResponse, "description": "The upload took too long"},
    413: {"model": ErrorResponse, "description": "Too many bytes or pictures"},
    415: {"model": ErrorResponse, "description": "Neither a form nor a picture"},
    422: {"model": PredictResponse | ErrorResponse, "description": "No picture could be used; the outcomes say why"},
    500: {"model": ErrorResponse, "description": "The model fails; the server's log says why"},
    503: {"model": ErrorResponse, "description": "Busy or stopping: try again after Retry-After seconds"},
    504: {"model": ErrorResponse, "description": "The prediction took too long"},
}
