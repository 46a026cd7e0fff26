"""What strangers may give `fer`: each target takes the bytes of one input and may refuse it by a documented error."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from benchmarks import mutations
from fer_pipeline.config.loader import load_config, parse_override
from fer_pipeline.dataset.blocklist import read_blocklist
from fer_pipeline.dataset.decisions import DECISIONS, read_decisions
from fer_pipeline.dataset.journal import JOURNAL, Journal
from fer_pipeline.dataset.provenance import (
    PROVENANCE,
    format_difference,
    preprocessing_of,
    read_provenance,
    settings_of,
)
from fer_pipeline.dataset.rows import MANIFEST, iter_rows, parse_row
from fer_pipeline.models.model_file import KEY, open_session, read_card
from fer_pipeline.sources.celeba import find_celeba
from fer_pipeline.sources.fer2013 import find_fer2013
from fer_pipeline.sources.importers import import_images
from fer_pipeline.vision import image_io as images
from fer_pipeline.vision.image_io import BadImage, read_header, read_image, sniff_suffix

MAX_PIXELS = 1_000_000  # so that a decoder that takes more memory than it may is seen
PROVENANCE_SEED = {
    "stage": "crop",
    "settings": {"margin": 1.5, "region": "mouth"},
    "input": "00",
    "upstream": {"stage": "filter", "settings": {"detector": "hog"}, "input": "11", "upstream": None},
}
ROW = {
    "path": "smile/0123456789ab.jpg",
    "label": "smile",
    "source": {"url": "http://example.org/a.jpg", "time": "2026-01-01T00:00:00+00:00"},
    "sha256": "ab",
    "box": [1, 2, 30, 40],
    "landmarks": [[1.5, 2.5]],
    "group": "g",
    "split": "train",
    "attributes": {"width": 40, "faces": [[1, 2, 30, 40, 0.9]]},
}
CARD = {"labels": ["pout", "smile"], "size": 48, "network": "simpleconv3", "preprocessing": {}, "measures": ["width"]}
YAML = b"""name: sample
data: data
workers: 2
crawl: {engines: [bing], keywords: {smile: [smile, "a smile"]}, limit: 30}
unify: {longest: 512}   # pixels
crop:
  region: mouth
  margin: 1.5
train:
  epochs: 3
