"""Describe a split for other tools: `metadata.csv`, as ImageFolder loaders read it, and `croissant.json`.

Croissant is the vocabulary of MLCommons for data sets, on top of schema.org: see its specification, version 1.0.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import InputError
from fer_pipeline.files import to_cell, write_aside

METADATA, CROISSANT = "metadata.csv", "croissant.json"
COLUMNS = {
    "file_name": "path below this folder",
    "label": "class",
    "split": "train or test",
    "source": "where the picture is from",
    "url": "its address, if it was crawled",
    "licence": "the licence filter its engine was asked with; a licence of its own is not known",
    "group": "pictures of one group show one person or are near-copies",
}
VOCABULARY = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "column": "cr:column",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "source": "cr:source",
}
BEGINS = json.dumps({"@context": VOCABULARY}, indent=1)[:100]  # as only fer's own description does


def describe_split(folder: Path, rows: Iterable[Row]) -> None:
    """Write both files for the kept rows of a split; InputError for one that somebody else put there."""
    _check(folder / METADATA, ",".join(COLUMNS))
    _check(folder / CROISSANT, BEGINS)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(to_cell, _cells(row)) for row in rows)
    table = text.getvalue().encode()
    write_aside(folder / METADATA, [table])
    described = _describe(folder.resolve().parent.name, hashlib.sha256(table).hexdigest())
    write_aside(folder / CROISSANT, [json.dumps(described, indent=1, ensure_ascii=False).encode(), b"\n"])


def _check(path: Path, begins: str) -> None:
    if path.is_file() and not path.read_bytes()[: len(begins)] == begins.encode():
        raise InputError(f"{path}: fer did not write it: move it to another folder")


def _cells(row: Row) -> list[str]:
    source = row.source
    licence = source.get("licence")
    return [
        f"{row.split}/{row.path}",
        str(row.label),
        str(row.split),
        str(source.get("name") or source.get("engine") or ""),
        str(source.get("url") or ""),
        "" if licence in {None, "any"} else str(licence),
        row.group or "",
    ]


def _describe(name: str, sha256: str) -> dict[str, Any]:
    images: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": "images/image",
        "name": "image",
        "description": "the crop",
        "dataType": "sc:ImageObject",
        "source": {"fileSet": {"@id": "files"}, "extract": {"fileProperty": "content"}},
    }
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"pictures/{column}",
            "name": column,
            "description": told,
            "dataType": "sc:Text",
            "source": {"fileObject": {"@id": "table"}, "extract": {"column": column}},
        }
        for column, told in COLUMNS.items()
    ]
    return {
        "@context": VOCABULARY,
        "@type": "sc:Dataset",
        "name": name,
        "description": "Crops of faces or lips by class, parted into train and test so that no group is in both.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "table",
                "name": METADATA,
                "contentUrl": METADATA,
                "encodingFormat": "text/csv",
                "sha256": sha256,
            },
            {
                "@type": "cr:FileSet",
                "@id": "files",
                "name": "files",
                "includes": "*/**/*.png",
                "encodingFormat": "image/png",
            },
        ],
        "recordSet": [
            {"@type": "cr:RecordSet", "@id": "pictures", "name": "pictures", "field": fields},
            {"@type": "cr:RecordSet", "@id": "images", "name": "images", "field": [images]},
        ],
    }
