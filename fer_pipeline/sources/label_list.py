"""Labels that lie in a list beside the pictures: csv, tsv or blanks, with a header or without."""

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fer_pipeline.dataset.class_folders import Member, Part, part_of, to_label, to_text
from fer_pipeline.dataset.experiment import is_file
from fer_pipeline.errors import InputError, UsageError

SUFFIXES = {".csv", ".tsv", ".txt", ".lst"}
MAX_BYTES = 300_000_000
NUMBER = r"[0-9]{1,9}(\.[0-9]{1,9})?"
GUESSED = 3  # columns up to which a list without a header is understood unasked
TRIED = 300  # lines by which columns are told
# What the columns are called, in small letters and digits alone.
COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "filepath", "image", "imagepath", "imagename", "imageid", "img", "imgname",
             "imgpath", "pic", "picture", "photo", "subdirectoryfilepath", "name", "id"),
    "label": ("label", "labels", "labelname", "class", "classname", "classid", "emotion", "expression", "expr",
              "category", "target", "emotionlabel", "y"),
    "split": ("split", "usage", "part", "partition", "set", "subset"),
    "group": ("group", "person", "personid", "subject", "subjectid", "identity"),
}  # fmt: skip


def find_winner(votes: Mapping[str, float]) -> str | None:
    """Find what has the most votes; None for a tie, or where nothing has any."""
    most = max(votes.values(), default=0)
    best = [name for name, count in votes.items() if count == most]
    return best[0] if most > 0 and len(best) == 1 else None


@dataclass
class Entry:
    """What a list says of one picture: how often each label was given, part, group, and its lines' other fields."""

    votes: Counter[str] = field(default_factory=Counter)
    part: Part | None = None
    usage: str = ""
    group: str = ""
    facts: list[dict[str, str]] = field(default_factory=list)

    @property
    def label(self) -> str | None:
        """The label given most often; None for a tie, or where none was given."""
        return find_winner(self.votes)


@dataclass
class LabelList:
    """A list that was read: what it says of each picture, by the picture's name, and what matched nothing."""

    path: Path
    columns: str  # as understood, for a person
    entries: dict[str, Entry]
    without_file: list[str]
    ambiguous: list[str]
    has_labels: bool = True  # whether any column names classes
    part: Part | None = None  # of its pictures where no column tells
    without_label: int = 0
    strange_parts: set[str] = field(default_factory=set)  # words in the column of parts that are none

    @property
    def lines(self) -> int:
        """How many pictures it names, there or not."""
        return len(self.entries) + len(self.without_file) + len(self.ambiguous)


