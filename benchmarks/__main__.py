"""Run the benchmarks and write docs/benchmarks.md.  `python -m benchmarks --photos photos --run runs/sample`

Each is a script of its own that prints a table; a section that was not run again keeps its figures.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
LIMITS = Path(__file__).parent / "limits.md"  # what binds each figure, as profiling told
HEAD = """# Benchmarks

Ratios to plain baselines, ours and theirs alternating in one run; `make bench` writes this page, `python -m benchmarks
--only NAME` a section of it. Absolute figures belong to the machine that made them.
"""
PACKAGES = ("numpy", "opencv-python-headless", "dlib-bin", "onnxruntime", "torch", "icrawler", "faiss-cpu", "flask")


@dataclass(frozen=True)
class Section:
    """One script: what it is told by which of our options, and what it cannot do without."""

    title: str
    module: str
    options: tuple[tuple[str, str], ...]  # (its option or "" for a position, ours)
    needs: tuple[str, ...] = ()


SECTIONS = {
    "cleaning": Section(
        "From photos to crops",
        "cleaning",
        (("--photos", "photos"), ("--crops", "crops"), ("--rounds", "rounds")),
        (),
    ),
    "training": Section(
        "Training, recipe by recipe",
        "training",
        (("", "crops"), ("--rounds", "rounds")),
        ("crops",),
    ),
    "networks": Section("Networks on one thread", "networks", (), ()),
    "hashes": Section(
        "Near-copies among a million hashes",
        "hashes",
        (("--rounds", "rounds"),),
        (),
    ),
    "fetching": Section(
        "Fetching",
        "fetching",
        (("--img2dataset", "peers"), ("--rounds", "rounds")),
        (),
    ),
    "dedupe": Section(
        "Near-copies among photos",
        "dedupe",
        (("--photos", "photo_folder"), ("--imagededup", "peers"), ("--rounds", "rounds")),
        (),
    ),
    "serving": Section(
        "Serving",
        "serving",
        (("", "run"), ("--photos", "photo_folder"), ("--large", "large")),
        ("run", "photo_folder"),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, nargs="*", help="folders of photos; default: drawn ones")
    parser.add_argument(
        "--large", type=Path, help="photos of 1000 px and more; default: the first of --photos, enlarged"
    )
    parser.add_argument("--crops", type=Path, help="a folder per class of crops, for the recipes of training")
    parser.add_argument("--run", type=Path, help="a finished run, for the server")
    parser.add_argument("--peers", type=Path, help="the python of an environment with img2dataset and imagededup")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    given = vars(parser.parse_args())
    given["photo_folder"] = (given["photos"] or [None])[0]
    for name in given["only"]:
        section = SECTIONS[name]
        missing = [f"--{need.replace('photo_folder', 'photos')}" for need in section.needs if given[need] is None]
        if missing:
            print(f"{name}: left out, it needs {', '.join(missing)}", flush=True)
            continue
        replace_section(section.title, f"{run(section, given)}\n\n{read_limits()[name]}")


def run(section: Section, given: dict[str, object]) -> str:
    """The section's text: command, machine and table."""
    options = []
    for theirs, ours in section.options:
        value = given[ours]
        if value is not None:
            options += [*([theirs] if theirs else []), *map(str, value if isinstance(value, list) else [value])]
    command = [sys.executable, "-m", f"benchmarks.{section.module}", *options]
    print(" ".join(command[1:]), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    print(done, flush=True)
    shown = [Path(option).name if "/" in option else option for option in options]  # folders are this machine's
    told = f"`python -m benchmarks.{section.module} {' '.join(shown)}`".replace(" `", "`")
    return f"{told}, {describe_machine()}.\n\n{done.strip()}"


def read_limits() -> dict[str, str]:
    """What limits the figures of each section."""
    parts = re.split(r"^## (\w+)\n", LIMITS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def describe_machine() -> str:
    """Day, processor, cores and versions."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    model = re.search(r"model name\s*:\s*(.+)", text)
    cores = len(os.sched_getaffinity(0))
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    processor = model[1].strip() if model else platform.machine()
    return f"{datetime.now(UTC):%Y-%m-%d}, {cores} cores of {processor}, Python {platform.python_version()}, {packages}"


def replace_section(title: str, text: str) -> None:
    """Put a section into the page, in place of the one of that title or at its end."""
    old = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else HEAD
    parts = re.split(r"^(?=## )", old, flags=re.MULTILINE)
    kept = {part.partition("\n")[0][3:]: part.rstrip() for part in parts[1:]}
    kept[title] = f"## {title}\n\n{text.rstrip()}"
    PAGE.write_text("\n\n".join([HEAD.rstrip(), *kept.values()]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
