"""What a person sees while a command runs: results on stdout, progress and notes on stderr.

On a terminal progress is a bar; elsewhere (a log, CI) it is now and then a plain line.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

# What a terminal obeys or turns round, and what it cannot print; names may hold it, since people and archives may.
UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Write out as `\\u001b` what a terminal would obey; it stays JSON if it was."""
    return UNSEEN.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


class _Console(Console):
    """A console to which every text, also in a table, comes through `visible`."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


def _plain(*, stderr: bool = False) -> Console:
    """A console that shows text as it is: a class called `[b]`, or a source called `:smile:`, is no markup."""
    return _Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


out, err = _plain(), _plain(stderr=True)
_level = {"quiet": False, "verbose": False}


def set_level(*, quiet: bool = False, verbose: bool = False) -> None:
    """Say less or more, for the rest of the process."""
    _level.update(quiet=quiet or not is_lead(), verbose=verbose and is_lead())


def is_lead() -> bool:
    """Whether this process speaks: of those torchrun starts, only the first does."""
    return os.environ.get("RANK", "0") == "0" or "TORCHELASTIC_RUN_ID" not in os.environ


def note(text: str) -> None:
    """A line for people, unless they asked for quiet."""
    if not _level["quiet"]:
        err.print(text)


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: `1 image`, `1,200 images`, `2 classes`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"


def format_interval(interval: Sequence[float]) -> str:
    """Write an interval of shares: `81.2% to 93.4%`."""
    low, high = interval
    return f"{low:.1%} to {high:.1%}"


def detail(text: str) -> None:
    """A line for those who asked for more."""
    if _level["verbose"]:
        err.print(text)


def is_quiet() -> bool:
    """Whether only results and errors are wanted."""
    return _level["quiet"]


def is_live() -> bool:
    """Whether a moving progress bar can be shown."""
    return err.is_terminal and not _level["quiet"]


def show_page(url: str) -> None:
    """Open a page in the user's browser, where there is a display."""
    import webbrowser

    if sys.platform in {"win32", "darwin"} or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(url)


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar or plain lines; the value is a function that advances it by so many images."""
    if is_live():
        columns = (
            TextColumn("{task.description:>8}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        yield _plain_progress(title, total)


def _plain_progress(title: str, total: int | None) -> Callable[[int], None]:
    """A line at every quarter, or at every thousand where the end is unknown."""
    done = 0
    step = max(1, -(-total // 4)) if total else 1000

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if done // step > before // step:
            note(f"{title}: {done:,}" + (f" of {total:,}" if total else ""))

    return advance