class Files:
    """Finds the picture a list means: by its path, the end of it, its name, or its name without suffix."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._paths: dict[str, str] = {}
        self._names: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        for one in members:
            if one.may_be_picture:
                path = PurePosixPath(one.name)
                self._paths[one.name] = one.name
                self._names[path.name.lower()].append(one.name)
                self._stems[path.stem.lower()].append(one.name)

    def find(self, text: str, match: str | None = None, *, in_its_folder: bool = False) -> list[str]:
        """The names of the pictures that a text can mean; `match` tells what a listed name is called on disk.

        With `in_its_folder` a folder that the text names must be the picture's.
        """
        path = PurePosixPath(re.sub(r"^(\./|/)+", "", text.strip().replace("\\", "/")))
        if not path.name:
            return []
        if match is not None:
            path = path.with_name(_fill(match, path) or "?")
        if (exact := self._paths.get(str(path))) is not None:
            return [exact]
        found = self._names.get(path.name.lower()) or self._stems.get(path.name.lower()) or []
        if not found and path.suffix:
            found = self._stems.get(path.stem.lower(), [])
        agreeing = [name for name in found if _agree(PurePosixPath(name).parent, path.parent)]
        if in_its_folder and path.parent.parts:
            return agreeing
        return agreeing or found if len(found) > 1 else found

    def know_folders_of(self, texts: Iterable[str]) -> bool:
        """Whether any of some texts names a picture together with its folder: then all are taken at their word."""
        return any(
            len(PurePosixPath(text.replace("\\", "/")).parts) > 1 and self.find(text, in_its_folder=True)
            for text in texts
        )


def _fill(match: str, path: PurePosixPath) -> str:
    filled = match.replace("{stem}", path.stem).replace("{name}", path.name).replace("{suffix}", path.suffix)
    return PurePosixPath(filled).name


def _agree(one: PurePosixPath, other: PurePosixPath) -> bool:
    """Whether one path ends with the other."""
    shorter, longer = sorted((one.parts, other.parts), key=len)
    return bool(shorter) and longer[-len(shorter) :] == shorter


def parse_names(text: str) -> dict[str, str]:
    """Read what codes stand for: `1=surprise,2=fear`, or a file with a code and a name on each line, or JSON."""
    path = Path(text)
    pairs = text.split(",")
    if is_file(path) or not re.search(r"[=:]", text):
        body = _read_text(path, "--names")
        if body.lstrip().startswith("{"):
            try:
                return {str(code): str(name) for code, name in json.loads(body).items()}
            except (ValueError, AttributeError):
                raise UsageError(f"--names {text}: no object of codes and names: write 1=surprise,2=fear") from None
        pairs = [line for line in body.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = {}
    for pair in pairs:
        parts = re.split(r"\s*[=,:;\t]\s*|\s+", pair.strip(), maxsplit=1)
        if len(parts) != 2 or not all(parts):
            raise UsageError(f"--names {text}: {pair.strip()!r} is no code and name: write 1=surprise,2=fear")
        found[parts[0]] = parts[1]
    return found


def parse_columns(text: str | None) -> dict[str, str]:
    """Read which column is what: `path=2,label=3`, by number from 1 on or by name."""
    found = {}
    for pair in (text or "").split(",") if text else []:
        role, _, column = (part.strip() for part in pair.partition("="))
        if role not in COLUMNS or not column:
            raise UsageError(f"--columns {text}: {pair!r}: write as in path=1,label=2 ({', '.join(COLUMNS)})")
        found[role] = column
    return found


def read_label_list(
    path: Path, files: Files, columns: Mapping[str, str], match: str | None = None, part: Part | None = None
) -> LabelList:
    """Read a list of labels; `part` is that of its pictures where no column tells.

    Raises InputError for a list that cannot be read or names no file column, UsageError for columns it has not.
    """
    records = _split(_read_text(path, "--labels"), path.suffix.lower())
    if not records:
        raise InputError(f"{path}: holds no line: name a list of files and labels")
    header = _find_header(records, files, match)
    body = records[1:] if header else records
    roles = _find_roles(path, header, body, columns, files, match)
    if "path" not in roles:
        remedy = "say which by --columns path=1,label=2, or by --match '{stem}.jpg' what they are called on disk"
        raise InputError(f"{path}: no column names a picture that is there: {remedy}")
    said = [_cell(record, roles["path"]) for record in body]
    in_its_folder = match is None and files.know_folders_of(said)
    votes = {} if "label" in roles else _find_votes(header, body, roles)
    found = LabelList(path, _format(roles, header, votes), {}, [], [], "label" in roles or bool(votes), part)
    for text, record in zip(said, body, strict=True):
        names = files.find(text, match, in_its_folder=in_its_folder)
        if len(names) != 1:
            (found.ambiguous if names else found.without_file).append(text)
            continue
        entry = found.entries.setdefault(names[0], Entry(part=part))
        _add(found, entry, record, roles, votes)
        if len(header) > 2:
            entry.facts.append(_read_facts(record, header, roles))
    return found


def _add(
    found: LabelList, entry: Entry, record: Sequence[str], roles: Mapping[str, int], votes: Mapping[int, str]
) -> None:
    """Add a line of a list to what is known of its picture."""
    label = to_label(_cell(record, roles["label"])) if "label" in roles else _elect(record, votes)
    if label:
        entry.votes[label] += 1
    else:
        found.without_label += 1
    if "split" in roles:
        entry.usage = _cell(record, roles["split"])
        entry.part = part_of(entry.usage) or found.part
        found.strange_parts |= {entry.usage} if entry.usage and entry.part is None else set()
    if "group" in roles:
        entry.group = _cell(record, roles["group"])


def _read_facts(record: Sequence[str], header: Sequence[str], roles: Mapping[str, int]) -> dict[str, str]:
    """What else a list with a header says of a picture, such as the box of each face."""
    taken = {roles["path"], roles.get("split"), roles.get("group")}
    return {title: _cell(record, place) for place, title in enumerate(header) if place not in taken and title}


def _read_text(path: Path, option: str) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: too large for a list: name another file")
        return path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be read ({error.strerror or error}): name a text file") from None


def _split(text: str, suffix: str) -> list[list[str]]:
    """The cells of every line that is not empty."""
    lines = [line for line in text.splitlines() if line.strip() and "\0" not in line]
    first = lines[0] if lines else ""
    delimiter = "\t" if suffix == ".tsv" or "\t" in first else next((sign for sign in ",;" if sign in first), "")
    if not delimiter:
        return [line.split() for line in lines]
    return [_split_line(line, delimiter) for line in lines]


def _split_line(line: str, delimiter: str) -> list[str]:
    """The cells of one line: a quote that is never closed costs its own line, not those below."""
    try:
        return [to_text(cell.strip()) for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:
        return line.split(delimiter)


def _plain(title: str) -> str:
    return re.sub(r"[^a-z0-9]", "", title.lower())


def _cell(record: Sequence[str], place: int) -> str:
    return record[place].strip() if place < len(record) else ""


def _find_header(records: list[list[str]], files: Files, match: str | None) -> list[str]:
    """The first line, if it names columns and no picture; else an empty list."""
    known = {name for names in COLUMNS.values() for name in names}
    first = records[0]
    if any(files.find(cell, match) for cell in first):
        return []
    is_told = any(_plain(cell) in known for cell in first)
    later = any(files.find(cell, match) for record in records[1:TRIED] for cell in record)
    return first if is_told or later else []


def _find_roles(
    path: Path,
    header: Sequence[str],
    body: Sequence[Sequence[str]],
    columns: Mapping[str, str],
    files: Files,
    match: str | None,
) -> dict[str, int]:
    """Which column is path, label, split and group: as told, by its title, or by what it holds."""
    width = max(map(len, body[:TRIED]), default=len(header))
    roles = {role: _find_told(path, column, header, width) for role, column in columns.items()}
    if "path" not in roles:
        # `3` may be a class as well as the name of `3.jpg`: a name with its suffix counts more.
        cells = [[_cell(one, place) for one in body[:TRIED]] for place in range(width)]
        hits = [sum(1 + 9 * ("." in cell) for cell in column if files.find(cell, match)) for column in cells]
        titled = [place for place, title in enumerate(header) if _plain(title) in COLUMNS["path"]]
        best = max(
            range(width), key=lambda place: (place in titled and hits[place] > 0, hits[place], -place), default=0
        )
        if hits and (hits[best] or titled):
            roles["path"] = best if hits[best] else titled[0]
    for role in ("label", "split", "group"):
        titles = (place for name in COLUMNS[role] for place, title in enumerate(header) if _plain(title) == name)
        free = next((place for place in titles if place not in roles.values()), None)
        if role not in roles and free is not None:
            roles[role] = free
    if "label" not in roles and "path" in roles:
        left = [place for place in range(width) if place not in roles.values()]
        if len(left) == 1:
            roles["label"] = left[0]
        elif not header and width <= GUESSED:
            roles |= dict(zip(("label",), _find_few(body, left), strict=False))
    return roles


def _find_told(path: Path, column: str, header: Sequence[str], width: int) -> int:
    if column.isascii() and column.isdigit():
        if 1 <= int(column) <= width:
            return int(column) - 1
        raise UsageError(f"--columns {column}: {path} has {width} columns: count from 1 on")
    titles = [_plain(title) for title in header]
    if _plain(column) not in titles:
        raise UsageError(f"--columns {column}: {path} has no such column: it has {', '.join(header) or 'no header'}")
    return titles.index(_plain(column))


def _find_few(body: Sequence[Sequence[str]], places: Iterable[int]) -> list[int]:
    """The columns that hold few different words: those can be classes."""
    lines = body[:TRIED]
    return [place for place in places if len({_cell(one, place) for one in lines}) <= max(2, min(50, len(lines) // 2))]


def _find_votes(header: Sequence[str], body: Sequence[Sequence[str]], roles: Mapping[str, int]) -> dict[int, str]:
    """Columns that count votes for the class they are called by (or mark it by a 1)."""
    places = [place for place in range(len(header)) if place not in roles.values()]
    numeric = [place for place in places if all(re.fullmatch(NUMBER, _cell(one, place)) for one in body[:TRIED])]
    return {place: header[place] for place in numeric} if len(numeric) > 1 else {}


def _elect(record: Sequence[str], votes: Mapping[int, str]) -> str:
    """The class with the most votes; empty for a tie or none."""
    cells = {name: _cell(record, place) for place, name in votes.items()}
    return find_winner({name: float(cell) for name, cell in cells.items() if re.fullmatch(NUMBER, cell)}) or ""


def _format(roles: Mapping[str, int], header: Sequence[str], votes: Mapping[int, str]) -> str:
    told = [
        f"{role} = {header[place] if place < len(header) else f'column {place + 1}'}" for role, place in roles.items()
    ]
    return ", ".join([*told, *([f"votes for {', '.join(votes.values())}"] if votes else [])])
