"""Read a folder of pictures as people have them: classes at any depth, official parts, links, and a system's leavings.

One reader for imports, predictions, training and measuring, so that all understand a folder in the same way. A file is
listed, or it lies in or below something that is passed over by name.
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fer_pipeline.console import note
from fer_pipeline.errors import InputError
from fer_pipeline.files import list_named

Part = Literal["train", "test"]
# Folders that hold an official part of a published set, whatever their case and their signs. What a set calls its
# validation part is for measuring here: training takes a validation part of its own out of `train`.
TRAIN = {"train", "training", "trainset", "trainingset"}
TEST = {
    "test", "testing", "testset", "testingset", "val", "valid", "validation", "valset", "validationset", "dev",
    "publictest", "privatetest",
}  # fmt: skip
# Folders that only hold the class folders, and name nothing.
WRAPPERS = {
    "archive", "data", "dataset", "face", "faces", "image", "images", "img", "imgs", "photo", "photos", "picture",
    "pictures", "raw",
}  # fmt: skip
JUNK = {"__macosx", "@eadir", "thumbs.db", "desktop.ini", "ehthumbs.db", "$recycle.bin", "lost+found"}
NO_PICTURES = {
    ".avi", ".csv", ".doc", ".docx", ".gz", ".htm", ".html", ".ipynb", ".json", ".jsonl", ".lst", ".m", ".mat", ".md",
    ".mov", ".mp4", ".npy", ".npz", ".onnx", ".pdf", ".pts", ".py", ".rar", ".tar", ".tsv", ".txt", ".xml", ".yaml",
    ".yml", ".zip",
}  # fmt: skip
NAMED = 5  # of what was passed over, how many are named
# Why something is passed over, to follow a count.
LINK_AWAY = "links out of the folder"
LINK_BROKEN = "links to nothing"
LINK_LOOP = "links to a folder above"
UNREADABLE = "cannot be read"
NO_FILE = "pipes or devices"
EMPTY = "folders without a file"
OTHER = "no pictures, by their names"
UNLABELLED = "in no folder of a class"
SYSTEM = "hidden, or of the system"  # never worth a word


@dataclass(frozen=True)
class Member:
    """A file below a folder: its relative name, and what the folders above it say."""

    path: Path
    name: str
    label: str | None = None
    part: Part | None = None
    usage: str = ""  # what the folder of its part is called

    @property
    def may_be_picture(self) -> bool:
        """Whether its suffix does not tell otherwise."""
        return Path(self.name).suffix.lower() not in NO_PICTURES


@dataclass
class Tree:
    """The files below a folder in the order of their names, and what was passed over, by reason."""

    folder: Path
    members: list[Member] = field(default_factory=list)
    passed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def pictures(self) -> list[Member]:
        """The files that may be pictures; the others are passed over from now on."""
        others = [one.name for one in self.members if not one.may_be_picture]
        if others:
            self.passed[OTHER] = others
        return [one for one in self.members if one.may_be_picture]

    def format_passed(self) -> list[str]:
        """A sentence for each reason for which something was passed over, with some names."""
        return [
            f"{len(names):,} {reason}: {', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''}"
            for reason, names in self.passed.items()
            if names and reason != SYSTEM
        ]

    @property
    def labels(self) -> set[str]:
        """The classes of what may be pictures."""
        return {one.label for one in self.members if one.label is not None and one.may_be_picture}


def read_tree(folder: Path) -> Tree:
    """List the files below a folder with class and part; hidden files and a system's own are no files here.

    Links to files and folders below or beside the folder are followed, others named in `passed`. InputError if there is
    no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: name one that holds class folders or images")
    tree = Tree(folder)
    files = sorted(_walk(folder, (), tree.passed, (folder.resolve(),)), key=lambda one: one[0])
    places = [names[:-1] for names, _ in files if Path(names[-1]).suffix.lower() not in NO_PICTURES]
    depth = _count_wrappers(places)
    inner = {
        head: _count_wrappers([place[depth + 1 :] for place in places if place[depth : depth + 1] == (head,)])
        for head in {place[depth] for place in places if len(place) > depth}
        if part_of(head)
    }
    for names, path in files:
        label, usage = _sort_in(names[depth:-1], inner)
        tree.members.append(Member(path, "/".join(names), label, part_of(usage) if usage else None, usage))
    return tree


