"""Processes that end before their work does: a Python that kills itself at its n-th step, and some that a test ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COUNTING = """
import os, signal, sys
from pathlib import Path
*arguments, left = sys.argv[1:]
left = int(left)
def count(function):
    def counted(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return counted
def count_in(*modules):
    for module in modules:
        for name in ("write_aside", "write_file", "replace_file", "write_rows", "extend_blocklist", "run_stage"):
            if hasattr(module, name):
                setattr(module, name, count(getattr(module, name)))
Path.unlink = count(Path.unlink)
"""


def run_until(step: int, script: str, *arguments: str | Path) -> bool:
    """Run a script, which finds `arguments` and calls `count_in`, up to that step; gives whether it came to its end."""
    command = [sys.executable, "-c", f"{COUNTING}{script}print('finished')", *map(str, arguments), str(step)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    ended = done.stdout == "finished\n"
    assert ended or done.returncode == -signal.SIGKILL, done.stderr
    return ended


@contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive its test, also where that fails before it has ended it."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def hear_from(process: subprocess.Popen[str], pipe: Path, seconds: float = 60) -> str:
    """What a process says in a named pipe; an error if it ends, or takes too long, without a word."""
    end = time.monotonic() + seconds
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
        while not (said := file.read(100)):
            assert process.poll() is None, "it ended without a word"
            assert time.monotonic() < end, "it says nothing"
            time.sleep(0.01)
        return said.decode()
