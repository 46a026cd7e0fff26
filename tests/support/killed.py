"""A Python that kills itself at the n-th step of what it does, as a power cut would."""

import signal
import subprocess
import sys
from pathlib import Path

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
