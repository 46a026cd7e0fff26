"""CelebA (Liu et al. 2015): faces with and without an attribute, from the lists of its makers or of Kaggle."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fer_pipeline.dataset.class_folders import Part
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.sources.importers import Found

PARTITIONS = ("list_eval_partition.txt", "list_eval_partition.csv")
CODES: dict[str, tuple[Part, str]] = {"0": ("train", "train"), "1": ("test", "validation"), "2": ("test", "test")}
TESTED = 0.2  # share of a class that is taken from the official test parts


def find_celeba(
    images: Path, attributes: Path, attribute: str, per_class: int, partition: Path | None = None
) -> Iterator[Found]:
    """Find the first `per_class` images with and without an attribute, as `smiling` and `not_smiling`.

    `partition` is the list of the official parts; by default the one beside the attributes, if there is one. With it a
    fifth of each class comes from the test parts. Raises InputError for files that are not those lists.
    """
    if not images.is_dir():
        raise InputError(f"{images}: no such folder: name the one with 000001.jpg")
    names, lines = _read_attributes(attributes)
    if attribute not in names:
        raise UsageError(f"--attribute {attribute}: not in {attributes}: it knows {', '.join(names[:40]) or 'none'}")
    beside = (attributes.with_name(name) for name in PARTITIONS)
    chosen = partition or next((path for path in beside if path.is_file()), None)
    parts = {} if chosen is None else _read_partition(chosen)
    tested = max(1, round(TESTED * per_class))
    wanted: dict[Part | None, int] = {"train": per_class - tested, "test": tested, None: per_class}
    column = names.index(attribute) + 1
    taken: Counter[tuple[str, Part | None]] = Counter()
    for number, fields in lines:
        if len(fields) != len(names) + 1 or set(fields[0]) & {"/", "\\", "\0"} or fields[column] not in {"1", "-1"}:
            raise InputError(
                f"{attributes}:{number}: not a file name and {len(names)} values 1 or -1: name the official list"
            )
        label = attribute.lower() if fields[column] == "1" else f"not_{attribute.lower()}"
        part, usage = parts.get(fields[0], (None, ""))
        if parts and part is None:
            raise InputError(f"{chosen}: has no line for {fields[0]}: name the one that belongs to {attributes.name}")
        if taken[label, part] < wanted[part]:
            taken[label, part] += 1
            yield Found(fields[0], images / fields[0], label, part, attributes={"usage": usage} if usage else {})


def _read_attributes(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The names of the attributes, and the numbered lines: of the official list, or of one with commas and a header."""
    lines = _read_lines(path)
    first = lines[0] if lines else ""
    if "," in first:
        return _cells(first)[1:], ((number, _cells(line)) for number, line in enumerate(lines[1:], start=2))
    names = lines[1].split() if len(lines) > 1 else []
    return names, ((number, line.split()) for number, line in enumerate(lines[2:], start=3))


def _read_partition(path: Path) -> dict[str, tuple[Part, str]]:
    """The part of each image."""
    parts = {}
    for number, line in enumerate(_read_lines(path), start=1):
        fields = _cells(line) if "," in line else line.split()
        if len(fields) == 2 and fields[1] in CODES:
            parts[fields[0]] = CODES[fields[1]]
        elif number > 1:  # the first may be a header
            raise InputError(f"{path}:{number}: not a file name and 0, 1 or 2: name the official list")
    return parts


def _read_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: name list_attr_celeba.txt or .csv") from None
    return text.rstrip().splitlines()


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(",")]
