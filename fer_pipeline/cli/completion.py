"""What the shell offers after Tab: recipes and YAML files, settings, folders of runs."""

from collections.abc import Iterator
from pathlib import Path


def complete_config(incomplete: str) -> Iterator[tuple[str, str]]:
    """Recipes by name, and YAML files."""
    from fer_pipeline.config.recipes import list_recipes

    yield from ((name, about) for name, about in list_recipes().items() if name.startswith(incomplete))
    for path in _paths(incomplete):
        if path.endswith(("/", ".yaml", ".yml")):
            yield path, ""


def complete_recipe(incomplete: str) -> Iterator[tuple[str, str]]:
    """Recipes by name."""
    from fer_pipeline.config.recipes import list_recipes

    yield from ((name, about) for name, about in list_recipes().items() if name.startswith(incomplete))


def complete_setting(incomplete: str) -> Iterator[tuple[str, str]]:
    """Names of settings, each with its equals sign."""
    from fer_pipeline.config.docs import list_settings

    yield from ((f"{key}=", about) for key, about in list_settings() if f"{key}=".startswith(incomplete))


def complete_run(incomplete: str) -> Iterator[str]:
    """Folders of runs, and then any path."""
    runs = sorted(str(path.parent) for path in Path("runs").glob("*/model.onnx"))
    found = [run for run in runs if run.startswith(incomplete)]
    yield from found
    yield from (path for path in _paths(incomplete) if path.rstrip("/") not in found)


def _paths(incomplete: str) -> Iterator[str]:
    """Files and folders that begin so, folders with a slash."""
    folder, name = incomplete.rpartition("/")[::2]
    root = Path(f"{folder}/" if "/" in incomplete else ".")
    try:
        entries = sorted(root.iterdir())
    except OSError:
        return
    for path in entries:
        if path.name.startswith(name) and (name.startswith(".") or not path.name.startswith(".")):
            yield f"{folder}/" * ("/" in incomplete) + path.name + "/" * path.is_dir()
