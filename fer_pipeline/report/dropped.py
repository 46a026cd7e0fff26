"""The images that the stages dropped, by reason, and copies beside their originals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.dataset.naming import photo_path
from fer_pipeline.dataset.rows import Row, Status, is_inside, iter_rows
from fer_pipeline.report.dataset_stats import name_of
from fer_pipeline.report.funnel import Place
from fer_pipeline.report.pictures import Picture, embed_file, link_of, some

MEANINGS = {
    "no_face": "the detector found no face",
    "mouth_outside": "the mouth lies beyond the photo's border; with crop.region face, much of the face does",
    "mouth_hidden": "the mouth is covered, by a mask or hand, say, or it was not found",
    "several_faces": "more than one face, and crop.faces is single",
    "copy": "near-copy of a photo that stayed, see below",
    "conflicting_labels": "near-copies of each other under different labels, see below",
    "same_bytes": "the same file as another image",
    "name_taken": "a killed crawl had another picture under its name",
    "too_small": "shorter side below unify.smallest",
    "too_many_pixels": "has more pixels than unify.max_pixels",
    "too_much_memory": "decoding it took more memory than a photo of its size can need",
    "needs_heic": "a phone's HEIC: pip install 'fer-pipeline[heic]' reads it",
    "not_an_image": "no image file",
    "empty": "a file of no bytes",
    "unreadable": "no decoder understands it",
    "truncated": "the file ends before the picture does",
    "unlabelled": "has no class",
    "by_hand": "dropped in `fer review`",
    "label_not_wanted": "its class is not in split.labels",
    "timeout": "the server did not answer in time",
    "connection": "no connection, or it broke off",
    "busy": "the host asked for a longer wait",
    "robots_txt": "robots.txt of its host does not allow it",
    "robots_unreachable": "robots.txt of its host could not be fetched",
    "tdm_reserved": "its owner reserves text and data mining",
    "noai": "its X-Robots-Tag does not allow it",
    "noimageai": "its X-Robots-Tag does not allow it",
    "noindex": "its X-Robots-Tag does not allow it",
    "noimageindex": "its X-Robots-Tag does not allow it",
    "private_address": "its host is in a local network, see crawl.allow_private",
    "crash": "decoding it ended the process",
    "file_missing": "its file was not there any more",
    "file_error": "its disk or share could not read it",
    "no_permission": "its file may not be read by you",
    "too_large": "its file is too large",
    "internal_error": "a fault of fer: its row says which, please report it",
}
SHOWN = 12
GROUPS = 12
MEMBERS = 4
REASONS = 24


@dataclass(frozen=True)
class Lost:
    """The images a stage dropped for one reason: pictures of a few, or their origins if there are no files."""

    stage: str
    reason: str
    meaning: str
    count: int
    pictures: list[Picture]
    origins: list[str]


@dataclass(frozen=True)
class Copies:
    """A group of copies: the picture that was kept (none if labels conflict) and those that were dropped."""

    title: str
    pictures: list[Picture]
    more: int


def list_lost(places: Sequence[Place]) -> list[Lost]:
    """List the reasons of every finished stage, the most frequent first."""
    found = []
    for place in places:
        by_reason: dict[str, list[Row]] = {}
        for row in iter_rows(place.folder):
            if row.status is not Status.KEPT:
                by_reason.setdefault(row.reason, []).append(row.replace(landmarks=None, attributes={}))
        ordered = sorted(by_reason.items(), key=lambda pair: (-len(pair[1]), pair[0]))
        found += [_describe(place, reason, rows) for reason, rows in ordered[:REASONS]]
    return found


def _describe(place: Place, reason: str, rows: list[Row]) -> Lost:
    chosen = some(rows, SHOWN)
    meaning = MEANINGS.get(reason, f"the server answered {reason[5:]}" if reason.startswith("http_") else "")
    if reason in {"copy", "conflicting_labels"}:
        return Lost(place.stage, reason, meaning, len(rows), [], [])
    if place.source is None:
        origins = [str(row.source.get("url") or row.source.get("file") or row.path) for row in chosen]
        return Lost(place.stage, reason, meaning, len(rows), [], origins)
    if place.stage == "crop":  # of several faces of a photo one alone may be dropped
        chosen = [row.replace(path=photo_path(row.path)) for row in chosen]
    pictures = [show(place.source, row) for row in chosen]
    return Lost(place.stage, reason, meaning, len(rows), pictures, [])


def show(folder: Path, row: Row, *lines: str) -> Picture:
    """The picture of a row, with its class or other lines below it and a link to its source."""
    label = name_of(row.label)
    return embed_file(folder / row.path, f"{label}, {row.path}", lines or (label,), link=link_of(row))


def list_copies(place: Place) -> tuple[list[Copies], int]:
    """List groups of copies, conflicting labels first, then the largest; and the number of all groups."""
    if place.source is None or not place.finished:
        return [], 0
    kept, lost = _by_original(iter_rows(place.folder))
    ordered = sorted(lost.items(), key=lambda pair: (pair[1][0].reason == "copy", -len(pair[1]), pair[0]))
    return [_show_group(place.source, kept.get(name), rows) for name, rows in ordered[:GROUPS]], len(ordered)


def _by_original(rows: Iterable[Row]) -> tuple[dict[str, Row], dict[str, list[Row]]]:
    """The kept rows by path, and the dropped rows by the path of their original."""
    kept, lost = {}, dict[str, list[Row]]()
    for row in rows:
        light = row.replace(landmarks=None, attributes={"copy_of": row.attributes.get("copy_of")})
        if row.status is Status.KEPT:
            kept[row.path] = light
        elif (
            row.reason == "copy"
            and isinstance(light.attributes["copy_of"], str)
            and is_inside(light.attributes["copy_of"])
        ):
            lost.setdefault(light.attributes["copy_of"], []).append(light)
        elif row.reason == "conflicting_labels":
            lost.setdefault(f"conflict {row.group}", []).append(light)
    return kept, lost


def _show_group(folder: Path, stayed: Row | None, rows: list[Row]) -> Copies:
    pictures = [] if stayed is None else [show(folder, stayed, f"{name_of(stayed.label)}, kept")]
    word = "copy" if rows[0].reason == "copy" else "dropped"
    pictures += [show(folder, row, f"{name_of(row.label)}, {word}") for row in rows[:MEMBERS]]
    title = f"{len(rows)} under different labels" if rows[0].reason != "copy" else f"{len(rows) + 1} alike"
    return Copies(title, pictures, max(0, len(rows) - MEMBERS))
