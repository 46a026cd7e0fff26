"""Choose the pictures of a folder and what is known of each: by its folders, by a list, or by its file names."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fer_pipeline.console import counted
from fer_pipeline.dataset.class_folders import NAMED, NO_PICTURES, Member, Part, Tree, part_of, read_tree, to_label
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.sources.importers import Found, check_label
from fer_pipeline.sources.label_list import (
    SUFFIXES,
    Files,
    LabelList,
    parse_columns,
    parse_names,
    read_label_list,
)

HALF = 0.5  # share of a list's lines that must name pictures for it to be taken unasked


@dataclass(frozen=True)
class Reading:
    """How a folder is to be read, as a person asks for it; every field has its option of `fer import folder`."""

    labels: Path | None = None  # a list of files and labels
    columns: str | None = None
    names: str | None = None  # what codes stand for
    match: str | None = None  # what a listed name is called on disk
    label: str | None = None  # regular expression whose parenthesis, in a relative path, names the class
    group: str | None = None  # the same for the person, in a file name


@dataclass
class Selection:
    """The pictures an import would take, and what it took for what, a sentence each."""

    found: list[Found]
    told: list[str] = field(default_factory=list)

    def count(self) -> dict[str, Counter[str]]:
        """Count the pictures of each part (`-` where there is none) by class."""
        counts: dict[str, Counter[str]] = {}
        for one in self.found:
            if PurePosixPath(one.origin).suffix.lower() in NO_PICTURES:
                continue
            counts.setdefault(one.split or "-", Counter())[one.label or "no class"] += 1
        return counts


def find_in_folder(folder: Path, group: str | None = None) -> list[Found]:
    """Find the pictures of class folders; `group` is as in `Reading`."""
    return select(folder, Reading(group=group)).found


def select(folder: Path, reading: Reading) -> Selection:
    """Read a folder as asked for; without a word a list that lies in it is used where no class folders are.

    Raises InputError for what cannot be read, UsageError for options that do not fit.
    """
    group, label = _compile("--group", reading.group), _compile("--label", reading.label)
    tree = read_tree(folder)
    names = parse_names(reading.names) if reading.names else {}
    told = tree.format_passed()
    lists, silent = _find_lists(tree, reading) if label is None else ([], [])
    told += [f"{one.path.name} names pictures, but which column is the class? --labels {one.path}" for one in silent]
    chosen = _by_lists(tree, lists) if lists else _by_places(tree, label)
    told += [sentence for one in lists for sentence in _tell(one, tree)]
    if lists:
        told += _count_votes(lists)
    found = [_finish(one, folder, group, names) for one in chosen]
    if group is not None and not any(group.search(PurePosixPath(one.origin).name) for one in found):
        told.append(f"--group {reading.group} finds a person in no file name")
    labels = {one.label: one.origin for one in found if one.label is not None}  # each with a picture of it
    for name, origin in labels.items():
        check_label(name, origin)
    if len(labels) == 1 and len(found) > 1 and not names and label is None and not lists:
        told.append(
            f"all pictures are of one class, {next(iter(labels))}: if that names none, say where it stands by --label"
        )
    if names and (left := sorted(labels.keys() - set(names.values()))):
        told.append(f"--names does not translate {', '.join(left)}")
    lower = Counter(name.lower() for name in labels)
    told += [f"classes that differ in case only: {name}" for name, count in sorted(lower.items()) if count > 1]
    return Selection(found, told)


def _by_places(tree: Tree, label: re.Pattern[str] | None) -> list[Found]:
    """By the folders, or by what a regular expression finds in the relative path."""
    found = []
    for one in tree.members:
        name = one.label
        if label is not None:
            match = label.search(one.name)
            name = to_label(match.group(1)) if match and match.group(1) else None
        found.append(_to_found(one, name))
    return found


def _to_found(one: Member, label: str | None) -> Found:
    return Found(one.name, one.path, label, one.part, attributes={"usage": one.usage} if one.usage else {})


def _by_lists(tree: Tree, lists: Sequence[LabelList]) -> list[Found]:
    """By lists of labels; a picture that no line names has no class."""
    entries = {name: entry for one in lists for name, entry in one.entries.items()}
    used = {one.path for one in lists}
    found = []
    for member in tree.members:
        if member.path in used:
            continue
        entry = entries.get(member.name)
        one = _to_found(member, None)
        if entry is not None:
            attributes = dict(one.attributes)
            if entry.usage:
                attributes["usage"] = entry.usage
            if entry.facts:
                attributes["facts"] = entry.facts
            one = Found(
                one.origin, one.data, entry.label, entry.part or one.split, entry.group or None, attributes=attributes
            )
        found.append(one)
    return found


def _finish(one: Found, folder: Path, group: re.Pattern[str] | None, names: dict[str, str]) -> Found:
    """Name the person, and translate a code."""
    person = one.group
    if group is not None:
        match = group.search(PurePosixPath(one.origin).name)
        person = match.group(1) if match else person
    label = one.label
    if label is not None and names:
        label = names.get(label) or names.get(label.lstrip("0")) or label
    tied = f"{folder.name}:{person}" if person else None
    return Found(one.origin, one.data, label, one.split, tied, one.attributes)


def _find_lists(tree: Tree, reading: Reading) -> tuple[list[LabelList], list[LabelList]]:
    """The list that is named, else those that lie in a folder without classes of its own and name its pictures.

    Also returns those of these that name no class.
    """
    files, columns = Files(tree.members), parse_columns(reading.columns)
    if reading.labels is not None:
        found = read_label_list(reading.labels, files, columns, reading.match)
        if not found.entries:
            raise InputError(
                f"{reading.labels}: no line of {found.lines:,} names a picture of {tree.folder} "
                f"(as {(found.without_file or found.ambiguous)[0]!r}): say how by --columns or --match '{{stem}}.jpg'"
            )
        return [found], []
    lists: list[LabelList] = []
    silent: list[LabelList] = []
    if len(tree.labels) > 1 and reading.columns is None and reading.match is None:
        return lists, silent
    for member in tree.members:
        if Path(member.name).suffix.lower() in SUFFIXES:
            try:
                one = read_label_list(member.path, files, columns, reading.match, _part_in(member.path.stem))
            except (InputError, UsageError):
                continue
            if len(one.entries) >= HALF * max(1, one.lines):
                (lists if any(entry.votes for entry in one.entries.values()) else silent).append(one)
    return lists, silent


def _part_in(stem: str) -> Part | None:
    """The part that a word in a list's name stands for, as in `train_labels.csv`."""
    return next((part for word in re.split(r"[^A-Za-z]+", stem) if (part := part_of(word))), None)


