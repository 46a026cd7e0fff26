"""A data folder to review: little pictures under every fate a stage can give them."""

import json
from pathlib import Path
from typing import Any

from fer_pipeline.dataset.experiment import of_home
from fer_pipeline.dataset.provenance import PROVENANCE
from fer_pipeline.dataset.rows import Row, Status, write_rows
from fer_pipeline.review.session import ReviewSession
from fer_pipeline.vision.image_io import write_image
from support.pictures import draw_noise, make_folder

LABELS = ("pout", "smile")
WHOLE: dict[str, dict[str, Any]] = {"filter": {"detector": "none"}, "crop": {"region": "whole", "size": 32}}


def name(number: int) -> str:
    """As the stages name images."""
    return f"{number:012x}"


def make_home(home: Path, count: int = 6) -> Path:
    """`count` crops a class, and one image each that was broken, faceless, a copy, and alike under another label."""
    paths = [f"{label}/{name(number)}" for label in LABELS for number in range(count)]
    rows = [Row(path=f"{path}.jpg", label=path.partition("/")[0], source=_source(path)) for path in paths]
    lost = {
        "unify": [Row(path="smile/broken.bin", label="smile").dropped("unreadable")],
        "dedupe": [
            Row(path=f"smile/{name(901)}.jpg", label="smile", group="g").dropped("copy", copy_of=rows[-1].path),
            Row(path=f"pout/{name(902)}.jpg", label="pout", group="h").dropped("conflicting_labels"),
            Row(path=f"smile/{name(902)}.jpg", label="smile", group="h").dropped("conflicting_labels"),
        ],
        "filter": [Row(path=f"smile/{name(903)}.jpg", label="smile", source=_source("x")).dropped("no_face")],
    }
    rows[-1] = rows[-1].replace(group="g")
    photos = [row.path for row in [*rows, *lost["dedupe"], *lost["filter"]]]
    make_folder(home / "raw", {"smile/broken.bin": b"<svg onload='alert(1)'>"})
    make_folder(home / "unified", {path: draw_noise(place, 90, 60) for place, path in enumerate(photos)})
    crops = [row.replace(path=row.path.replace(".jpg", ".png")) for row in rows]
    for place, row in enumerate(crops):
        write_image(home / "crops" / row.path, draw_noise(place, 32, 32))
    kept = [*rows, *(row.replace(status=Status.KEPT, reason="") for row in (*lost["dedupe"], *lost["filter"]))]
    _finish(home / "unified", "unify", [*kept, *lost["unify"]])
    _finish(home / "unique", "dedupe", [*rows, kept[-1], *lost["dedupe"]])
    _finish(home / "faces", "filter", [*rows, *lost["filter"]])
    _finish(home / "crops", "crop", crops)
    return home


def _source(path: str) -> dict[str, Any]:
    place = sum(path.encode())
    url = "javascript:alert(1)" if path == "x" else f"https://photos.example.org/{path}.jpg?<b>&q=1"
    return {"engine": "bing" if place % 2 else "baidu", "url": url, "query": "<img src=x onerror=alert(1)>"}


def _finish(folder: Path, stage: str, rows: list[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder, rows)
    upstream = {"stage": "filter", "settings": WHOLE["filter"]}
    provenance = {"stage": stage, "settings": WHOLE.get(stage, {}), "upstream": upstream}
    (folder / PROVENANCE).write_text(json.dumps(provenance))


def open_session(home: Path, **options: Any) -> ReviewSession:
    """The session of such a folder; the run of that name may have an audit and predictions."""
    return ReviewSession(lambda: of_home(home), home.parent.parent / "runs" / home.name, **options)
