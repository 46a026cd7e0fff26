"""Read a YAML configuration: strictly, without side effects, and with all its problems told at once.

YAML 1.1 has surprises (`yes` is true, `1e-3` is text, `12:30` is a number, an alias can grow without end), so only the
values JSON knows are recognised, and aliases are refused. A configuration may come from a stranger.
"""

import difflib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ValidationError

from fer_pipeline.config.overlaps import find_overlaps
from fer_pipeline.config.recipes import find_recipe
from fer_pipeline.config.schema import Config, with_folders
from fer_pipeline.errors import UsageError

DEFAULT, VARIABLE = "fer.yaml", "FER_CONFIG"  # where a configuration is looked for if none is named
MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_DIGITS = 40  # Python refuses to read numbers of some thousand digits
NUMBER = re.compile(r"^[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?$")
WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "~": None, "": None}

Where = dict[tuple[str, ...], str]


class Problems(UsageError):
    """One or more problems of a configuration, one a line."""

    @classmethod
    def of(cls, lines: Iterable[str]) -> Self:
        return cls("\n".join(lines))


def find_config(given: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Load what `-c` names: a file, a recipe, or by default $FER_CONFIG, else fer.yaml of the working folder."""
    return load_config(find_file(given), overrides)


def find_file(given: str | Path | None = None) -> Path:
    """The file of `find_config`; UsageError if there is none."""
    found = locate_file(given)
    if found is None:
        remedy = "write one with `fer init RECIPE --name NAME`, or name a file or a recipe with --config"
        raise UsageError(f"{DEFAULT}: no such file in this folder: {remedy} (`fer init` lists the recipes)")
    return found


def locate_file(given: str | Path | None = None) -> Path | None:
    """The same, or None if nothing is named and nothing lies here."""
    if given is None:
        given = os.environ.get(VARIABLE)
        if not given:
            return Path(DEFAULT) if Path(DEFAULT).is_file() else None
    path = Path(given)
    if given == "" or path.is_file() or path.suffix or path.name != str(given):
        return path.expanduser() if str(given).startswith("~") else path
    return find_recipe(path.name)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read an experiment from a YAML file; `overrides` are `section.key=value`, as given to `--set`."""
    path = Path(path)
    settings, where = read_yaml(path)
    for override in overrides:
        key, value = parse_override(override)
        where |= {key[:depth]: f"--set {override}" for depth in range(len(key), 0, -1) if key[:depth] not in where}
        where[key] = f"--set {override}"
        _put(settings, key, value, override)
    try:
        config = Config.model_validate_json(json.dumps(with_folders(settings)), strict=True)
    except ValidationError as error:
        raise Problems.of(_explain(problem, where, str(path)) for problem in error.errors()) from None
    problems = [f"{_line_of(overlap.keys, where, path)}: {overlap.problem}" for overlap in find_overlaps(config)]
    for label, file in config.crawl.urls.items():  # a stranger's configuration must not name any file of ours
        if not any(_lies_below(file, folder) for folder in (path.parent, Path())):
            told = f"{file} lies neither beside {path.name} nor in the working folder: copy it there"
            problems.append(f"{where.get(('crawl', 'urls', label), path)}: crawl.urls.{label}: {told}")
    if problems:
        raise Problems.of(problems)
    return config


def _lies_below(file: Path, folder: Path) -> bool:
    try:
        return file.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        return False


def _line_of(keys: Sequence[str], where: Where, path: Path) -> str:
    """Where one of some folders is set, or what they are derived from."""
    derived = ("runs", "data") if "train.output" in keys else ("data",)
    known = (where.get(tuple(key.split("."))) for key in (*keys, *derived))
    return next((line for line in known if line is not None), str(path))


def read_yaml(path: Path) -> tuple[dict[str, Any], Where]:
    """Read a YAML mapping and note the line of every key."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path}: larger than {MAX_BYTES:,} bytes, which no configuration is: name another file")
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_NoAlias)
    except OSError as error:
        remedy = "name an existing YAML file or a recipe with --config"
        raise UsageError(f"{path}: {error.strerror or error}: {remedy}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UsageError(f"{path}{_mark(error)}: not valid YAML: {_problem(error)}") from None
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{path}: holds no `key: value` lines: start from a recipe, with `fer init`")
    where: Where = {}
    return _plain(node, (), str(path), where), where


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """`crop.margin=1.4` -> (("crop", "margin"), 1.4); the value is read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text}: write it as section.key=value, for example --set crop.margin=1.4")
    try:
        node = yaml.compose(value, Loader=_NoAlias)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(f"--set {text}: the value is not valid YAML: {_problem(error)}") from None
    return tuple(key.strip().split(".")), None if node is None else _plain(node, (), f"--set {text}", {})


