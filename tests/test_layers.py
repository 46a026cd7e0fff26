"""Imports go strictly down, and modules and functions stay small."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "fer_pipeline"
MODULES = sorted(ROOT.rglob("*.py"))
# From the top; the packages and modules of one line never import each other.
LAYERS = (
    "__main__",
    "cli",
    "collect",
    "serve review",
    "report lineage web",
    "crawl stages model",
    "crops",
    "geometry",
    "faces",
    "detectors",
    "images configfile weights recipe sample",
    "journal forgotten decisions",
    "naming",
    "manifest",
    "boxes config neighbours splits console decoding avif signatures",
    "errors",
    "__init__",
)
RANKS = {name: rank for rank, layer in enumerate(LAYERS) for name in layer.split()}
MOST_LINES = {"config.py": 300}


def imports_of(path: Path) -> set[str]:
    """The modules and packages directly below fer_pipeline that a module imports, also inside functions."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):  # relative: stays in its package
            assert node.level == 1, f"{path}:{node.lineno}: leads out of its package"
    found = {name.split(".")[1] for name in names if name.startswith("fer_pipeline.")}
    return {name if name in RANKS else "__init__" for name in found}


def part_of(path: Path) -> str:
    """The module or package directly below fer_pipeline that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_module_has_its_layer() -> None:
    assert {part_of(path) for path in MODULES} <= set(RANKS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_strictly_down(path: Path) -> None:
    own = part_of(path)
    upward = {name for name in imports_of(path) if name != own and RANKS[name] <= RANKS[own]}
    assert not upward, f"{own} imports {', '.join(sorted(upward))}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_is_longer_than_its_budget(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES.get(path.name, 200)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_function_is_longer_than_thirty_lines(path: Path) -> None:
    long = [
        f"{node.name} ({length})"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (length := body_length(node)) > 30
    ]
    assert not long


def body_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines after the signature and the docstring."""
    start = node.body[0]
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        start = node.body[1]
    return (node.end_lineno or start.lineno) - start.lineno + 1


def test_no_module_is_a_drawer_for_everything() -> None:
    words = {"utils", "util", "helpers", "common", "misc", "manager", "handler"}
    assert not words & {path.stem for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_that_holds_code_opens_with_a_sentence(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not tree.body or (ast.get_docstring(tree) or "").partition("\n")[0].strip()