def list_pictures(paths: Iterable[Path]) -> list[Path]:
    """List the files named, and the pictures below the folders named, by path; notes what it passes over.

    Raises InputError for what does not exist, and where there is no picture.
    """
    return list_named(paths, _list_below, "image", "name photos or folders of photos")


def _list_below(folder: Path) -> list[Path]:
    tree = read_tree(folder)
    pictures = [one.path for one in tree.pictures()]
    for sentence in tree.format_passed():
        note(f"{folder}: passed over: {sentence}")
    return pictures


def part_of(name: str) -> Part | None:
    """The part that a folder's name, or a word in a list, stands for: `train`, `Public Test`, `val_afew`."""
    if len(name) >= 40:
        return None
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    for plain in ("".join(words), *words[:1], *words[-1:]):
        if plain in TRAIN or plain in TEST:
            return "train" if plain in TRAIN else "test"
    return None


def to_text(name: str) -> str:
    """A file name that is no UTF-8 (from an old archive, say) as text that can be hashed and written as JSON."""
    return name.encode(errors="backslashreplace").decode()


def to_label(name: str) -> str:
    """A folder's name as a class: composed letters, as a YAML file has them, also where the disk takes them apart.

    Bytes that are no UTF-8 become `_`.
    """
    return unicodedata.normalize("NFC", re.sub(r"\\udc[0-9a-f]{2}", "_", name))


def _walk(
    folder: Path, above: tuple[str, ...], passed: dict[str, list[str]], known: tuple[Path, ...]
) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Yield the relative names and paths of all files; `known` are the folders that lead here, from the outermost."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        passed[UNREADABLE].append(f"{'/'.join(above) or folder}: {error.strerror}")
        return
    for entry in entries:
        names, path = (*above, to_text(entry.name)), Path(entry.path)
        reason = SYSTEM if entry.name.startswith(".") or entry.name.lower() in JUNK else ""
        if not reason and entry.is_symlink():
            reason = _judge_link(path, known)
        if not reason and entry.is_dir():
            below = list(_walk(path, names, passed, (*known, path.resolve())))
            reason = "" if below else EMPTY
            yield from below
        elif not reason and entry.is_file():
            yield names, path
        else:
            reason = reason or NO_FILE
        if reason:
            passed[reason].append("/".join(names))


def _judge_link(path: Path, known: tuple[Path, ...]) -> str:
    """Why a link is not followed; empty if it is."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        return LINK_BROKEN
    if target in known:
        return LINK_LOOP
    return "" if target.is_relative_to(known[0].parent) else LINK_AWAY


def _count_wrappers(places: list[tuple[str, ...]]) -> int:
    """How many folders all pictures lie in before the first that tells something."""
    depth = 0
    while True:
        heads = {place[depth : depth + 1] for place in places}
        head = next(iter(heads), ())
        if len(heads) != 1 or not head or part_of(head[0]):
            return depth
        below = {place[depth + 1] for place in places if len(place) > depth + 1}
        if head[0].lower() not in WRAPPERS and not (below and all(part_of(name) for name in below)):
            return depth
        depth += 1


def _sort_in(folders: tuple[str, ...], inner: dict[str, int]) -> tuple[str | None, str]:
    """The class and the name of the part that the folders above a file say."""
    if not folders:
        return None, ""
    head, rest = folders[0], folders[1:]
    if part_of(head):
        rest = rest[inner.get(head, 0) :]
        return (to_label(rest[0]) if rest else None), head
    usage = next((name for name in rest if part_of(name)), "")
    return to_label(head), usage
