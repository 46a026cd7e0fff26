"""What the documents say is true: commands parse, links lead somewhere, the settings page is the settings."""

import io
import re
import shlex
from contextlib import redirect_stdout
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from fer_pipeline.__main__ import main
from fer_pipeline.config.docs import describe_settings, list_settings
from fer_pipeline.config.recipes import list_recipes
from fer_pipeline.sources.crawl.robots import FORBIDDING
from fer_pipeline.stages.stage import Stage

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]


def blocks(page: Path) -> list[str]:
    """The lines of a page's shell blocks."""
    found = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    return [line for block in found for line in block.splitlines() if line.strip()]


def inline(page: Path) -> list[str]:
    """Commands in running text, where they are whole ones."""
    return re.findall(r"`(fer [a-z]+ [^`]*--[^`]*)`", page.read_text(encoding="utf-8"))


@cache
def help_of(*command: str) -> str:
    """What `fer COMMAND --help` prints; nothing if there is no such command."""
    told = io.StringIO()
    with redirect_stdout(told):
        code = main([*command, "--help"])
    return told.getvalue() if code == 0 else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_in_a_documented_command_exists(page: Path) -> None:
    for line in [*blocks(page), *inline(page)]:
        words = shlex.split(line)
        if words[0] != "fer":
            continue
        known = help_of(*(words[1:3] if words[1] == "import" else words[1:2]))
        assert known, line
        assert all(word in known for word in words if re.fullmatch("--[a-z-]+", word)), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_recipe_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    recipes = re.findall(r"(?:--config | -c |CONFIG=|fer init )([a-z][a-z0-9_]*)(?![\w.])", text)
    assert all((page.parent / link).exists() for link in links)
    assert set(recipes) <= list_recipes().keys()


def test_the_settings_page_is_what_fer_config_prints() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == describe_settings()


def test_both_readmes_show_the_same_commands_and_pictures() -> None:
    first, second = READMES
    assert blocks(first) == blocks(second)
    pictures = [re.findall(r"docs/pictures/\w+\.png", page.read_text(encoding="utf-8")) for page in READMES]
    assert pictures[0] == pictures[1] != []


def test_no_page_names_a_machine_or_a_registry() -> None:
    for page in PAGES:
        assert not re.search(r"/(work|root|tmp|home)/|index-url|find-links", page.read_text(encoding="utf-8")), page


def test_every_reason_a_crawl_may_give_is_explained() -> None:
    text = (ROOT / "docs" / "crawling.md").read_text(encoding="utf-8")
    code = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "fer_pipeline" / "sources" / "crawl").glob("*.py")
    )
    given = set(
        re.findall(r'reason="([a-z_]+)"|refusal="([a-z_]+)"|dropped\("([a-z_]+)"|return "([a-z]+_[a-z]+)"', code)
    )
    reasons = {name for names in given for name in names if name} | set(FORBIDDING)
    assert {"robots_txt", "private_address", "same_bytes", "timeout"} <= reasons
    assert not {name for name in reasons if f"`{name}`" not in text}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_named_exists(page: Path) -> None:
    known = {key for key, _ in list_settings()}
    sections = {key.partition(".")[0] for key in known if "." in key}
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`([a-z]+)\.([a-z][a-z0-9_.]*)(?:[:=][^`]*)?`|--set ([a-z]+)\.([a-z][a-z0-9_.]*)=", text)
    keys = {f"{one or two}.{first or second}" for one, first, two, second in named if (one or two) in sections}
    files = {key for key in keys if key.endswith((".csv", ".json", ".png", ".py", ".html", ".yaml", ".jsonl"))}
    assert {
        key for key in keys - files if not any(name == key or name.startswith(f"{key}.") for name in known)
    } == set()


def test_the_page_of_the_architecture_names_every_room_and_no_other_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    package = ROOT / "fer_pipeline"
    rooms = {path.name for path in package.iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert {name for name in rooms if f"── {name}/" not in text} == set()
    named = set(re.findall(r"`([a-z_]+/[a-z_/]+\.(?:py|md))`", text))
    named = {name for name in named if not name.startswith(("docs/", "tests/"))}
    known = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert {name for name in named if not any(file.endswith(name) for file in known)} == set()


def test_every_field_of_a_stage_is_explained() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert {field.name for field in fields(Stage) if f"`{field.name}" not in text} == set()