def _tell(one: LabelList, tree: Tree) -> Iterator[str]:
    """What a list was taken for, and what of it or of the pictures is left over."""
    yield f"labels from {one.path.name}: {one.columns}"
    if one.without_label:
        remedy = "" if one.has_labels else ": no column names it, say which by --columns label=2"
        yield f"{counted(one.without_label, 'line')} without a class, or several equally{remedy}"
    if one.strange_parts:
        yield _name("word", "for no part (train, test, val …)", sorted(one.strange_parts))
    if one.without_file:
        yield _name("line", "without a file", one.without_file)
    if one.ambiguous:
        yield _name("line", "with several files", one.ambiguous)
    left = [member.name for member in tree.members if member.may_be_picture and member.name not in one.entries]
    if left:
        yield _name("file", f"without a line in {one.path.name}", left)


def _count_votes(lists: Sequence[LabelList]) -> list[str]:
    entries = {name: entry for one in lists for name, entry in one.entries.items()}
    several = [name for name, entry in entries.items() if len(entry.votes) > 1]
    ties = [name for name in several if entries[name].label is None]
    won = len(several) - len(ties)
    told = [f"{counted(won, 'picture')} with several labels: the one given most often counts"] if won else []
    return [
        *told,
        *([_name("picture", "with as many votes for one class as for another", ties)] if ties else []),
    ]


def _name(noun: str, what: str, names: Sequence[str]) -> str:
    more = ", …" if len(names) > NAMED else ""
    return f"{counted(len(names), noun)} {what}: {', '.join(names[:NAMED])}{more}"


def _compile(option: str, text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    what, example = ("person", "(.+)_[0-9]+") if option == "--group" else ("class", "^([^/]+)/")
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"{option} {text}: not a regular expression ({error}): try '{example}'") from None
    if pattern.groups < 1:
        raise UsageError(f"{option} {text}: put what names the {what} into parentheses, as in '{example}'")
    return pattern
