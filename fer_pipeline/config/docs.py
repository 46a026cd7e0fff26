"""Every setting with its default and meaning, as Markdown: what `fer config` prints and docs/configuration.md holds."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fer_pipeline.config.schema import Config

SIGNS = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}
HEAD = """# Settings

Every key of every section, as `fer config` prints it. Keys without a section stand at the top of the file. A folder
that is not given is derived from `data` and `name`. A path is relative to the working folder, and a leading `~` is your
home folder. `--set section.key=value` overrides any of them.
"""


def describe_settings() -> str:
    """One table per section."""
    plain = [(name, field) for name, field in Config.model_fields.items() if not _is_section(field)]
    parts = [HEAD, _table(plain)]
    for name, field in Config.model_fields.items():
        if _is_section(field):
            model: Any = field.annotation
            parts.append(f"## {name}\n\n{(model.__doc__ or '').strip()}\n\n{_table(model.model_fields.items())}")
    return "\n".join(parts)


def list_settings() -> Iterator[tuple[str, str]]:
    """Every key as `--set` takes it, with its meaning."""
    yield from _list_keys("", Config)


def _list_keys(prefix: str, model: Any) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        if _is_section(field):
            yield from _list_keys(f"{prefix}{name}.", field.annotation)
        else:
            yield f"{prefix}{name}", field.description or ""


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _table(fields: Any) -> str:
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for name, field in fields:
        if _is_section(field):
            lines += [_line(f"{name}.{key}", inner) for key, inner in field.annotation.model_fields.items()]
        else:
            lines.append(_line(name, field))
    return "\n".join(lines) + "\n"


def _line(name: str, field: FieldInfo) -> str:
    default = "" if field.is_required() else f"`{_plain(field.default)}`"
    limits = " and ".join(_bounds(field))
    extra = "; ".join([*_choices(field.annotation), *([limits] if limits else [])])
    return f"| `{name}` | {default} | {field.description}{f' ({extra})' if extra else ''} |"


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _choices(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Literal:
        yield "one of " + ", ".join(f"`{choice}`" for choice in get_args(kind))


def _bounds(field: FieldInfo) -> Iterator[str]:
    for bound in field.metadata:
        if type(bound) in SIGNS:
            sign, attribute = SIGNS[type(bound)]
            yield f"{sign} {getattr(bound, attribute):g}"