class _NoAlias(yaml.SafeLoader):
    """A loader that only composes nodes, and none from an alias."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported: write the value out")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def _plain(node: yaml.Node, at: tuple[str, ...], file: str, where: Where) -> Any:
    """Turn YAML nodes into what JSON knows, noting where every key stands."""
    line = f"{file}:{node.start_mark.line + 1}"
    where.setdefault(at, line)
    if len(at) > MAX_DEPTH:
        raise UsageError(f"{line}: nested deeper than {MAX_DEPTH} levels: no setting is")
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*at, str(index)), file, where) for index, item in enumerate(node.value)]
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), f"{file}:{key_node.start_mark.line + 1}"
        if key in result:
            raise UsageError(f"{line}: {'.'.join((*at, key))}: given twice: remove one")
        where[(*at, key)] = line
        result[key] = _plain(value_node, (*at, key), file, where)
    return result


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style is not None:  # quoted or a block: text, whatever it looks like
        return text
    if text in WORDS:
        return WORDS[text]
    if len(text) <= MAX_DIGITS and NUMBER.match(text):
        return float(text) if set(text) & set(".eE") else int(text)
    return text


def _put(settings: dict[str, Any], key: tuple[str, ...], value: Any, override: str) -> None:
    for part in key[:-1]:
        if settings.get(part) is None:
            settings[part] = {}
        settings = settings[part]
        if not isinstance(settings, dict):
            raise UsageError(f"--set {override}: `{part}` is no section: see `fer config` for the keys")
    settings[key[-1]] = value


def _explain(problem: Any, where: Where, file: str) -> str:
    """One problem as `file:line: key: what, remedy`."""
    at = tuple(str(part) for part in problem["loc"] if part != "[key]")
    line = next((where[at[:depth]] for depth in range(len(at), 0, -1) if at[:depth] in where), file)
    return f"{line}: {'.'.join(at)}: {_remedy(problem, at)}"


def _remedy(problem: Any, at: tuple[str, ...]) -> str:
    if problem["type"] == "extra_forbidden":
        keys = list(_fields(at[:-1]))
        near = difflib.get_close_matches(at[-1], keys, n=1) or _elsewhere(at[-1])
        return (
            f"unknown key, did you mean `{near[0]}`?"
            if near
            else f"unknown key, remove it or use one of: {', '.join(keys)}"
        )
    if problem["type"] == "missing":
        return "missing: add it to the file"
    if problem["type"] == "string_pattern_mismatch":
        return f"must be a plain name, without slashes or a leading dot, not {json.dumps(problem['input'])}"
    message = str(problem["msg"]).removeprefix("Input ").removeprefix("Value ")
    given = problem["input"]
    shown = "" if isinstance(given, dict) else f", not {json.dumps(given, ensure_ascii=False)[:60]}"
    return f"{message}{shown}"


def _elsewhere(key: str) -> list[str]:
    """The section a key stands in, if somebody left the section out."""
    return [f"{section}.{key}" for section in Config.model_fields if key in _fields((section,))][:1]


def _fields(at: tuple[str, ...]) -> Iterable[str]:
    """The keys a section knows."""
    model: Any = Config
    for part in at:
        model = model.model_fields[part].annotation if part in model.model_fields else model
    return model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else ()


def _mark(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def _problem(error: Exception) -> str:
    return getattr(error, "problem", None) or str(error).partition("\n")[0] or type(error).__name__