"""


class Kind(NamedTuple):
    """One kind of input: what it looks like when it is right, and who reads it."""

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]
    share: int  # of all inputs, in thousandths
    text: bool = True


def look_at(data: bytes, _: Path) -> None:
    """Every way into a decoder."""
    read_header(data)
    sniff_suffix(data)
    with suppress(BadImage):
        read_image(data, max_pixels=MAX_PIXELS, shrink_to=8)
    assert read_image(data, max_pixels=MAX_PIXELS).shape[2:] == (3,)


def _put(home: Path, name: str, data: bytes) -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def read_configuration(data: bytes, home: Path) -> None:
    parse_override("crop.margin=" + data[:200].decode(errors="replace"))
    load_config(_put(home, "c.yaml", data))


def read_manifest(data: bytes, home: Path) -> None:
    parse_row(data, "row")
    rows = list(iter_rows(_put(home, MANIFEST, data).parent))
    assert all((home / row.path).resolve().is_relative_to(home.resolve()) for row in rows)


def read_made(data: bytes, home: Path) -> None:
    _put(home, PROVENANCE, data)
    (home / "smile").mkdir(exist_ok=True)
    read_provenance(home)
    settings_of(home, "filter")
    format_difference(read_provenance(home) or {}, PROVENANCE_SEED)
    preprocessing_of(home)


def read_journal(data: bytes, home: Path) -> None:
    _put(home, JOURNAL, data)
    with Journal(home) as journal:
        list(journal.rows())
        journal.finish(list(journal.rows()))
    list(iter_rows(home))


def read_note(data: bytes, home: Path) -> None:
    read_blocklist(_put(home, "blocklist.jsonl", data).parent)


def read_verdicts(data: bytes, home: Path) -> None:
    read_decisions(_put(home, DECISIONS, data).parent)


def bring_in(data: bytes, home: Path, name: str) -> None:
    """Import the whole of an archive or table, as the command does."""
    import_images(find_fer2013(_put(home, name, data)), home / "raw", "fer2013")
    list(iter_rows(home / "raw"))


def bring_attributes(data: bytes, home: Path) -> None:
    (home / "images").mkdir(exist_ok=True)
    import_images(
        find_celeba(home / "images", _put(home, "attributes.txt", data), "Smiling", 3), home / "raw", "celeba"
    )


def read_metadata(data: bytes, _: Path) -> None:
    meta = SimpleNamespace(custom_metadata_map={KEY: data.decode(errors="replace")})
    read_card(SimpleNamespace(get_modelmeta=lambda: meta), Path("model.onnx"))


def open_model(data: bytes, home: Path) -> None:
    path = _put(home, "model.onnx", data)
    read_card(open_session(path, 1), path)


def model_seeds() -> list[bytes]:
    """The smallest model file there can be."""
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in ("crops", "probabilities")]
    node = helper.make_node("Softmax", ["crops"], ["probabilities"])
    model = helper.make_model(
        helper.make_graph([node], "g", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.helper.set_model_props(model, {KEY: json.dumps(CARD)})
    return [model.SerializeToString()]


def _texts(*texts: bytes) -> Callable[[], list[bytes]]:
    return lambda: list(texts)


VERDICTS = b"""time,path,action,label,box,by
2026-01-01T00:00:00+00:00,smile/0123456789ab.jpg,move,pout,,ann
2026-01-01T00:00:01+00:00,smile/0123456789ac-2.png,restore,,1 2 30 40,bob
"""
ENTRY = {"item": "smile/a.jpg", "rows": [ROW]}
NOTE: dict[str, list[str]] = {"origins": ["ab"], "contents": [], "photos": ["smile/ab"]}
FACES = "2\nBald Smiling\n000001.jpg -1  1\n000002.jpg -1 -1\n"
KINDS = {
    **{name.lower(): Kind(partial(mutations.image_seeds, name), look_at, 60, text=False) for name in images.FORMATS},
    "configuration": Kind(_texts(YAML, b"name: a\ncrop: {margin: 1.5}\n"), read_configuration, 60),
    "manifest": Kind(_texts(mutations.json_lines(ROW), mutations.json_lines({"path": "a"})), read_manifest, 50),
    "provenance": Kind(_texts(json.dumps(PROVENANCE_SEED).encode()), read_made, 30),
    "journal": Kind(_texts(mutations.json_lines(ENTRY, {**ENTRY, "item": "b"})), read_journal, 30),
    "blocklist": Kind(_texts(mutations.json_lines(NOTE, NOTE)), read_note, 20),
    "decisions": Kind(_texts(VERDICTS), read_verdicts, 20),
    "csv": Kind(mutations.csv_seeds, partial(bring_in, name="fer.csv"), 20),
    "tar": Kind(mutations.tar_seeds, partial(bring_in, name="fer.tar"), 30, text=False),
    "attributes": Kind(_texts(FACES.encode()), bring_attributes, 10),
    "metadata": Kind(_texts(json.dumps(CARD).encode()), read_metadata, 20),
    "model": Kind(model_seeds, open_model, 10, text=False),
}


@dataclass(frozen=True)
class Input:
    """One input, known by kind and number."""

    kind: str
    number: int

    def make(self, seeds: list[bytes], seed: int) -> bytes:
        """The bytes; the first numbers are the seeds as they are."""
        import random

        if self.number < len(seeds):
            return seeds[self.number]
        rng = random.Random(f"{seed}/{self.kind}/{self.number}")
        return mutations.mutate(rng.choice(seeds), rng, seeds, text=KINDS[self.kind].text)
