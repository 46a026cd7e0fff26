"""A plain Flask server around our own functions, as one writes it in ten minutes. Only here to be measured against."""

import sys
import threading
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, request

from fer_pipeline.models.predictor import Predictor
from fer_pipeline.vision.image_io import BadImage, read_image


def make_app(run: Path) -> Flask:
    """POST /predict with the field `files`, as `fer serve` has it; the model is loaded once."""
    app, predictor = Flask(__name__), Predictor(run)
    one = threading.Lock()  # dlib's detector is one object: two threads in it end the process (double free)

    @app.post("/predict")
    def predict() -> Any:
        results = []
        for upload in request.files.getlist("files"):
            try:
                photo = read_image(upload.read())
                with one:
                    faces = [face.model_dump(mode="json") for face in predictor.predict_faces(photo)]
                results.append({"outcome": "ok" if faces else "no_face", "faces": faces})
            except BadImage:
                results.append({"outcome": "bad_image", "faces": []})
        return jsonify(results=results)

    return app


if __name__ == "__main__":
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    make_app(Path(sys.argv[1])).run(port=int(sys.argv[2]), threaded=True)
