"""What can go wrong around a stage but its own death: each takes a bench and a stage, and says what came of it."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

WAIT = 120.0  # seconds after which a condition will not come any more
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <sys/time.h>
/* Ten years back, ten years ahead, right, and so on: the wall clock jumps at every twentieth look at it. */
static long jump(void) { static long looks; long turn = looks++ / 20 % 3; return (turn - 1) * 315360000L; }
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += jump();
    return failed;
}
time_t time(time_t *result) {
    struct timespec now; clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec fine; clock_gettime(CLOCK_REALTIME, &fine);
    now->tv_sec = fine.tv_sec; now->tv_usec = fine.tv_nsec / 1000; return 0;
}
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stderr: str
    seconds: float = 0.0  # from its first sign of life in its folder

    def is_plain(self) -> bool:
        """Whether it failed as it should: with one line that is told to the person."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("fer: ")]
        return self.returncode == 1 and len(lines) == 1 and "Traceback" not in self.stderr


@dataclass
class Command:
    """One `fer` command in a process group of its own."""

    words: list[str]
    output: Path
    environment: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """The running command."""
        with subprocess.Popen(
            self.words,
            env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            yield process

    def run(self) -> Ended:
        """To its end."""
        with self.running() as process:
            _, told = process.communicate(timeout=600)
        return Ended(process.returncode, told)

    def run_killed(self, kind: int, delay: float | None) -> Ended:
        """Killed some seconds after it began to write (None: not at all), as a terminal and a system do."""
        with self.running() as process:
            before = self.output.stat().st_mtime_ns if self.output.is_dir() else 0
            wait_for(lambda: has_begun(self.output, before) or process.poll() is not None)
            started = time.monotonic()
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                if kind == signal.SIGINT:
                    os.killpg(process.pid, kind)
                else:
                    process.send_signal(kind)  # its workers must find out by themselves
            _, told = process.communicate(timeout=600)
        return Ended(process.returncode, told, time.monotonic() - started)


class Bench(Protocol):
    """What a disturbance needs of the bench."""

    home: Path
    problems: list[str]

    def command(self, stage: str, workers: int = 1) -> Command: ...
    def output(self, stage: str) -> Path: ...
    def finish(self, stage: str, after: str) -> None: ...
    def compare(self, stage: str, after: str) -> None: ...
    def files(self, stage: str) -> dict[str, str]: ...


def has_begun(folder: Path, before: int) -> bool:
    """Whether a command writes into a folder by now."""
    return folder.is_dir() and folder.stat().st_mtime_ns != before


def wait_for(condition: Callable[[], bool]) -> None:
    """Look until it is so."""
    end = time.monotonic() + WAIT
    while not condition() and time.monotonic() < end:
        time.sleep(0.003)


def full_disk(bench: Bench, stage: str) -> str:
    """A file system that takes about half of what the stage writes, and then is given more room."""
    return _on_small_disk(bench, stage, "size=64k" if stage in {"split", "train", "eval"} else "size=200k", "full disk")


def read_only(bench: Bench, stage: str) -> str:
    """A file system that takes nothing, until it is mounted again."""
    return _on_small_disk(bench, stage, "ro", "read-only")


def _on_small_disk(bench: Bench, stage: str, option: str, after: str) -> str:
    folder = bench.output(stage)
    folder.mkdir(parents=True, exist_ok=True)
    if _mount(option, folder):
        raise PermissionError("mounting is not allowed here")
    try:
        ended = bench.command(stage).run()
        if not ended.is_plain():
            bench.problems.append(f"{stage}, {after}: ended {ended.returncode}: {ended.stderr.strip()[-300:]}")
        _mount("remount,rw,size=500m", folder)
        bench.finish(stage, after)
        bench.compare(stage, after)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    return ended.stderr.strip().rpartition("\n")[2].replace(str(bench.home), "")[:110]


def _mount(options: str, folder: Path) -> int:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode


def clock(bench: Bench, stage: str) -> str:
    """A wall clock that jumps ten years back and ahead all the time."""
    shim = bench.home / "clock.so"
    if not shim.is_file():
        (bench.home / "clock.c").write_text(CLOCK)
        made = subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, bench.home / "clock.c", "-ldl"], check=False)
        if made.returncode:
            raise PermissionError("no C compiler")
    command = bench.command(stage)
    command.environment["LD_PRELOAD"] = str(shim)
    ended = command.run()
    if ended.returncode:
        bench.problems.append(f"{stage}, clock: {ended.stderr.strip()[-300:]}")
    bench.compare(stage, "clock")
    return f"ended {ended.returncode}"


def second_command(bench: Bench, stage: str) -> str:
    """Two commands on one folder: the second is refused, the first is not disturbed."""
    command, told = bench.command(stage), ""
    with command.running() as process:
        reader = threading.Thread(target=process.communicate)
        reader.start()
        wait_for(lambda: _is_locked(command.output) or process.poll() is not None)
        if process.poll() is None:
            process.send_signal(signal.SIGSTOP)  # it cannot finish before the second has looked
            second = bench.command(stage).run()
            process.send_signal(signal.SIGCONT)
            told = second.stderr.strip().rpartition("\n")[2]
            if "another fer command" not in told or not second.is_plain():
                bench.problems.append(f"{stage}, two commands: {second.stderr[-300:]}")
        reader.join()
    bench.finish(stage, "two commands")
    bench.compare(stage, "two commands")
    return told.replace(str(bench.home), "")[:110] or "the first had ended"


def _is_locked(folder: Path) -> bool:
    from filelock import FileLock, Timeout

    if not (folder / ".lock").is_file():
        return False
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def worker_killed(bench: Bench, stage: str) -> str:
    """One of two workers is killed, as the kernel does where memory runs out; its image is no worse for it."""
    command = bench.command(stage, workers=2)
    with command.running() as process:
        wait_for(lambda: _journal_lines(command.output) > 0 or process.poll() is not None)
        workers = _children(process.pid)
        for worker in workers[:1]:
            os.kill(worker, signal.SIGKILL)
        _, told = process.communicate(timeout=600)
    if process.returncode:
        bench.problems.append(f"{stage}, worker killed: {told.strip()[-300:]}")
    bench.compare(stage, "worker killed")
    return f"{len(workers[:1])} of {len(workers)} workers killed"


def _journal_lines(folder: Path) -> int:
    try:
        return (folder / "journal.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def _children(parent: int) -> list[int]:
    """The worker processes of a command."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in listed if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


FAULTS = {one.__name__: one for one in (full_disk, read_only, clock, second_command, worker_killed)}
# Where a fault means nothing: no workers; a folder that holds another stage's files too.
ELSEWHERE = {
    "worker_killed": ("crawl", "import", "split", "train", "eval"),
    "full_disk": ("eval",),
    "read_only": ("eval",),
}
