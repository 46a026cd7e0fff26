"""Whatever ends, starves or misleads a stage: nothing is lost, nothing is done twice.

`python -m benchmarks.faults` does it at length, with every stage.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support.judges import CRASH, INVERT, LINKED, SETTLED
from support.killed import hear_from, started
from support.pictures import draw_noise, list_files, make_folder, make_noise_folder

from fer_pipeline.config.schema import UnifyConfig
from fer_pipeline.dataset import rows as manifest
from fer_pipeline.dataset.rows import MANIFEST, Status, read_rows
from fer_pipeline.errors import InputError, SetupError
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.vision.image_io import link_image

pytestmark = pytest.mark.slow
COMMAND = """
import sys
from support import judges
import fer_pipeline.stages.unify as module
from fer_pipeline.__main__ import main

module.UNIFY = getattr(judges, sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""
WORKERS = """
import sys
from pathlib import Path
from support import judges
from fer_pipeline.config.schema import UnifyConfig
from fer_pipeline.stages.runner import run_stage

if __name__ == "__main__":
    run_stage(judges.CRASH, UnifyConfig(input=Path(sys.argv[1]), output=Path(sys.argv[2])), workers=int(sys.argv[3]))
"""
# A wall clock that goes back an hour and forth a year at every look.
JUMPS = """
import itertools, time
leaps, real = itertools.cycle((-3600.0, 31e6)), time.time
time.time = lambda: real() + next(leaps)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_noise_folder(tmp_path / "in", 6)


def settings(source: Path, output: str = "out") -> UnifyConfig:
    return UnifyConfig(input=source, output=source.parent / output)


def environment(**more: str) -> dict[str, str]:
    folders = [str(Path(__file__).parent), str(Path(manifest.__file__).parent.parent)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1", **more}


def start(
    stage: str, config: UnifyConfig, before: str = "", *options: str, **more: str
) -> AbstractContextManager["subprocess.Popen[str]"]:
    """`fer unify` as a person starts it, but for what its judge does."""
    folder = config.output.parent
    (folder / "c.yaml").write_text(
        f"name: x\nworkers: 1\nunify: {{input: {config.input}, output: {config.output}}}\n"
        "crawl: {engines: [sample], keywords: {a: [a]}}\n"
    )
    words = [sys.executable, "-c", before + COMMAND, stage, "unify", "--config", str(folder / "c.yaml"), *options]
    return started(words, env=environment(**more), stderr=subprocess.PIPE)


@pytest.fixture(params=["size=64k", "ro"])
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system with too little room, or none."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", folder], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_command_that_is_ended_goes_on_and_ends_the_same(source: Path, name: str) -> None:
    kind = signal.Signals[name]
    ended, whole = settings(source, "ended"), settings(source, "whole")
    with start("OR_END", ended, DIE_AT="a/03.jpg", END_BY=str(int(kind))) as process:
        _, told = process.communicate(timeout=60)
    assert not (ended.output / MANIFEST).exists()
    if kind is signal.SIGINT:
        assert (process.returncode, told.splitlines()[-1][:33]) == (1, "fer: interrupted: nothing is lost")
        assert "Traceback" not in told
    else:
        assert process.returncode == -kind
    for config in (ended, whole):
        run_stage(INVERT, config)
    assert list_files(ended.output) == list_files(whole.output)


def test_a_run_killed_while_it_puts_files_in_place_ends_the_same(source: Path) -> None:
    ended, whole = settings(source, "ended"), settings(source, "whole")
    with start("LINKED", ended, DIE_LINKING="a/02.jpg") as process:
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (ended.output / MANIFEST).exists()
    for config in (ended, whole):
        run_stage(LINKED, config)
    assert list_files(ended.output) == list_files(whole.output)


def test_a_second_command_is_refused_and_a_killed_one_leaves_no_lock(source: Path) -> None:
    config, pipe = settings(source), source.parent / "pipe"
    os.mkfifo(pipe)
    with start("OR_WAIT", config, DIE_AT="a/02.jpg", WAIT_IN=str(pipe)) as first:
        assert hear_from(first, pipe) == "here"
        with start("INVERT", config) as second:
            _, told = second.communicate(timeout=60)
        assert second.returncode == 1
        assert told == f"fer: {config.output}: another fer command is writing here: wait for it or stop it\n"
        first.kill()
    assert run_stage(INVERT, config).kept == 6


def test_an_image_that_crashes_a_native_library_costs_itself(tmp_path: Path) -> None:
    pictures = {f"a/{name}.jpg": draw_noise(1) for name in ("1", "2", "segfault", "z")}
    source = make_folder(tmp_path / "in", pictures)
    command = [sys.executable, "-c", WORKERS, str(source), str(tmp_path / "out")]
    alone = subprocess.run([*command, "1"], env=environment(), check=False, timeout=120)
    assert alone.returncode == -signal.SIGSEGV  # with one worker all is done in the command's own process
    assert not (tmp_path / "out" / MANIFEST).exists()
    summary = run_stage(CRASH, settings(source), workers=2)
    rows = {row.path: (row.status, row.reason) for row in read_rows(tmp_path / "out")}
    assert rows.pop("a/segfault.jpg") == (Status.FAILED, "crash")
    assert set(rows.values()) == {(Status.KEPT, "")}
    assert (summary.kept, summary.reasons) == (3, {"crash": 1})


def test_a_worker_killed_for_memory_costs_no_image(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in", {f"a/{name}.jpg": draw_noise(1) for name in ("1", "2", "once", "z")})
    summary = run_stage(CRASH, settings(source), workers=2)
    assert (tmp_path / "killed").exists()
    assert (summary.kept, summary.reasons) == (4, {})
    run_stage(CRASH, settings(source, "whole"))
    assert list_files(tmp_path / "out") == list_files(tmp_path / "whole")


def test_a_disk_without_room_stops_a_stage_in_one_line_and_with_room_it_goes_on(source: Path, small_disk: Path) -> None:
    make_noise_folder(source, 60)
    config = UnifyConfig(input=source, output=small_disk / "out")
    with pytest.raises(SetupError, match=r"cannot write: (No space left on device|Read-only file system)") as caught:
        run_stage(INVERT, config)
    assert "\n" not in str(caught.value)
    assert not (config.output / MANIFEST).exists()
    subprocess.run(["mount", "-o", "remount,rw,size=50m", small_disk], check=True)
    whole = settings(source, "whole")
    for one in (config, whole):
        run_stage(INVERT, one)
    assert list_files(config.output) == list_files(whole.output)


def test_a_photo_that_goes_away_before_it_is_handed_on_is_named(source: Path) -> None:
    config = settings(source)
    with start("LINKED", config, DIE_LINKING="a/00.jpg") as process:
        process.communicate(timeout=60)
    kept = source.parent / "elsewhere.jpg"
    (source / "a" / "03.jpg").rename(kept)
    with pytest.raises(InputError, match=r"in/a/03.jpg: has gone since it was listed: put it back"):
        run_stage(SETTLED, config)
    assert not (config.output / MANIFEST).exists()
    link_image(kept, source / "a" / "03.jpg")
    assert run_stage(SETTLED, config).kept == 5


def test_a_clock_that_jumps_changes_nothing(source: Path) -> None:
    jumping, whole = settings(source, "jumping"), settings(source, "whole")
    for number, when in enumerate((0, 4102444800, 1)):  # 1970, 2100
        os.utime(source / "a" / f"{number:02d}.jpg", (when, when))
    with start("INVERT", jumping, JUMPS) as process:
        process.communicate(timeout=60)
    assert process.returncode == 0
    run_stage(INVERT, whole)
    assert list_files(jumping.output) == list_files(whole.output)
