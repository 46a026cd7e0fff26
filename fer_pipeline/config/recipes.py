"""The recipes that come with the package: complete configurations, found by name."""

import difflib
import json
import re
from importlib.resources import files
from pathlib import Path

from fer_pipeline import __version__
from fer_pipeline.errors import UsageError

FOLDER = Path(str(files("fer_pipeline"))) / "recipes"
PLAIN = re.compile(r"[A-Za-z_][A-Za-z_0-9-]*")
WORDS = {"true", "false", "null"}


def list_recipes() -> dict[str, str]:
    """Every recipe's name with the first line of its comment, which says what it is for."""
    return {path.stem: _first_line(path) for path in sorted(FOLDER.glob("*.yaml"))}


def find_recipe(name: str) -> Path:
    """The file of a recipe; UsageError with the nearest name if there is none."""
    path = FOLDER / f"{name}.yaml"
    names = [one.stem for one in sorted(FOLDER.glob("*.yaml"))]
    if name in names:
        return path
    near = difflib.get_close_matches(name.lower(), names, n=1)
    remedy = f"did you mean `{near[0]}`?" if near else f"name a file, or one of the recipes {', '.join(names)}"
    raise UsageError(f"{name}: neither a file nor a recipe: {remedy}")


def compose_config(recipe: str, name: str) -> str:
    """The text of a configuration called `name` with all that a recipe sets, and what to do with it."""
    comments, settings = _parts(find_recipe(recipe))
    about = [line for line in comments if not line.startswith("#  ")]  # not the commands to use the recipe as it is
    head = [
        f"# Made from the recipe {recipe} of fer {__version__}; `fer config` explains every setting.",
        *_first_steps(comments, settings),
        "#   fer run                      does every step that is not done yet",
        "#   fer status                   says what there is and what comes next",
        "#",
        *about,
    ]
    # A name that YAML would take for a number or a word of its own is written as a text.
    text = name if PLAIN.fullmatch(name) and name not in WORDS else json.dumps(name, ensure_ascii=False)
    return "\n".join(head) + "\n" + re.sub(r"^name:.*$", lambda _: f"name: {text}", settings, count=1, flags=re.M)


def _first_steps(comments: list[str], settings: str) -> list[str]:
    """What brings the images, where that is up to the user: as the recipe says, else photos of one's own."""
    own = [re.sub(r" (-c|--config) \S+", "", line) for line in comments if re.match(r"#\s+fer import", line)]
    if own:
        return own
    if re.search(r"engines: \[sample\]", settings) or "input: data/" in settings:
        return []
    return ["#   fer import folder photos     copies your photos, in folders named by class"] + (
        ["#   fer crawl                    or asks the web for photos"] if re.search(r"^crawl:", settings, re.M) else []
    )


def _parts(path: Path) -> tuple[list[str], str]:
    """The lines of the comment a recipe begins with, and the rest."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next(place for place, line in enumerate(lines) if not line.startswith("#"))
    return lines[:end], "\n".join(lines[end:]) + "\n"


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8") as lines:
        return next(lines).lstrip("# ").rstrip()
