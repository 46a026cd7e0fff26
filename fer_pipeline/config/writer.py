"""Write configurations: a new one from a recipe, and settings as YAML that `loader` reads back as they are."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fer_pipeline.config.loader import DEFAULT
from fer_pipeline.config.recipes import compose_config
from fer_pipeline.config.schema import Label
from fer_pipeline.errors import SetupError, UsageError
from fer_pipeline.files import write_aside


def write_config(recipe: str, name: str, *, force: bool = False) -> Path:
    """Write `fer.yaml` into the working folder; UsageError if one is there and `force` is not given."""
    path = Path(DEFAULT)
    text = compose_config(recipe, name)
    try:
        TypeAdapter(Label).validate_python(name)
    except ValidationError:
        raise UsageError(f"--name {name}: must be a plain name, without slashes or a leading dot") from None
    if (path.exists() or path.is_symlink()) and not force:
        raise UsageError(f"{path}: is there already: edit it, or replace it with --force")
    try:
        write_aside(path, [text.encode()])
    except OSError as error:
        raise SetupError(f"{path}: cannot be written ({error.strerror}): try another folder") from None
    return path


def to_yaml(value: Any, indent: int = 0) -> str:
    """Settings as YAML: sections by indentation, everything else as JSON, which is YAML that cannot be mistaken."""
    lines = []
    for key, inner in value.items():
        name = json.dumps(key, ensure_ascii=False) if not key.isidentifier() else key
        if isinstance(inner, dict) and inner:
            lines.append(f"{' ' * indent}{name}:\n{to_yaml(inner, indent + 2)}")
        else:
            lines.append(f"{' ' * indent}{name}: {json.dumps(inner, ensure_ascii=False)}\n")
    return "".join(lines)
